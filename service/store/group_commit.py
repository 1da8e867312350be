"""Group commit: while one commit is under way, the next writes gather and go together, and those before are answered.

A busy process commits many writes for the price of one round trip and one disk flush, and an idle one waits for nobody. What is
looked up in groups (`service.store.lookups`) goes the same way.
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

LATE_SECONDS = 0.05  # that who waits may hear late that their time is up
WAIT_SECONDS = 2.0  # after which a request is answered 503 rather than left hanging
BATCH = 128  # writes per commit: bounds the time that one commit takes
LANES = 2  # groups under way at once: while one is on its way to the disk PostgreSQL takes up the next
PENDING = 4096  # items waiting in memory; more than this means that PostgreSQL does not keep up
TIMEOUTS = Timeouts(connect=2.0, statement=1.5, lock=1.0, idle_in_transaction=2.0)

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
T = TypeVar("T")
R = TypeVar("R")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Log(Protocol[Item_contra, Result_co]):
    """What is written to, impressions or feedback, or looked into."""

    async def commit(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Result_co | Exception]:
        """Writes the items in one transaction of an autocommit connection, or looks them up. What became of each."""

    async def committed(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Result_co | None]:
        """What the log already holds of items whose commit was not answered, None for those that it does not."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[T, R]):
    """One item on its way to the log."""

    item: T
    done: asyncio.Future[R]
    until: float  # of the loop's clock: then who waits is told that it was not done
    tried: bool = False  # alone, after PostgreSQL had refused its batch


@dataclass(slots=True, eq=False)
class Lane(Generic[T, R]):
    """A connection, opened and replaced when needed, and the group that is under way on it."""

    conninfo: str
    name: str
    timeouts: Timeouts
    batch: Sequence[Waiting[T, R]] = ()
    task: asyncio.Task[None] | None = None
    connection: Connection | None = None

    async def connect(self) -> Connection:
        if self.connection is None or self.connection.closed:
            options: dict[str, Any] = self.timeouts.options()
            try:
                self.connection = await psycopg.AsyncConnection.connect(
                    self.conninfo, autocommit=True, application_name=self.name, client_encoding="utf8", **options
                )
            except psycopg.OperationalError as error:
                raise StoreUnavailable(first_line(error)) from error
        return self.connection

    async def disconnect(self) -> None:
        if self.connection is not None:
            with suppress(psycopg.Error, OSError):
                await self.connection.close()
            self.connection = None


