"""The guard: a current network that has lost to the hold-back's reference is rolled back; a duel that is not fair is told of.

It only reads what minor updates have settled into the newest version, so its word is a function of the line.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.holdback import compare, fault, lopsided, lost
from drn.types import HoldbackState
from drn.versions import roll_back_harm
from jobs.errors import UnequalChances
from jobs.line import current_head
from jobs.runner import Done, Outcome, Published, Skipped, single_step
from service.store import locks, versions
from service.store.locks import LEARN


async def guard(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Publishes the rollback if one is due.

    Raises:
        UnequalChances: a fault of the machine: what duels or the hold-back say is not to be believed.
        WeightsPruned, SchemaMismatch: the reference cannot serve any more.
    """
    if not await locks.try_hold(connection, LEARN):
        return Skipped("another learner is at work")
    head = await current_head(connection, config)
    if isinstance(head, Skipped):
        return head
    state = head.holdback
    if state.reference is None or lopsided(state) or not lost(state, config):
        if wrong := fault(head.duel, state):  # in the same words each time, so that the ledger shows one fault, not many
            raise UnequalChances(wrong)
        return Done(figures(state, config))
    version = roll_back_harm(head, await versions.load(connection, state.reference, memory=False), now)
    await versions.append(connection, version)
    reason = f"version {head.id} has lost to the hold-back's reference, version {state.reference}: {in_words(state)}"
    return Published(version.id, {"target": state.reference, "reason": reason, **figures(state, config)})


def figures(state: HoldbackState, config: Config) -> dict[str, object]:
    """The comparison for the ledger, with bounds that a rollback's α gives."""
    found = compare(state, config.rollback_alpha)
    lists = state.current_lists + state.reference_lists
    return {"reference": state.reference, "lists": lists, "difference": found.difference, "low": found.low, "high": found.high}


def in_words(state: HoldbackState) -> str:
    return (
        f"{state.current_clicked} of {state.current_lists} lists with a click, "
        f"the reference {state.reference_clicked} of {state.reference_lists}"
    )


GUARD = single_step("guard", guard)
