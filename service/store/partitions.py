"""Impressions are kept by UTC day: a day is created when it is first written to, and dropped whole when it is old."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

from psycopg.errors import LockNotAvailable
from sqlalchemy import TextClause, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.impression_rows import COLUMNS
from service.store.locks import Lock, hold

Transaction: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Opens a transaction of its own, which commits when its block ends."""

PREFIX = "impressions_"
PLANNED = ("at", "request_id", "user_id", "version_id")  # columns of an impression itself that a plan may depend on
BATCH = 2_000  # rows per transaction of a retention run: tens of milliseconds
DROP_LOCK_TIMEOUT = "300ms"  # `/rank` has 1.5 s, and waits behind whoever waits for this lock


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a retention run removed."""

    days: tuple[date, ...]
    impressions: int
    feedback: int
    outcomes: int


def name(day: date) -> str:
    return f"{PREFIX}{day:%Y%m%d}"


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


def create_statement(day: date) -> str:
    """DDL takes no parameters; a date's digits need no quoting. What ANALYZE leaves out a partition does not inherit.

    The day is made by itself and then attached, which no reader and no writer of the log has to wait for: a table that is made
    as a partition locks all of them out, and has to wait until the last of them, perhaps a long dump, is done.
    Only an erasure changes a day, and it is dropped whole: so it is not vacuumed for its growth, which wrote every page of it
    into the write-ahead log once more. Days that were made before that keep their settings until they are dropped.
    """
    end = day + timedelta(days=1)
    bounds = f"FROM ('{day} 00:00+00') TO ('{end} 00:00+00')"
    unplanned = ", ".join(f"ALTER COLUMN {column} SET STATISTICS 0" for column in COLUMNS if column not in PLANNED)
    unvacuumed = "autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1"
    return f"""
        DO $$ BEGIN
            IF to_regclass('{name(day)}') IS NULL THEN
                CREATE TABLE {name(day)} (LIKE impressions INCLUDING ALL);
                ALTER TABLE {name(day)} {unplanned}, SET ({unvacuumed});
                ALTER TABLE impressions ATTACH PARTITION {name(day)} FOR VALUES {bounds};
            END IF;
        END $$
    """


async def ensure_partitions(connection: AsyncConnection, days: Iterable[date]) -> None:
    """Makes the days that are not there yet. Commit soon: whoever else has to make a day waits."""
    missing = sorted(set(days) - set(await existing(connection)))
    if missing:
        await hold(connection, Lock.PARTITIONS)
        for day in missing:
            await connection.execute(text(create_statement(day).replace(":", "\\:")))


async def existing(connection: AsyncConnection) -> tuple[date, ...]:
    """The days that have a partition, oldest first."""
    query = text(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'impressions'::regclass ORDER BY c.relname"
    )
    names = (await connection.scalars(query)).all()
    return tuple(datetime.strptime(found.removeprefix(PREFIX), "%Y%m%d").replace(tzinfo=UTC).date() for found in names)


async def prune(transaction: Transaction, *, impressions_before: date, feedback_before: date) -> Pruned:
    """Drops whole days of impressions, and feedback and outcomes of duels older than their own limit.

    Clicks on dropped impressions stay in histories and counters, as organic reading, until `feedback_before`. Duels keep
    their final scores. It works in short transactions, so that nobody who serves or reports waits for it; what it does
    not get done is left for the next time, as is a day that somebody reads for longer than `DROP_LOCK_TIMEOUT`.
    """
    async with transaction() as connection:
        old = [day for day in await existing(connection) if day < impressions_before]
    days: list[date] = []
    removed = 0
    for day in old:
        removed += await forget_requests(transaction, day)
        async with transaction() as connection:
            if await drop_day(connection, day):
                days.append(day)
    limit = datetime(feedback_before.year, feedback_before.month, feedback_before.day, tzinfo=UTC)
    return Pruned(
        tuple(days), removed, await delete_before(transaction, FEEDBACK, limit), await delete_before(transaction, OUTCOMES, limit)
    )


async def forget_requests(transaction: Transaction, day: date) -> int:
    """Removes the day's request ids from the registry; returns how many there were."""
    query = text(f"""
        WITH old AS (SELECT seq, request_id FROM {name(day)} WHERE seq > :after ORDER BY seq LIMIT :batch),
        gone AS (DELETE FROM requests USING old WHERE requests.request_id = old.request_id RETURNING 1)
        SELECT (SELECT max(seq) FROM old) AS last, (SELECT count(*) FROM gone) AS gone
    """)
    removed, last = 0, 0
    while last is not None:
        async with transaction() as connection:
            row = (await connection.execute(query, {"after": last, "batch": BATCH})).one()
        removed, last = removed + row.gone, row.last
    return removed


async def drop_day(connection: AsyncConnection, day: date) -> bool:
    """Drops one day. False if it could not be had soon: whoever serves waits behind us for as long as we wait.

    Commit at once: until then nobody can read or write any impression.
    """
    await hold(connection, Lock.PARTITIONS)
    try:
        async with connection.begin_nested():
            await connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_LOCK_TIMEOUT}'"))
            await connection.execute(text(f"DROP TABLE IF EXISTS {name(day)}"))
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return False
        raise
    return True


FEEDBACK = text("DELETE FROM feedback WHERE seq IN (SELECT seq FROM feedback WHERE at < :limit ORDER BY at LIMIT :batch)")
OUTCOMES = text(
    "DELETE FROM duel_outcomes WHERE request_id IN"
    " (SELECT request_id FROM duel_outcomes WHERE at < :limit ORDER BY at LIMIT :batch)"
)


async def delete_before(transaction: Transaction, statement: TextClause, limit: datetime) -> int:
    """Repeats a DELETE, a batch in each transaction, until nothing older is left; returns how many rows went."""
    removed, last = 0, BATCH
    while last == BATCH:
        async with transaction() as connection:
            last = (await connection.execute(statement, {"limit": limit, "batch": BATCH})).rowcount
        removed += last
    return removed
