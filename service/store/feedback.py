"""The feedback log: what readers did, each event once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg.errors import ForeignKeyViolation
from sqlalchemy import DateTime, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Event
from service.store.errors import NoSuchRequest
from service.store.impression_rows import optional_texts, texts
from service.store.tables import feedback
from service.store.tails import behind

COLUMNS = [feedback.c[name] for name in Event._fields]

# The order of the request is the order of the log: numbers are drawn behind the sort.
INSERT = text("""
INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, value, received_at, writer)
SELECT event_id, request_id, article_id, user_id, type, at, value, :received_at, :writer
FROM unnest(
    CAST(:c0 AS text[]), CAST(:c1 AS text[]), CAST(:c2 AS text[]), CAST(:c3 AS text[]), CAST(:c4 AS text[]),
    CAST(:c5 AS timestamptz[]), CAST(:c6 AS float8[])
) WITH ORDINALITY AS e(event_id, request_id, article_id, user_id, type, at, value, place)
ORDER BY place
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id, seq
""").bindparams(bindparam("received_at", type_=DateTime(timezone=True)), bindparam("writer", type_=Text))


class StoredEvent(NamedTuple):
    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch of events."""

    stored: tuple[StoredEvent, ...]
    duplicates: int

    @property
    def accepted(self) -> int:
        return len(self.stored)


async def record(connection: AsyncConnection, events: Sequence[Event], writer_id: str, now: datetime) -> Recorded:
    """Adds the events that are not in the log yet; an event id is a duplicate within one batch, too.

    A credited event (one with a request id) must carry the reader of its impression: histories are read by reader.
    A time in the future is stored as `now`.

    Raises:
        NoSuchRequest: a request id is not in the log (any more: its reader may just have been erased).
    """
    distinct = {event.event_id: event for event in reversed(events)}
    ordered = past(list(reversed(distinct.values())), now)
    if not ordered:
        return Recorded((), len(events))
    values = {f"c{i}": column for i, column in enumerate(columns(ordered))} | {"received_at": now, "writer": writer_id}
    try:
        seqs = {row.event_id: row.seq for row in await connection.execute(INSERT, values)}
    except IntegrityError as error:
        if not isinstance(error.orig, ForeignKeyViolation):
            raise
        raise NoSuchRequest("an event speaks of a request that is not in the log") from error
    stored = tuple(StoredEvent(seqs[event.event_id], event) for event in ordered if event.event_id in seqs)
    return Recorded(stored, len(events) - len(stored))


def past(events: Sequence[Event], now: datetime) -> list[Event]:
    """The events, none of them in the future."""
    return [event if event.at <= now else event._replace(at=now) for event in events]


def columns(events: Sequence[Event]) -> tuple[str, ...]:
    """One array per column, as PostgreSQL writes it: made here they cost a tenth of what the driver takes."""
    if not events:
        return ("{}",) * len(Event._fields)
    event_ids, article_ids, types, ats, values, request_ids, user_ids = zip(*events, strict=True)
    times = {at: str(at) for at in {*ats}}  # often few: events without a time have their request's
    return (
        texts(event_ids),
        optional_texts(request_ids),
        texts(article_ids),
        optional_texts(user_ids),
        texts(types),
        texts([times[at] for at in ats]),
        optional_texts(values),
    )


async def events_since(
    connection: AsyncConnection, seq: int, exclude_writer: str | None = None, limit: int = 10_000, missing: Sequence[int] = ()
) -> list[StoredEvent]:
    """What was recorded after `seq`, in the order of the log, behind what there is by now of the `missing` before it."""
    rows = await behind(connection, select(feedback.c.seq, *COLUMNS), feedback, seq, exclude_writer, limit, missing)
    return [StoredEvent(row[0], Event(*row[1:])) for row in rows]


async def events_of(connection: AsyncConnection, request_ids: Collection[str]) -> list[Event]:
    """All feedback on these requests, in the order of the log."""
    wanted = bindparam("ids", list(request_ids), type_=ARRAY(Text))
    query = select(*COLUMNS).where(feedback.c.request_id == wanted.any_()).order_by(feedback.c.seq)
    return [Event(*row) for row in await connection.execute(query)]
