"""The dashboard's other deed: an update that does not wait for its time."""

from enum import StrEnum

from service.errors import FieldError, Unprocessable
from service.node import Node
from service.store import locks, runs
from service.store.engine import writing
from service.store.locks import Lock
from service.store.runs import Wish


class Update(StrEnum):
    """What a learner may be asked for."""

    MINOR = "minor"
    MAJOR = "major"


JOBS = {Update.MINOR: "minor_update", Update.MAJOR: "major_retrain"}


async def run_now(node: Node, update: Update) -> Wish:
    """Asks the learners for a run. One of them begins it at once; what comes of it is in the ledger, as of any other run.

    Raises:
        Unprocessable: no learner listens, or such a run is under way.
        StoreUnavailable: PostgreSQL does not answer.
    """
    async with writing(node.engine) as connection:
        if not await locks.is_held(connection, Lock.LISTENING):
            raise refused("no learner is listening: start one with python -m jobs schedule")
        last = await runs.newest(connection, JOBS[update])
        if last is not None and await runs.under_way(connection, last):
            raise refused(f"a {update} update is under way already")
        wish = Wish(JOBS[update], last.id if last else 0)
        await runs.ask(connection, wish)
    return wish


def refused(reason: str) -> Unprocessable:
    return Unprocessable(reason, (FieldError("update", reason),))