class GroupCommit(Generic[T, R]):
    """Writes items in groups over connections of its own, which it opens and replaces by itself.

    Another group leaves beside one that is under way only if it is full, unless `beside` says otherwise: PostgreSQL is then never
    without work while this process makes the next one, and single writes still gather into groups as large as they can be.

    Args:
        url: address of the database.
        name: of the connections, for `pg_stat_activity`.
        applied: told of what was committed, before its writers are: also of what they have given up waiting for.
        size: of an item.
        full: a group that has reached this size in all takes no more.
        lanes: groups that may be under way at once.
        beside: the size from which a group leaves while another one is under way.
        timeouts: of the connections.
        doubted: told when a commit went unanswered and was looked for: what was not found may be in the log all the same, and
            `applied` may never hear of it.
    """

    def __init__(
        self,
        url: str,
        name: str,
        log: Log[T, R],
        applied: Callable[[Sequence[tuple[T, R]]], None],
        size: Callable[[T], int] = lambda _item: 1,
        full: int = BATCH,
        lanes: int = LANES,
        beside: int | None = None,
        timeouts: Timeouts = TIMEOUTS,
        doubted: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._applied = applied
        self._doubted = doubted
        self._size = size
        self._full = full
        self._beside = beside or full
        self._pending: deque[Waiting[T, R]] = deque()
        self._pending_size = 0
        self._lanes: Sequence[Lane[T, R]] = [Lane(libpq_url(url), name, timeouts) for _ in range(lanes)]
        self._closed = False
        self._watched = False  # whether somebody will look for what is late

    async def write(self, item: T, seconds: float = WAIT_SECONDS) -> R:
        """What became of the item, once it is committed.

        Raises:
            StoreUnavailable: it was not committed within `seconds`. Should its commit have been under way, it may yet be
                in the log.
            Exception: what the log says of the item instead of writing it.
        """
        if self._closed:
            raise StoreUnavailable("it is closed")
        if len(self._pending) >= PENDING:
            raise StoreUnavailable(f"{PENDING} others are waiting")
        loop = asyncio.get_running_loop()
        waiting: Waiting[T, R] = Waiting(item, loop.create_future(), loop.time() + seconds)
        self._pending.append(waiting)
        self._pending_size += self._size(item)
        self._begin()
        if not self._watched:  # one timer for all: one for each costs as much as its future
            self._watched = True
            loop.call_later(LATE_SECONDS, self._watch)
        return await waiting.done

    async def close(self) -> None:
        """Takes no more, commits what is waiting as far as that goes within `WAIT_SECONDS`, and ends."""
        self._closed = True
        waiting = self._all_waiting()
        if waiting:
            await asyncio.wait([each.done for each in waiting], timeout=WAIT_SECONDS)
        for lane in self._lanes:
            if lane.task is not None:
                lane.task.cancel()
                with suppress(asyncio.CancelledError):
                    await lane.task
        refuse(waiting, StoreUnavailable("it is closed"))
        for lane in self._lanes:
            await lane.disconnect()

    def _all_waiting(self) -> list[Waiting[T, R]]:
        return awaited([*(each for lane in self._lanes for each in lane.batch), *self._pending])

    def _watch(self) -> None:
        """Tells those whose time is up, and looks again as long as anybody waits."""
        loop, waiting = asyncio.get_running_loop(), self._all_waiting()
        now = loop.time()
        refuse([each for each in waiting if each.until <= now], StoreUnavailable("PostgreSQL did not answer in time"))
        self._watched = bool(waiting)
        if waiting:
            loop.call_later(LATE_SECONDS, self._watch)

    def _begin(self) -> None:
        """Sends a lane off, if there is a free one and something for it to do."""
        free = [lane for lane in self._lanes if lane.task is None]
        if free and self._worthwhile(len(self._lanes) - len(free)):
            free[0].task = asyncio.create_task(self._run(free[0]), name=free[0].name)

    def _worthwhile(self, others: int) -> bool:
        """Whether one more group should leave beside so many others."""
        return bool(self._pending) and (not others or self._pending_size >= self._beside)

    async def _run(self, lane: Lane[T, R]) -> None:
        try:
            while self._worthwhile(sum(other.task is not None for other in self._lanes) - 1):
                lane.batch = self._gathered()
                try:
                    await self._deliver(lane, awaited(lane.batch))
                except Exception as error:  # the waiting must hear of whatever it was, and the next batch has its own chance
                    refuse(lane.batch, error)
                lane.batch = ()
        finally:
            lane.task = None

    def _gathered(self) -> list[Waiting[T, R]]:
        batch: list[Waiting[T, R]] = []
        size = 0
        while self._pending and size < self._full:
            batch.append(self._pending.popleft())
            size += self._size(batch[-1].item)
        self._pending_size -= size
        return batch

    async def _deliver(self, lane: Lane[T, R], batch: Sequence[Waiting[T, R]]) -> None:
        """Commits the batch, and once more if that failed; one item that PostgreSQL refuses costs only itself."""
        try:
            await self._commit(lane, batch)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            await lane.disconnect()
            if len(batch) == 1 and batch[0].tried:
                raise error
            for each in batch:
                each.tried = True
                try:
                    await self._deliver(lane, [each])
                except psycopg.Error as refused:
                    refuse([each], refused)
        except psycopg.Error:
            await lane.disconnect()
            await self._deliver_again(lane, awaited(batch))

    async def _deliver_again(self, lane: Lane[T, R], batch: Sequence[Waiting[T, R]]) -> None:
        """The connection broke, perhaps after the commit and before its answer: what is in the log is not written again.

        Raises:
            StoreUnavailable: it failed once more.
        """
        try:
            found = await self._log.committed(await lane.connect(), [each.item for each in batch])
            known = [(each, result) for each, result in zip(batch, found, strict=True) if result is not None]
            self._answer(known)
            if len(known) < len(batch):
                self._doubted()
            await self._commit(lane, awaited(batch))
        except psycopg.Error as error:
            await lane.disconnect()
            raise StoreUnavailable(first_line(error)) from error

    async def _commit(self, lane: Lane[T, R], batch: Sequence[Waiting[T, R]]) -> None:
        if batch:
            results = await self._log.commit(await lane.connect(), [each.item for each in batch])
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


def awaited(batch: Sequence[Waiting[T, R]]) -> list[Waiting[T, R]]:
    """Those that somebody still waits for."""
    return [each for each in batch if not each.done.done()]


def refuse(batch: Sequence[Waiting[T, R]], error: Exception) -> None:
    for each in awaited(batch):
        each.done.set_exception(error)
