"""The dashboard's one deed: serve an older version's network again."""

from datetime import datetime

from drn import versions as core
from drn.errors import DrnError
from drn.types import VersionKind
from service.errors import FieldError, ServiceError, Unavailable, Unprocessable
from service.node import Node
from service.store import locks, runs, versions
from service.store.engine import writing
from service.store.errors import NoSuchVersion, Occupied, WeightsPruned
from service.store.locks import LEARN

LEARNER_SECONDS = 10.0  # a minor update writes for no longer than this; a page can be asked to wait as long


async def roll_back(node: Node, target_id: int) -> int:
    """Appends a version with the current network of version `target_id`; its id. A learner at work is waited for.

    The rollback stands among the job runs like any other, also when nothing came of it.

    Raises:
        Unprocessable: there is no such version, its weights are gone, it is the one served, or it has other features.
        Unavailable: a learner has held the line for `LEARNER_SECONDS`.
        StoreUnavailable: PostgreSQL does not answer.
    """
    started = node.clock()
    try:
        return await append(node, target_id, started)
    except ServiceError as error:
        await note(node, target_id, started, error)
        raise


async def append(node: Node, target_id: int, started: datetime) -> int:
    """The new version and the ledger's word on it, in one transaction."""
    async with writing(node.engine) as connection:
        try:
            await locks.hold_within(connection, LEARN, LEARNER_SECONDS)
        except Occupied as error:
            raise Unavailable(
                f"a learner is at work and has held the line of versions for {LEARNER_SECONDS:g} s; try again when it is done"
            ) from error
        try:
            head = await versions.head(connection, memory=False)
        except DrnError as error:
            raise refused(f"the newest version cannot be read: {error}") from error
        if head is None or head.id == target_id:
            raise refused("there is no version yet" if head is None else f"version {target_id} is the newest one already")
        if head.kind is VersionKind.ROLLBACK and head.metrics.get("target") == target_id:  # asked again at once, as after a 503
            raise refused(f"version {head.id}, the newest one, is the rollback to version {target_id} already")
        try:
            version = core.rollback(head, await versions.load(connection, target_id, memory=False), node.clock())
        except NoSuchVersion as error:
            raise refused(f"there is no version {target_id}") from error
        except WeightsPruned as error:
            raise refused(f"the weights of version {target_id} are no longer kept") from error
        except DrnError as error:
            raise refused(str(error)) from error
        await versions.append(connection, version)
        run_id = await runs.open(connection, "rollback", started)
        await runs.close(connection, run_id, "published", node.clock(), version_id=version.id, detail={"target": target_id})
    return version.id


async def note(node: Node, target_id: int, started: datetime, error: ServiceError) -> None:
    """The ledger's word on a rollback of which nothing came."""
    outcome = "skipped" if isinstance(error, Unprocessable) else "failed"
    async with writing(node.engine) as connection:
        run_id = await runs.open(connection, "rollback", started)
        await runs.close(connection, run_id, outcome, node.clock(), detail={"target": target_id, "reason": error.detail})


def refused(reason: str) -> Unprocessable:
    return Unprocessable(reason, (FieldError("to", reason),))
