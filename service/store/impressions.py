"""Reading the impression log."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import BigInteger, DateTime, LargeBinary, Row, Select, and_, bindparam, func, select, text, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NULLTYPE

from drn.errors import CorruptCheckpoint, SchemaMismatch
from drn.types import ClosedImpression, Entry, Event, Impression
from service.store.feedback import events_of
from service.store.impression_rows import COLUMNS, PREFIX, decode
from service.store.impression_writer import ImpressionWriter
from service.store.locks import Lock, hold
from service.store.tables import impressions, model_versions, requests
from service.store.tails import behind

__all__ = [
    "ClosedRun",
    "Horizon",
    "ImpressionWriter",
    "ShownList",
    "StoredImpression",
    "by_request_id",
    "closed_after",
    "exposures_since",
    "horizon",
    "newest_closed",
    "these",
]

log = structlog.get_logger(__name__)

# As the driver gives them: arrays are lists already, and to go through each once more takes as long as all else.
WHOLE = [impressions.c.seq, *(type_coerce(impressions.c[name], NULLTYPE).label(name) for name in COLUMNS)]
HORIZON_LOCK_TIMEOUT = "1s"  # writers queue behind the wait for the horizon, so it gives up before they do


@dataclass(frozen=True, slots=True, eq=False)
class StoredImpression:
    seq: int
    impression: Impression


@dataclass(frozen=True, slots=True, eq=False)
class ClosedRun:
    """A stretch of the log for a learner."""

    impressions: tuple[ClosedImpression, ...]
    end: int  # seq of its last impression, read or not: the watermark of whoever consumes it
    undecodable: int  # impressions that were stepped over: made for other features, or bytes that are damaged


@dataclass(frozen=True, slots=True)
class ShownList:
    """What feedback needs to know of a served list."""

    request_id: str
    seq: int
    at: datetime
    user_id: str | None
    article_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Horizon:
    """The highest number of each log; at or below it, nothing new can appear any more."""

    impressions: int
    feedback: int


async def by_request_id(connection: AsyncConnection, request_id: str) -> StoredImpression | None:
    """What was served under this request id."""
    row = (await connection.execute(located(select(*WHOLE)).where(requests.c.request_id == request_id))).one_or_none()
    return StoredImpression(row.seq, decode(row._mapping)) if row else None


SHOWN = [impressions.c[name] for name in ("seq", "request_id", "at", "user_id", "shown")]


def shown_list(row: Sequence[Any]) -> ShownList:
    seq, request_id, at, user_id, shown = row
    return ShownList(request_id, seq, at, user_id, tuple(shown))


def located(query: Select[tuple[object, ...]]) -> Select[tuple[object, ...]]:
    """Joined with the registry: its (seq, at) lead to one partition and one entry of its primary key."""
    return query.join_from(requests, impressions, and_(impressions.c.seq == requests.c.seq, impressions.c.at == requests.c.at))


async def exposures_since(
    connection: AsyncConnection, seq: int, exclude_writer: str | None = None, limit: int = 10_000, missing: Sequence[int] = ()
) -> list[ShownList]:
    """What was served after `seq`, in the order of the log, behind what there is by now of the `missing` before it."""
    rows = await behind(connection, select(*SHOWN), impressions, seq, exclude_writer, limit, missing)
    return [shown_list(row) for row in rows]


async def horizon(connection: AsyncConnection) -> Horizon:
    """Waits until nobody is writing to the log and reads how far it goes.

    Numbers are handed out before their transactions commit, so a smaller one may become visible after a larger one; at
    this moment none can. Writers wait only for the two look-ups: the lock goes with the savepoint.

    Raises:
        StoreUnavailable: a writer did not finish within a second (through `service.store.engine`'s contexts).
    """
    savepoint = await connection.begin_nested()
    try:
        await connection.execute(text(f"SET LOCAL lock_timeout = '{HORIZON_LOCK_TIMEOUT}'"))
        await hold(connection, Lock.LOG)
        highest = (await connection.execute(HIGHEST)).one()
    finally:
        await savepoint.rollback()
    return Horizon(highest.impressions, highest.feedback)


# The numbers handed out, not those found: rows may have been erased since, but what was counted up to them stays counted.
HIGHEST = text("""
SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM impression_seq) AS impressions,
    (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM feedback_seq) AS feedback
