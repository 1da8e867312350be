"""Group commit: while one commit is under way, the next writes gather and go together, and those before are answered.

A busy process commits many writes for the price of one round trip and one disk flush, and an idle one waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import psycopg

from service.store.engine import Timeouts, first_line, libpq_url
from service.store.errors import StoreUnavailable

WAIT_SECONDS = 2.0  # after which a request is answered 503 rather than left hanging
BATCH = 128  # writes per commit: bounds the time that one commit takes
PENDING = 4096  # writes waiting in memory; more than this means that PostgreSQL does not keep up
TIMEOUTS = Timeouts(connect=2.0, statement=1.5, lock=1.0, idle_in_transaction=2.0)

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
T = TypeVar("T")
R = TypeVar("R")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Log(Protocol[Item_contra, Result_co]):
    """What is written to: impressions, or feedback."""

    async def commit(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Result_co | Exception]:
        """Writes the items in one transaction of an autocommit connection. What became of each."""

    async def committed(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Result_co | None]:
        """What the log already holds of items whose commit was not answered, None for those that it does not."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[T, R]):
    """One item on its way into the log."""

    item: T
    done: asyncio.Future[R]
    tried: bool = False  # alone, after PostgreSQL had refused its batch


class GroupCommit(Generic[T, R]):
    """Writes items in groups over a connection of its own, which it opens and replaces by itself.

    Args:
        url: address of the database.
        name: of the connection, for `pg_stat_activity`.
        applied: told of what was committed, in the order of the log and before its writers are: also of what they have
            given up waiting for.
        size: of an item.
        full: a group that has reached this size in all takes no more.
    """

    def __init__(
        self,
        url: str,
        name: str,
        log: Log[T, R],
        applied: Callable[[Sequence[tuple[T, R]]], None],
        size: Callable[[T], int] = lambda _item: 1,
        full: int = BATCH,
    ) -> None:
        self._conninfo = libpq_url(url)
        self._name = name
        self._log = log
        self._applied = applied
        self._size = size
        self._full = full
        self._pending: deque[Waiting[T, R]] = deque()
        self._batch: Sequence[Waiting[T, R]] = ()
        self._arrived = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, item: T, seconds: float = WAIT_SECONDS) -> R:
        """What became of the item, once it is committed.

        Raises:
            StoreUnavailable: it was not committed within `seconds`. Should its commit have been under way, it may yet be
                in the log.
            Exception: what the log says of the item instead of writing it.
        """
        if self._closed:
            raise StoreUnavailable("the writer is closed")
        if len(self._pending) >= PENDING:
            raise StoreUnavailable(f"{PENDING} writes are waiting")
        loop = asyncio.get_running_loop()
        waiting: Waiting[T, R] = Waiting(item, loop.create_future())
        self._pending.append(waiting)
        self._arrived.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=self._name)
        timer = loop.call_later(seconds, give_up, waiting, seconds)  # a fifth of the price of asyncio.timeout
        try:
            return await waiting.done
        finally:
            timer.cancel()

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
            self._batch = self._gathered()
            if not self._pending:
                self._arrived.clear()
            try:
                await self._deliver(awaited(self._batch))
            except Exception as error:  # the waiting must hear of whatever it was, and the next batch has its own chance
                refuse(self._batch, error)
            self._batch = ()

    def _gathered(self) -> list[Waiting[T, R]]:
        batch: list[Waiting[T, R]] = []
        size = 0
        while self._pending and size < self._full:
            batch.append(self._pending.popleft())
            size += self._size(batch[-1].item)
        return batch

    async def _deliver(self, batch: Sequence[Waiting[T, R]]) -> None:
        """Commits the batch, and once more if that failed; one item that PostgreSQL refuses costs only itself."""
        try:
            await self._commit(batch)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            await self._disconnect()
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

    async def _deliver_again(self, batch: Sequence[Waiting[T, R]]) -> None:
        """The connection broke, perhaps after the commit and before its answer: what is in the log is not written again.

        Raises:
            StoreUnavailable: it failed once more.
        """
        try:
            found = await self._log.committed(await self._connect(), [each.item for each in batch])
            known = [(each, result) for each, result in zip(batch, found, strict=True) if result is not None]
            self._answer(known)
            await self._commit(awaited(batch))
        except psycopg.Error as error:
            await self._disconnect()
            raise StoreUnavailable(first_line(error)) from error

    async def _commit(self, batch: Sequence[Waiting[T, R]]) -> None:
        if batch:
            results = await self._log.commit(await self._connect(), [each.item for each in batch])
            answers = list(zip(batch, results, strict=True))
            asyncio.get_running_loop().call_soon(self._answer, answers)  # while PostgreSQL has the next batch

    def _answer(self, answers: Sequence[tuple[Waiting[T, R], R | Exception]]) -> None:
        try:
            self._applied([(each.item, result) for each, result in answers if not isinstance(result, Exception)])
        except Exception as error:  # the waiting must hear of it
            refuse([each for each, _ in answers], error)
        for each, result in answers:
            if each.done.done():
                continue
            if isinstance(result, Exception):
                each.done.set_exception(result)
            else:
                each.done.set_result(result)

    async def _connect(self) -> Connection:
        if self._connection is None or self._connection.closed:
            options: dict[str, Any] = TIMEOUTS.options()
            try:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, application_name=self._name, **options
                )
            except psycopg.OperationalError as error:
                raise StoreUnavailable(first_line(error)) from error
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error, OSError):
                await self._connection.close()
            self._connection = None


def awaited(batch: Sequence[Waiting[T, R]]) -> list[Waiting[T, R]]:
    """Those that somebody still waits for."""
    return [each for each in batch if not each.done.done()]


def give_up(waiting: Waiting[T, R], seconds: float) -> None:
    refuse([waiting], StoreUnavailable(f"it was not committed within {seconds:g} s"))


def refuse(batch: Sequence[Waiting[T, R]], error: Exception) -> None:
    for each in awaited(batch):
        each.done.set_exception(error)
