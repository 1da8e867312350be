"""The dashboard's one deed: serve an older version's network again."""

from drn import versions as core
from drn.errors import SchemaMismatch
from service.errors import FieldError, Unprocessable
from service.node import Node
from service.store import locks, runs, versions
from service.store.engine import writing
from service.store.errors import NoSuchVersion, WeightsPruned
from service.store.locks import LEARN


async def roll_back(node: Node, target_id: int) -> int:
    """Appends a version with the current network of version `target_id`; its id. A learner at work is waited for.

    The rollback stands among the job runs like any other, in the same transaction.

    Raises:
        Unprocessable: there is no such version, its weights are gone, it is the one served, or it has other features.
        StoreUnavailable: PostgreSQL does not answer, or a learner holds the line for longer than a request may wait.
    """
    async with writing(node.engine) as connection:
        run_id = await runs.open(connection, "rollback", node.clock())
        await locks.hold(connection, LEARN)
        head = await versions.head(connection, memory=False)
        if head is None or head.id == target_id:
            raise refused("there is no version yet" if head is None else f"version {target_id} is the newest one already")
        try:
            version = core.rollback(head, await versions.load(connection, target_id, memory=False), node.clock())
        except NoSuchVersion as error:
            raise refused(f"there is no version {target_id}") from error
        except WeightsPruned as error:
            raise refused(f"the weights of version {target_id} are no longer kept") from error
        except SchemaMismatch as error:
            raise refused(str(error)) from error
        await versions.append(connection, version)
        await runs.close(connection, run_id, "published", node.clock(), version_id=version.id, detail={"target": target_id})
    return version.id


def refused(reason: str) -> Unprocessable:
    return Unprocessable(reason, (FieldError("to", reason),))
