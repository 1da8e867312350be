"""Group commit for impressions: while one commit is under way, the next ones gather and go together.

`/rank` answers after its impression is committed. One connection per process writes them; a batch is one prepared
statement and its own transaction, so a busy process commits many impressions for the price of one round trip and one
disk flush, and an idle one waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Any, Self

import psycopg

from drn.types import Impression
from service.store.engine import Timeouts, first_line, libpq_url
from service.store.errors import DuplicateRequest, StoreUnavailable
from service.store.impression_rows import COLUMNS, by_column, encode
from service.store.locks import NAMESPACE, Lock
from service.store.partitions import create_statement, day_of, name

WAIT_SECONDS = 2.0  # after which a request is answered 503 rather than left hanging
BATCH = 128  # impressions per commit: bounds the time that one commit takes
PENDING = 4096  # impressions waiting in memory; more than this means that PostgreSQL does not keep up
OPTIONS: Mapping[str, Any] = Timeouts(connect=2.0, statement=1.5, lock=1.0, idle_in_transaction=2.0).options()

# Taking the request ids and writing the impressions are one statement: of two writers of the same id, one gets no row.
# The order of arrival is the order of the log: numbers are drawn behind the sort.
INSERT = f"""
WITH batch AS (
    SELECT {", ".join(f"{name}::{kind}" for name, kind in COLUMNS.items())}, place
    FROM unnest({", ".join("%b::bytea[]" if kind == "bytea" else "%s::text[]" for kind in COLUMNS.values())})
        WITH ORDINALITY AS arrived ({", ".join(COLUMNS)}, place)
), registered AS (
    INSERT INTO requests (request_id, at) SELECT request_id, at FROM batch ORDER BY place
    ON CONFLICT (request_id) DO NOTHING RETURNING request_id, seq
)
INSERT INTO impressions (seq, {", ".join(COLUMNS)}, writer)
SELECT seq, {", ".join(COLUMNS)}, %s FROM registered JOIN batch USING (request_id)
RETURNING request_id, seq
"""
OURS = """
SELECT r.request_id, r.at, r.seq FROM requests r JOIN impressions i ON i.seq = r.seq AND i.at = r.at
WHERE r.request_id = ANY(%s) AND i.writer = %s
"""


@dataclass(slots=True, eq=False)
class Waiting:
    """One impression on its way into the log."""

    impression: Impression
    values: tuple[Any, ...]
    done: asyncio.Future[int]
    tried: bool = False  # alone, after PostgreSQL had refused its batch


class ImpressionWriter:
    """Writes impressions in groups over a connection of its own, which it opens and replaces by itself.

    Args:
        url: address of the database.
        writer_id: stored with every row, so that a process can leave out what it wrote itself.
    """

    def __init__(self, url: str, writer_id: str) -> None:
        self._conninfo = libpq_url(url)
        self._writer_id = writer_id
        self._pending: deque[Waiting] = deque()
        self._batch: Sequence[Waiting] = ()
        self._arrived = asyncio.Event()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._days: set[date] = set()  # that are known to have a partition
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def write(self, impression: Impression) -> int:
        """Returns the impression's seq once it is committed.

        Raises:
            DuplicateRequest: its request id is taken.
            StoreUnavailable: it was not committed within `WAIT_SECONDS`. Should its commit have been under way, it may
                yet be in the log: a retry with the same request id tells.
        """
        if self._closed:
            raise StoreUnavailable("the writer is closed")
        if len(self._pending) >= PENDING:
            raise StoreUnavailable(f"{PENDING} impressions are waiting to be written")
        waiting = Waiting(impression, encode(impression), asyncio.get_running_loop().create_future())
        self._pending.append(waiting)
        self._arrived.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="impression writer")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await waiting.done
        except TimeoutError as error:
            raise StoreUnavailable(f"the impression was not committed within {WAIT_SECONDS:g} s") from error

    async def close(self) -> None:
        """Takes no more, commits what is waiting as far as that goes within `WAIT_SECONDS`, and ends."""
        self._closed = True
        waiting = [*self._batch, *self._pending]
        if waiting:
            await asyncio.wait([each.done for each in waiting], timeout=WAIT_SECONDS)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        refuse(waiting, StoreUnavailable("the writer is closed"))
        await self._disconnect()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
            if not self._pending:
                self._arrived.clear()
            try:
                await self._deliver(awaited(self._batch))
            except Exception as error:  # the waiting must hear of whatever it was, and the next batch has its own chance
                refuse(self._batch, error)
            self._batch = ()

    async def _deliver(self, batch: Sequence[Waiting]) -> None:
        """Commits the batch, and once more if that failed; one impression that PostgreSQL refuses costs only itself."""
        try:
            answer(batch, await self._commit(batch))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            await self._disconnect()
            self._days.clear()  # a day that retention has dropped is no fault of the impression
            if len(batch) == 1 and batch[0].tried:
                raise error
            for each in batch:
                each.tried = True
                try:
                    await self._deliver([each])
                except psycopg.Error as refused:
                    refuse([each], refused)
        except psycopg.Error:
            await self._disconnect()
            await self._deliver_again(awaited(batch))

    async def _deliver_again(self, batch: Sequence[Waiting]) -> None:
        """The connection broke, perhaps after the commit and before its answer: what is in the log already has its seq.

        Raises:
            StoreUnavailable: it failed once more.
        """
        try:
            connection = await self._connect()
            ids = [each.impression.request_id for each in batch]
            rows = await (await connection.execute(OURS, [ids, self._writer_id])).fetchall()
            stored = {(request_id, at): seq for request_id, at, seq in rows}
            found = [stored.get((each.impression.request_id, each.impression.at)) for each in batch]
            answer(
                [each for each, seq in zip(batch, found, strict=True) if seq is not None],
                [seq for seq in found if seq is not None],
            )
            answer(rest := awaited(batch), await self._commit(rest))
        except psycopg.Error as error:
            await self._disconnect()
            raise StoreUnavailable(first_line(error)) from error

    async def _commit(self, batch: Sequence[Waiting]) -> list[int | None]:
        """One transaction. The seq of each impression, None where the request id is taken."""
        if not batch:
            return []
        connection = await self._connect()
        await self._ensure_days(connection, {day_of(each.impression.at) for each in batch})
        first = {each.impression.request_id: each for each in reversed(batch)}  # a request id twice in a batch is a duplicate
        arrived = [each for each in batch if first[each.impression.request_id] is each]
        columns = by_column([each.values for each in arrived])
        found = await connection.execute(INSERT, (*columns, self._writer_id), prepare=True)
        seqs: dict[str, int] = dict(await found.fetchall())
        return [seqs.get(each.impression.request_id) if first[each.impression.request_id] is each else None for each in batch]

    async def _ensure_days(self, connection: psycopg.AsyncConnection[tuple[Any, ...]], days: set[date]) -> None:
        for day in sorted(days - self._days):
            row = await (await connection.execute("SELECT to_regclass(%s)", [name(day)])).fetchone()
            if row == (None,):
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [NAMESPACE, int(Lock.PARTITIONS)])
                    await connection.execute(create_statement(day).encode())
            self._days.add(day)

    async def _connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, application_name="drn impression writer", **OPTIONS
                )
            except psycopg.OperationalError as error:
                raise StoreUnavailable(first_line(error)) from error
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error, OSError):
                await self._connection.close()
            self._connection = None


def awaited(batch: Sequence[Waiting]) -> list[Waiting]:
    """Those that somebody still waits for."""
    return [each for each in batch if not each.done.done()]


def answer(batch: Sequence[Waiting], found: Sequence[int | None]) -> None:
    for each, seq in zip(batch, found, strict=True):
        if each.done.done():
            continue
        if seq is None:
            each.done.set_exception(DuplicateRequest(each.impression.request_id))
        else:
            each.done.set_result(seq)


def refuse(batch: Sequence[Waiting], error: Exception) -> None:
    for each in awaited(batch):
        each.done.set_exception(error)
