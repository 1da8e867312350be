"""Writes impressions into the log, in groups: `/rank` answers after the commit of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Self

import psycopg

from drn.types import Impression
from service.store.errors import DuplicateRequest
from service.store.group_commit import WAIT_SECONDS, Connection, GroupCommit
from service.store.impression_rows import COLUMNS, by_column, encode
from service.store.locks import NAMESPACE, Lock
from service.store.partitions import create_statement, day_of, name
from service.store.prepared import Parameter, Prepared, Rows

# Taking the request ids and writing the impressions are one statement: of two writers of the same id, one gets no row.
# The order of arrival is the order of the log: numbers are drawn behind the sort.
ARRAYS = [f"${place}::{'bytea' if kind == 'bytea' else 'text'}[]" for place, kind in enumerate(COLUMNS.values(), 1)]
MANY = f"""
WITH batch AS (
    SELECT {", ".join(f"{name}::{kind}" for name, kind in COLUMNS.items())}, place
    FROM unnest({", ".join(ARRAYS)})
        WITH ORDINALITY AS arrived ({", ".join(COLUMNS)}, place)
), registered AS (
    INSERT INTO requests (request_id, at) SELECT request_id, at FROM batch ORDER BY place
    ON CONFLICT (request_id) DO NOTHING RETURNING request_id, seq
)
INSERT INTO impressions (seq, {", ".join(COLUMNS)}, writer)
SELECT seq, {", ".join(COLUMNS)}, ${len(COLUMNS) + 1} FROM registered JOIN batch USING (request_id)
RETURNING request_id, seq
"""
# The same for one impression, as most groups have no more while there is little to do: arrays, sort and join cost as much as it.
VALUES = {name: f"${place}::{kind}" for place, (name, kind) in enumerate(COLUMNS.items(), 1)}
ONE = f"""
WITH registered AS (
    INSERT INTO requests (request_id, at) VALUES ({VALUES["request_id"]}, {VALUES["at"]})
    ON CONFLICT (request_id) DO NOTHING RETURNING request_id, seq
)
INSERT INTO impressions (seq, {", ".join(VALUES)}, writer)
SELECT seq, {", ".join(VALUES.values())}, ${len(VALUES) + 1} FROM registered
RETURNING request_id, seq
"""
OURS = """
SELECT r.request_id, r.at, r.seq FROM requests r JOIN impressions i ON i.seq = r.seq AND i.at = r.at
WHERE r.request_id = ANY(%s) AND i.writer = %s
"""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """An impression and the values of its columns."""

    impression: Impression
    values: tuple[Parameter, ...]


class ImpressionLog:
    """How a group of impressions is written. See `service.store.group_commit.Log`."""

    def __init__(self, writer_id: str) -> None:
        self._writer_id = writer_id
        self._insert_many = Prepared("insert_impressions", MANY)
        self._insert_one = Prepared("insert_impression", ONE)
        self._days: set[date] = set()  # that are known to have a partition

    async def commit(self, connection: Connection, items: Sequence[Row]) -> list[int | Exception]:
        """The seq of each impression, DuplicateRequest where the request id is taken."""
        await self._ensure_days(connection, {day_of(each.impression.at) for each in items})
        first: dict[str, Row] = {}
        for each in items:
            first.setdefault(each.impression.request_id, each)  # an id twice in a group is a duplicate
        try:
            found = await self._insert(connection, [each.values for each in first.values()])
        except (psycopg.DataError, psycopg.IntegrityError):
            self._days.clear()  # a day that retention has dropped is no fault of the impression
            raise
        seqs = {request_id.decode(): int(seq) for request_id, seq in found}
        written = [seqs.get(each.impression.request_id) if first[each.impression.request_id] is each else None for each in items]
        return [
            DuplicateRequest(each.impression.request_id) if seq is None else seq for each, seq in zip(items, written, strict=True)
        ]

    async def _insert(self, connection: Connection, rows: Sequence[tuple[Parameter, ...]]) -> Rows:
        """The request ids of those whose ids were free, and their seqs."""
        if len(rows) == 1:
            return await self._insert_one.rows(connection, (*rows[0], self._writer_id))
        return await self._insert_many.rows(connection, (*by_column(rows), self._writer_id))

    async def committed(self, connection: Connection, items: Sequence[Row]) -> list[int | None]:
        ids = [each.impression.request_id for each in items]
        rows = await (await connection.execute(OURS, [ids, self._writer_id])).fetchall()
        stored = {(request_id, at): seq for request_id, at, seq in rows}
        return [stored.get((each.impression.request_id, each.impression.at)) for each in items]

    async def _ensure_days(self, connection: Connection, days: set[date]) -> None:
        for day in sorted(days - self._days):
            row = await (await connection.execute("SELECT to_regclass(%s)", [name(day)])).fetchone()
            if row == (None,):
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [NAMESPACE, int(Lock.PARTITIONS)])
                    await connection.execute(create_statement(day).encode())
            self._days.add(day)


class ImpressionWriter:
    """The writer of one process.

    Args:
        url: address of the database.
        writer_id: stored with every row, so that a process can leave out what it wrote itself.
        show: told of the impressions that were committed together and their seqs, before their writers are.
        doubted: see `GroupCommit`.
    """

    def __init__(
        self,
        url: str,
        writer_id: str,
        show: Callable[[Sequence[tuple[int, Impression]]], None] = lambda _committed: None,
        doubted: Callable[[], None] = lambda: None,
    ) -> None:
        def applied(committed: Sequence[tuple[Row, int]]) -> None:
            show([(seq, row.impression) for row, seq in committed])

        self._group = GroupCommit(url, "drn impression writer", ImpressionLog(writer_id), applied, doubted=doubted)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def write(self, impression: Impression, seconds: float = WAIT_SECONDS) -> int:
        """Returns the impression's seq once it is committed.

        Raises:
            DuplicateRequest: its request id is taken.
            StoreUnavailable: it was not committed within `seconds`. Should its commit have been under way, it may yet be in
                the log: a retry with the same request id tells.
        """
        return await self._group.write(Row(impression, encode(impression)), seconds)

    async def close(self) -> None:
        """Takes no more, and commits what is waiting."""
        await self._group.close()