""")


async def closed_after(
    connection: AsyncConnection, watermark: int, horizon: int, closed_before: datetime, now: datetime, schema: str, limit: int
) -> ClosedRun:
    """The impressions that follow the watermark, up to the first that is still open, with all their feedback so far.

    One that is dated later than `now` comes from a clock that is ahead. When it was served its neighbours tell: it counts
    as closed when one behind it in the log is, and until then it holds up nobody.

    Args:
        horizon: nothing above this seq is read.
        closed_before: an impression is closed if it was served at this time or earlier.
        schema: features that the learner can read; what was made for others is stepped over.
        limit: most impressions that are returned; those stepped over do not count
    """
    ahead = and_(impressions.c.seq > watermark, impressions.c.seq <= horizon)
    open_ = and_(impressions.c.at > closed_before, impressions.c.at <= now)
    end = await connection.scalar(select(func.min(impressions.c.seq)).where(ahead, open_))
    newest = select(impressions.c.seq).where(ahead, impressions.c.at <= closed_before).order_by(impressions.c.seq.desc()).limit(1)
    last = await connection.scalar(newest if end is None else newest.where(impressions.c.seq < end))
    found: list[ClosedImpression] = []
    undecodable, done = 0, watermark
    while last is not None and done < last and len(found) < limit:
        batch = limit - len(found)
        query = select(*WHOLE).where(impressions.c.seq > done, impressions.c.seq <= last).order_by(impressions.c.seq).limit(batch)
        rows = (await connection.execute(query)).all()
        some, strange = await with_events(connection, rows, schema)
        found += some
        undecodable += strange
        done = rows[-1].seq if rows else last  # none: an erasure was faster
    return ClosedRun(tuple(found), done, undecodable)


async def newest_closed(
    connection: AsyncConnection, horizon: int, closed_before: datetime, schema: str, limit: int
) -> tuple[list[Entry], int]:
    """The newest closed impressions in the order of the log, and how many more there were that `schema` cannot read.

    What else is in them is left where it is: a retraining draws but a share of them, and reads that with `these`.
    """
    rows = (
        await connection.execute(ENTRIES, {"horizon": horizon, "before": closed_before, "limit": limit, "begins": PREFIX})
    ).all()[::-1]
    others = await made_for_others(connection, {row.version_id for row in rows}, schema)
    found = [Entry(row.seq, row.at, row.user_id, row.examined) for row in rows if row.readable and row.version_id not in others]
    return found, len(rows) - len(found)


# Rows of this query are what a retraining costs most of, so they are plain: no types, no conversions.
ENTRIES = text("""
SELECT seq, at, user_id, version_id, substring(observation FOR length(:begins)) = :begins AS readable,
    EXISTS (SELECT FROM feedback WHERE request_id = newest.request_id AND article_id = ANY(newest.shown)) AS examined
FROM (
    SELECT * FROM impressions WHERE seq <= :horizon AND at <= :before ORDER BY seq DESC LIMIT :limit
) AS newest ORDER BY seq DESC
""").bindparams(bindparam("begins", type_=LargeBinary), bindparam("before", type_=DateTime(timezone=True)))


async def these(connection: AsyncConnection, entries: Sequence[Entry], schema: str) -> dict[int, ClosedImpression]:
    """The impressions of these entries with their feedback so far, by seq; without those that cannot be read, or are gone."""
    if not entries:
        return {}
    times = [one.at for one in entries]
    wanted = bindparam("seqs", [one.seq for one in entries], type_=ARRAY(BigInteger))
    query = select(*WHOLE).where(impressions.c.seq == wanted.any_(), impressions.c.at.between(min(times), max(times)))
    found, _ = await with_events(connection, (await connection.execute(query)).all(), schema)
    return {one.seq: one for one in found}


async def with_events(
    connection: AsyncConnection, rows: Sequence[Row[tuple[object, ...]]], schema: str
) -> tuple[list[ClosedImpression], int]:
    """The impressions that can be read, with their feedback, and how many others there are."""
    events: dict[str, list[Event]] = defaultdict(list)
    for stored in await events_of(connection, [row.request_id for row in rows]):
        events[str(stored.request_id)].append(stored)
    others = await made_for_others(connection, {row.version_id for row in rows}, schema)
    found, reason = [], "its features are of another schema"
    for row in rows:
        try:
            if row.version_id not in others:
                found.append(ClosedImpression(decode(row._mapping), tuple(events[row.request_id]), row.seq))
        except (CorruptCheckpoint, SchemaMismatch) as error:
            reason = str(error)
    if undecodable := len(rows) - len(found):
        log.warning("impressions that cannot be read are not learned from", number=undecodable, one_reason=reason)
    return found, undecodable


async def made_for_others(connection: AsyncConnection, version_ids: Collection[int], schema: str) -> set[int]:
    """Those of these versions that see other features than `schema`: what they served was logged for them."""
    wanted = bindparam("ids", list(version_ids), type_=ARRAY(BigInteger))
    query = select(model_versions.c.id).where(model_versions.c.id == wanted.any_(), model_versions.c.schema != schema)
    return set(await connection.scalars(query))
