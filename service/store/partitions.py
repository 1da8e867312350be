"""Impressions are kept by UTC day: a day is created when it is first written to, and dropped whole when it is old."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.locks import Lock, hold

PREFIX = "impressions_"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a retention run removed."""

    days: tuple[date, ...]
    impressions: int
    feedback: int


def name(day: date) -> str:
    return f"{PREFIX}{day:%Y%m%d}"


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


def create_statement(day: date) -> str:
    """DDL takes no parameters; a date's digits need no quoting."""
    end = day + timedelta(days=1)
    bounds = f"FROM ('{day} 00:00+00') TO ('{end} 00:00+00')"
    return f"CREATE TABLE IF NOT EXISTS {name(day)} PARTITION OF impressions FOR VALUES {bounds}"


async def ensure_partitions(connection: AsyncConnection, days: Iterable[date]) -> None:
    """Makes the days that are not there yet. Commit soon: creating a day keeps every writer waiting."""
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


async def prune(connection: AsyncConnection, *, impressions_before: date, feedback_before: date) -> Pruned:
    """Drops whole days of impressions, and feedback older than its own limit.

    Clicks on dropped impressions stay in histories and counters, as organic reading, until `feedback_before`.
    """
    await hold(connection, Lock.PARTITIONS)
    days = tuple(day for day in await existing(connection) if day < impressions_before)
    removed = 0
    for day in days:
        deleted = await connection.execute(
            text(f"DELETE FROM requests USING {name(day)} AS old WHERE old.request_id = requests.request_id")
        )
        removed += deleted.rowcount
        await connection.execute(text(f"DROP TABLE {name(day)}"))
    limit = datetime(feedback_before.year, feedback_before.month, feedback_before.day, tzinfo=UTC)
    feedback = await connection.execute(text("DELETE FROM feedback WHERE at < :limit"), {"limit": limit})
    return Pruned(days, removed, feedback.rowcount)
