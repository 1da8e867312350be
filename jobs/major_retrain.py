"""The major update as a job: replay → double-Q training outside any transaction → a child of whatever the head is by then."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from drn import updates
from drn.config import Config
from drn.replay import Replay
from drn.retraining import Draws, Progress, held_out
from drn.stacked import Places
from drn.types import ClosedImpression, Entry
from drn.updates import Retrained
from drn.versions import Version
from jobs.errors import UnreadableLists
from jobs.line import current_head, unread
from jobs.runner import Job, Outcome, Published, Skipped, Step, Transaction
from service.store import impressions, locks, versions
from service.store.locks import LEARN, RETRAIN

NAME = "major_retrain"


def major_retrain(progress: Progress | None = None) -> Job:
    """The job. `progress` is called in the training thread with (steps done, steps in all); what it raises ends the run."""

    async def train(transaction: Transaction, config: Config, now: datetime) -> Step | Skipped:
        async with transaction() as connection:
            base = await current_head(connection, config)
            if isinstance(base, Skipped):
                return base
            gathered = await gather(connection, base, config, now)
        if isinstance(gathered, Skipped):
            return gathered
        replay, draws, lost = gathered
        retrained = await asyncio.to_thread(updates.trained, base, replay, draws, config, progress)
        retrained = replace(retrained, metrics={**retrained.metrics, **lost})
        if not retrained.accepted:
            reason = "is not finite: a learning rate is too high" if "finite" in retrained.metrics else "did not pass its gate"
            return Skipped(f"the retrained network {reason}", dict(retrained.metrics))
        return partial(publish, base, retrained)

    return Job(NAME, train, RETRAIN)


async def gather(
    connection: AsyncConnection, base: Version, config: Config, now: datetime
) -> tuple[Replay, Draws, dict[str, float]] | Skipped:
    """Replay, of which what is drawn has been read. What cannot be read is as if it was not there, but for a word on it."""
    horizon = (await impressions.horizon(connection)).impressions
    closed_before = now - timedelta(seconds=config.feedback_window)
    entries, unreadable = await impressions.newest_closed(
        connection, horizon, closed_before, base.schema, config.replay_impressions
    )
    while len(entries) >= config.major_impressions:
        try:
            replay, draws = await read_drawn(connection, base, entries, config, now)
        except UnreadableLists as error:
            entries = [one for one in entries if one not in error.entries]
            unreadable += len(error.entries)
        else:
            return replay, draws, unread(unreadable)
    return Skipped(f"{len(entries)} closed impressions in replay; {config.major_impressions} needed", unread(unreadable))


async def read_drawn(
    connection: AsyncConnection, base: Version, entries: Sequence[Entry], config: Config, now: datetime
) -> tuple[Replay, Draws]:
    """First what the gate holds out, then what is drawn besides.

    Raises:
        UnreadableLists: some of it is damaged, or has been erased since.
    """
    found: dict[int, ClosedImpression] = {}

    async def read(places: Places) -> None:
        wanted = {int(place): entries[place] for place in places if place not in found}
        stored = await impressions.these(connection, list(wanted.values()), base.schema)
        if lost := frozenset(one for one in wanted.values() if one.seq not in stored):
            raise UnreadableLists(lost)
        found.update({place: stored[one.seq] for place, one in wanted.items()})

    replay = Replay.listed(entries, found, config, now)
    await read(held_out(replay, config))
    draws = updates.drawn(base, replay, config, now)
    await read(draws.needed(replay, config))
    return replay, draws


async def publish(base: Version, retrained: Retrained, connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Appends θ_major + (head − base): the minor updates that landed during training keep what they learned.

    Where a rollback or another major update landed, head − base is no learning any more: adding it would undo it.
    """
    await locks.hold(connection, LEARN)
    head = await current_head(connection, config)
    if isinstance(head, Skipped):
        return head
    if (landed := await versions.break_after(connection, base.id)) is not None:
        number, kind = landed
        return Skipped(f"version {number} ({kind}) landed meanwhile", {**retrained.metrics, "base": base.id})
    version = updates.publish_retrained(retrained, base, head, config, now)
    await versions.append(connection, version)
    return Published(version.id, dict(version.metrics))
