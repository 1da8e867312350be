"""Going back: a new version that serves an older one's current network. The line only ever grows."""

from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.versions import rollback
from jobs.runner import Job, Outcome, Published, Skipped, single_step
from service.store import locks, versions
from service.store.locks import LEARN


def rollback_to(target_id: int) -> Job:
    """The job that appends a version with the weights of version `target_id`; every API process serves it within a second."""
    return single_step("rollback", partial(append_rollback, target_id))


async def append_rollback(target_id: int, connection: AsyncConnection, _config: Config, now: datetime) -> Outcome:
    """Waits for a learner at work, then appends.

    Raises:
        NoSuchVersion: the line holds no such version.
        WeightsPruned: its weights were dropped to save space.
        SchemaMismatch: it was made for other features or layers than the head.
    """
    await locks.hold(connection, LEARN)
    head = await versions.head(connection)
    if head is None:
        return Skipped("there is no version yet")
    if head.id == target_id:
        return Skipped(f"version {target_id} is the one being served")
    version = rollback(head, await versions.load(connection, target_id, memory=False), now)
    await versions.append(connection, version)
    return Published(version.id, {"target": target_id})
