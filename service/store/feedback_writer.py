"""Writes feedback into the log, in groups: `/feedback` answers after the commit of its own, of all of its events or none."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from psycopg.errors import UniqueViolation

from drn.types import Event
from service.store.errors import NoSuchRequest
from service.store.feedback import Recorded, StoredEvent, columns, past
from service.store.group_commit import WAIT_SECONDS, Connection, GroupCommit
from service.store.impression_rows import numbers, texts
from service.store.prepared import Prepared

EVENTS = 512  # per commit: a group of requests is full when it holds so many, which takes PostgreSQL about 8 ms
WARY = 20  # groups: where one event in ten thousand is repeated, few are then refused and written twice

# Every list is held until the commit, so that nobody erases it meanwhile; nothing is stored unless all are. One that is gone,
# or that somebody is just erasing, is not waited for. The order of arrival is the order of the log: numbers are drawn behind
# the sort.
INSERT = """
WITH held AS MATERIALIZED (
    SELECT seq FROM requests JOIN unnest($1::text[], $2::bigint[]) AS list (request_id, seq) USING (request_id, seq)
    FOR KEY SHARE OF requests SKIP LOCKED
), stored AS (
    INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, value, received_at, writer)
    SELECT event_id, request_id, article_id, user_id, type, at, value, $3, $4
    FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::float8[])
        WITH ORDINALITY AS event (event_id, request_id, article_id, user_id, type, at, value, place)
    WHERE (SELECT count(*) FROM held) = $5 ORDER BY place
    RETURNING seq
)
SELECT ARRAY(SELECT seq FROM held), ARRAY(SELECT seq FROM stored ORDER BY seq)
"""
KNOWN = "SELECT event_id FROM feedback WHERE event_id = ANY(%s::text[])"
LOGGED = "SELECT event_id, seq, writer = %s AND received_at >= %s FROM feedback WHERE event_id = ANY(%s)"


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """The events of one request, and the seq of each list that they speak of, by its request id."""

    events: Sequence[Event]
    lists: Mapping[str, int]
    received_at: datetime

    @property
    def size(self) -> int:
        return len(self.events)


class FeedbackLog:
    """How a group of submissions is written. See `service.store.group_commit.Log`."""

    def __init__(self, writer_id: str) -> None:
        self._writer_id = writer_id
        self._statement = Prepared("insert_feedback", INSERT)
        self._wary = 0  # groups for which repeated events are still looked for before they are stored

    async def commit(self, connection: Connection, items: Sequence[Submission]) -> list[Recorded | Exception]:
        """What became of each, NoSuchRequest where a list is not in the log (any more) or is just being erased."""
        lost: set[tuple[str, int]] = set()
        seqs: dict[str, int] = {}
        while kept := [each for each in items if lost.isdisjoint(each.lists.items())]:
            seqs, missing = await self._insert_new(connection, kept)
            if not missing:
                break
            lost |= missing
        return [
            first_of(each, seqs)
            if lost.isdisjoint(each.lists.items())
            else NoSuchRequest("an event speaks of a request that is not in the log")
            for each in items
        ]

    async def committed(self, connection: Connection, items: Sequence[Submission]) -> list[Recorded | None]:
        """All events of a submission are in the log once it is committed: those that came with it, and earlier duplicates."""
        if not items:
            return []
        earliest = min(each.received_at for each in items)
        ids = [event.event_id for each in items for event in each.events]
        rows = await (await connection.execute(LOGGED, [self._writer_id, earliest, ids])).fetchall()
        logged = {event_id for event_id, _, _ in rows}
        seqs = {event_id: seq for event_id, seq, ours in rows if ours}
        return [first_of(each, seqs) if logged.issuperset(ids_of(each)) else None for each in items]

    async def _insert_new(
        self, connection: Connection, items: Sequence[Submission]
    ) -> tuple[dict[str, int], set[tuple[str, int]]]:
        """Stores the events that are not in the log yet, of those with the same id the first. See `_insert`.

        Hardly any is in the log, so that is looked up only once one was refused, and in the WARY groups after one was found:
        `ON CONFLICT` would cost all of them an eighth more.
        """
        first: dict[str, Event] = {}
        for each in items:
            for event in each.events:
                first.setdefault(event.event_id, event)
        while True:
            known = await self._known(connection, first) if self._wary else set()
            self._wary = WARY if known else max(0, self._wary - 1)
            new = [event for event in first.values() if event.event_id not in known] if known else [*first.values()]
            try:
                return await self._insert(connection, items, new)
            except UniqueViolation as error:
                if error.diag.constraint_name != "feedback_event_id_key":
                    raise
                self._wary = WARY

    async def _insert(
        self, connection: Connection, items: Sequence[Submission], events: Sequence[Event]
    ) -> tuple[dict[str, int], set[tuple[str, int]]]:
        """The seqs of these events of the items, by event id, and the lists that could not be held: nothing was stored then."""
        lists = {place for each in items for place in each.lists.items()}
        parameters = (
            texts([request_id for request_id, _ in lists]),
            numbers([seq for _, seq in lists]),
            str(max(each.received_at for each in items)),
            self._writer_id,
            str(len(lists)),
            *columns(events),
        )
        held, seqs = map(integers, *await self._statement.rows(connection, parameters))
        if len(held) == len(lists):
            return {event.event_id: seq for event, seq in zip(events, seqs, strict=True)}, set()
        return {}, {(request_id, seq) for request_id, seq in lists if seq not in held}

    async def _known(self, connection: Connection, event_ids: Collection[str]) -> set[str]:
        """Those of the events that are in the log."""
        rows = await connection.execute(KNOWN, [texts([*event_ids])])
        return {event_id for (event_id,) in await rows.fetchall()}


def integers(array: bytes) -> list[int]:
    """The numbers of an array as PostgreSQL writes it."""
    return [int(each) for each in array[1:-1].split(b",")] if array != b"{}" else []


def ids_of(submission: Submission) -> set[str]:
    return {event.event_id for event in submission.events}


def first_of(submission: Submission, seqs: dict[str, int]) -> Recorded:
    """What is stored of a submission. Of equal event ids in a group the first is, so each seq is taken out when it is used."""
    stored = [StoredEvent(seq, event) for event in submission.events if (seq := seqs.pop(event.event_id, None)) is not None]
    return Recorded(tuple(stored), submission.size - len(stored))


class FeedbackWriter:
    """The writer of one process.

    Args:
        url: address of the database.
        writer_id: stored with every row, so that a process can leave out what it wrote itself.
        note: told what was committed, before those who submitted it are. Two groups may come in another order than in the log.
        doubted: see `GroupCommit`.
    """

    def __init__(
        self,
        url: str,
        writer_id: str,
        note: Callable[[Sequence[StoredEvent]], None] = lambda _stored: None,
        doubted: Callable[[], None] = lambda: None,
    ) -> None:
        def applied(committed: Sequence[tuple[Submission, Recorded]]) -> None:
            note([stored for _, recorded in committed for stored in recorded.stored])

        self._group = GroupCommit(
            url, "drn feedback writer", FeedbackLog(writer_id), applied, lambda each: each.size, EVENTS, doubted=doubted
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def write(
        self, events: Sequence[Event], lists: Mapping[str, int], now: datetime, seconds: float = WAIT_SECONDS
    ) -> Recorded:
        """Stores the events that are not in the log yet; an event id is a duplicate within one request, too.

        A credited event (one with a request id) must carry the reader of its impression: histories are read by reader.
        A time in the future is stored as `now`.

        Args:
            lists: the seq of the list behind each request id that the events name.

        Raises:
            NoSuchRequest: one of the lists is not in the log (any more), or somebody is just erasing it. Nothing is stored.
            StoreUnavailable: it was not committed within `seconds`. Should its commit have been under way, it may yet be in
                the log: the same events may be sent again.
        """
        if not events:
            return Recorded((), 0)
        return await self._group.write(Submission(past(events, now), lists, now), seconds)

    async def close(self) -> None:
        """Takes no more, and commits what is waiting."""
        await self._group.close()
