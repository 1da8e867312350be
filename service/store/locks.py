"""Advisory locks: who may learn, who may retrain, and when the log has no writer in flight."""

from enum import IntEnum
from zlib import crc32

from psycopg.errors import LockNotAvailable
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.errors import Occupied

NAMESPACE = 0x64726E  # "drn": advisory locks are one space for everyone who uses the database
RUNS = NAMESPACE + 1  # a lock for every run in the ledger, by its id: it lives as long as somebody holds it
ERASURES = NAMESPACE + 3  # a lock for every reader who is being erased
WISHES = NAMESPACE + 2  # a lock for every wish for a run: it is for one learner to fulfil


class Lock(IntEnum):
    LEARN = 1  # whoever appends a version; held to the end of that transaction
    RETRAIN = 2  # a major update, for as long as it computes
    LOG = 3  # shared by every insert into the log (a trigger takes it), exclusive while its horizon is read
    ARTICLES = 4  # one writer at a time, so that revisions become visible in their order
    PARTITIONS = 5  # one process at a time creates or drops days
    MIGRATE = 6
    COUNTS = 7  # one process at a time counts the log
    UPKEEP = 8  # one retention run at a time, for as long as it takes
    LISTENING = 9  # shared by every learner that can be asked for a run, for as long as it listens


LEARN, RETRAIN, UPKEEP = Lock.LEARN, Lock.RETRAIN, Lock.UPKEEP


async def hold(connection: AsyncConnection, lock: Lock) -> None:
    """Waits for the lock and keeps it until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:namespace, :lock)"), {"namespace": NAMESPACE, "lock": int(lock)})


async def hold_within(connection: AsyncConnection, lock: Lock, seconds: float) -> None:
    """As `hold`, but waits no longer than `seconds`, whatever the connection's own time-outs are.

    Raises:
        Occupied: somebody else has held it for all that time.
    """
    own = {"wait": f"{round(1000 * seconds)}ms", "statement": f"{round(1000 * seconds) + 1000}ms"}
    limits = "SELECT set_config('lock_timeout', :wait, true), set_config('statement_timeout', :statement, true)"
    await connection.execute(text(limits), own)
    try:
        await hold(connection, lock)
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        raise Occupied(f"{lock.name} has been held by somebody else for {seconds:g} s") from error


async def try_hold(connection: AsyncConnection, lock: Lock) -> bool:
    """Takes the lock until the transaction ends, unless somebody else has it."""
    query = text("SELECT pg_try_advisory_xact_lock(:namespace, :lock)")
    return bool(await connection.scalar(query, {"namespace": NAMESPACE, "lock": int(lock)}))


async def try_hold_session(connection: AsyncConnection, lock: Lock) -> bool:
    """Takes the lock until `release_session` or the end of the connection, across transactions."""
    query = text("SELECT pg_try_advisory_lock(:namespace, :lock)")
    return bool(await connection.scalar(query, {"namespace": NAMESPACE, "lock": int(lock)}))


async def release_session(connection: AsyncConnection, lock: Lock) -> None:
    await connection.execute(text("SELECT pg_advisory_unlock(:namespace, :lock)"), {"namespace": NAMESPACE, "lock": int(lock)})


async def is_held(connection: AsyncConnection, lock: Lock) -> bool:
    """Whether anybody has the lock, alone or shared."""
    return await anybody_holds(connection, NAMESPACE, int(lock))


async def try_hold_erasure(connection: AsyncConnection, user_id: str) -> bool:
    """Takes the reader's erasure until the transaction ends, unless somebody is at it."""
    query = text("SELECT pg_try_advisory_xact_lock(:namespace, :reader)")
    return bool(await connection.scalar(query, {"namespace": ERASURES, "reader": crc32(user_id.encode()) % 2**31}))


async def lives(connection: AsyncConnection, run_id: int) -> bool:
    """Whether the process that carries out this run is there."""
    return await anybody_holds(connection, RUNS, run_key(run_id))


async def anybody_holds(connection: AsyncConnection, namespace: int, key: int) -> bool:
    """To look is not to try: of two who try a lock that nobody has, one would find it taken by the other."""
    query = text("""
        SELECT EXISTS (
            SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE datname = current_database() AND locktype = 'advisory' AND granted
                AND classid::bigint = :namespace AND objid::bigint = :key AND objsubid = 2
        )
    """)
    return bool(await connection.scalar(query, {"namespace": namespace, "key": key}))


async def hold_run(connection: AsyncConnection, run_id: int) -> None:
    """Says that this run lives, until the connection closes or `release_run`."""
    await connection.execute(text("SELECT pg_advisory_lock(:namespace, :run)"), {"namespace": RUNS, "run": run_key(run_id)})


async def release_run(connection: AsyncConnection, run_id: int) -> None:
    await connection.execute(text("SELECT pg_advisory_unlock(:namespace, :run)"), {"namespace": RUNS, "run": run_key(run_id)})


async def try_hold_wish(connection: AsyncConnection, wish: str) -> bool:
    """Takes the wish up until the connection closes or `release_wish`, unless another learner has."""
    query = text("SELECT pg_try_advisory_lock(:namespace, :wish)")
    return bool(await connection.scalar(query, {"namespace": WISHES, "wish": wish_key(wish)}))


async def release_wish(connection: AsyncConnection, wish: str) -> None:
    await connection.execute(text("SELECT pg_advisory_unlock(:namespace, :wish)"), {"namespace": WISHES, "wish": wish_key(wish)})


def wish_key(wish: str) -> int:
    return crc32(wish.encode()) % 2**31


def run_key(run_id: int) -> int:
    """Advisory locks take 31 bits; that two runs of one moment are two billion runs apart cannot be."""
    return run_id % 2**31
