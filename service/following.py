"""Keeps a process in step with the store: what other processes wrote, and the newest version, within a second.

Notifications make it quick, looking every `follow_seconds` makes it sure.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Set
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.catalogue import epoch
from drn.errors import DrnError
from drn.readers import Reader
from drn.versions import Version
from service.keys import KeyRing
from service.live import SETTLED_SECONDS, Applied, Live
from service.metrics import Metrics
from service.store import articles, counters, erasures, feedback, impressions, keys, rules, versions
from service.store.articles import StoredArticle
from service.store.engine import reading, translated
from service.store.errors import NoSuchVersion, StoreError, StoreUnavailable, WeightsPruned
from service.store.lookups import HistoryLookup
from service.store.notifications import Listener

LOADS = 3  # a reader so busy that three reads were overtaken is served from the last one, uncached
PAGE = 250  # rows of the log that are read and applied at once: ten milliseconds at most
ARTICLES = 100  # changes of articles that are read and applied at once: a few milliseconds
MISSED_SECONDS = 0.5  # a notice can be missed while the listening connection is replaced; its news is found after this
HASHES = 1_000  # readers that are compared with a receipt in one go: a millisecond
GATHER_SECONDS = 0.01  # so that a burst of news is one look
log = structlog.get_logger(__name__)


class Numbered(Protocol):
    """A row of a log."""

    @property
    def seq(self) -> int: ...


Row = TypeVar("Row", bound=Numbered)


Step: TypeAlias = Callable[[AsyncConnection], Awaitable[None]]
"""One of the things that are followed."""


class Follower:
    """Brings `Live` up to date from the store.

    Args:
        writer_id: what this process wrote itself is left out, because it applied that when it committed.
        open_without_keys: whether everybody may do everything while there is no key (see `KeyRing`).
    """

    def __init__(
        self,
        engine: AsyncEngine,
        histories: HistoryLookup,
        live: Live,
        writer_id: str,
        metrics: Metrics,
        clock: Callable[[], datetime],
        *,
        open_without_keys: bool = False,
    ) -> None:
        self._engine = engine
        self._histories = histories
        self._live = live
        self._writer_id = writer_id
        self._metrics = metrics
        self._clock = clock
        self._open_without_keys = open_without_keys
        self._erasures = Applied()
        self._revision = 0
        self._articles_lock = asyncio.Lock()
        self._rules_lock = asyncio.Lock()
        self._loads: dict[str, asyncio.Task[Reader]] = {}
        self._doubt_until = 0.0
        self._stopping = False
        self._filled = False
        self._refused: int | None = None  # the version that does not fit: it is read once, not four times a second
        # What is followed, by the name under which trouble is logged. What readers did comes first and the version, which
        # takes longest to read, last: a version that cannot be read in time keeps nothing else waiting.
        self._steps: dict[str, Step] = {
            "log": self._follow_log,
            "keys": self._follow_keys,
            "erasures": self._follow_erasures,
            "articles": self._follow_articles,
            "rules": self._follow_rules,
            "version": self._follow_version,
        }
        self._followed = dict.fromkeys(self._steps, 0.0)  # of time.monotonic: when each was last followed to its end
        self._troubled: set[str] = set()

    async def start(self) -> None:
        """Fills an empty `Live`: articles, counters up to the end of the log, keys, and the newest version.

        It may be called again after it failed: what was counted is not counted twice.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        if not self._filled:
            await self._fill(self._clock())
            self._filled = True
        await self.catch_up()

    async def _fill(self, now: datetime) -> None:
        async with reading(self._engine) as connection:
            end = await impressions.horizon(connection)
            published = await articles.all_articles(connection)
            counts = await counters.window_counts(connection, now, end)
        for stored in published:
            self._put(stored)
        catalogue = self._live.catalogue
        catalogue.advance(epoch(now))
        for counted in counts:
            rows = np.array([catalogue.row(article_id) for article_id in counted.article_ids], np.int32)
            catalogue.load_counts(counted.kind, counted.window, rows, counted.buckets, counted.counts)
        self._live.impressions.raise_floor(end.impressions)
        self._live.events.raise_floor(end.feedback)

    async def catch_up(self) -> None:
        """One look at everything that others may have changed. What cannot be followed does not keep the rest from it.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached, so the look has ended there.
            Exception: what kept the first thing that cannot be followed from it.
        """
        for error in (await self._follow(self._steps)).values():
            raise error

    async def run(self, listener: Listener, seconds: float) -> None:
        """Follows the log every `seconds`, and what announces itself when it does, until stopped.

        Trouble, whatever it is, is logged once, when it begins; what it hit is tried again at the next look. A follower
        that ended would leave this process behind for ever.
        """
        looked = 0.0
        while not self._stopping:
            told = await self._told(listener, seconds)
            await asyncio.sleep(GATHER_SECONDS)
            everything = told or time.monotonic() - looked >= MISSED_SECONDS
            if everything:
                looked = time.monotonic()
            names = tuple(self._steps) if everything else ("log",)
            try:
                failures = await self._follow(names)
            except Exception as error:
                self._report(("store",), {"store": error})
            else:
                self._report(("store", *names), failures)

    @property
    def lag(self) -> float:
        """Seconds since everything was last followed to its end."""
        return time.monotonic() - min(self._followed.values())

    def stop(self) -> None:
        """Ends `run` after the look that it is at."""
        self._stopping = True

    async def follow_articles(self) -> None:
        """Applies every article change that is committed by now.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with reading(self._engine) as connection:
            await self._follow_articles(connection)

    async def follow_rules(self) -> None:
        """Goes by the rules that are committed by now.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with reading(self._engine) as connection:
            await self._follow_rules(connection)

    async def reader(self, user_id: str | None) -> Reader:
        """The reader's recent past: from memory, or once from the log. Nobody (None) has none.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        if user_id is None:
            return self._live.build_reader((), {})
        if (reader := self._live.cached_reader(user_id)) is not None:
            return reader
        if (load := self._loads.get(user_id)) is None:
            load = self._loads[user_id] = asyncio.create_task(self._load(user_id))
            load.add_done_callback(lambda _: self._loads.pop(user_id))
        return await asyncio.shield(load)  # several requests may wait for it; one that gives up must not stop the others

    def doubt(self) -> None:
        """A write of this process failed without saying whether it was committed: for a while, its own rows are read too."""
        self._doubt_until = time.monotonic() + SETTLED_SECONDS

    async def _load(self, user_id: str) -> Reader:
        try:
            for _ in range(LOADS):
                self._live.begin_loading(user_id)
                history = await self._histories.find(user_id)
                names = {article_id for article_id, _ in history.clicks} | history.shown.keys()
                if any(name not in self._live.catalogue for name in names):
                    await self.follow_articles()
                reader = self._live.build_reader(history.clicks, history.shown)
                if self._live.keep(user_id, reader):
                    break
        finally:
            self._live.end_loading(user_id)  # also when it could not be read
        return reader

    async def _follow_articles(self, connection: AsyncConnection) -> None:
        async with self._articles_lock:  # changes are applied in the order in which they became visible
            while changed := await articles.changed_since(connection, self._revision, ARTICLES):
                for stored in changed:
                    self._put(stored)
                await asyncio.sleep(0)  # requests that wait are answered between two pages

    def _put(self, stored: StoredArticle) -> None:
        self._live.put(stored.article, stored.withdrawn)
        self._revision = max(self._revision, stored.revision)

    async def _told(self, listener: Listener, seconds: float) -> bool:
        """Whether there was a notice within `seconds`. Without notices, looking by itself must do."""
        try:
            told = bool(await listener.wait(seconds))
        except Exception as error:
            self._report(("notices",), {"notices": error})
            await asyncio.sleep(seconds)
            return False
        self._report(("notices",), {})
        return told

    async def _follow(self, names: Iterable[str]) -> dict[str, Exception]:
        """Takes these steps, each whether or not another one failed; what went wrong, by the step's name.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached; the steps that were left have not been tried.
        """
        failures: dict[str, Exception] = {}
        async with reading(self._engine) as connection:
            for name in names:
                try:
                    with translated():
                        await self._steps[name](connection)
                except StoreUnavailable:
                    raise
                except Exception as error:
                    failures[name] = error
                    await connection.rollback()  # PostgreSQL takes nothing more in a transaction that has failed
                else:
                    self._followed[name] = time.monotonic()
        return failures

    def _report(self, tried: Iterable[str], failures: Mapping[str, Exception]) -> None:
        """Logs what has begun to fail, and what has ceased to."""
        if failures:
            self._metrics.follow_failures.inc()
        for name in tried:
            error = failures.get(name)
            if error is not None and name not in self._troubled:
                unexpected = not isinstance(error, StoreError | DrnError)
                log.error("the store cannot be followed", what=name, reason=str(error), exc_info=error if unexpected else None)
                self._troubled.add(name)
            elif error is None and name in self._troubled:
                log.info("the store is followed again", what=name)
                self._troubled.discard(name)

    async def _follow_log(self, connection: AsyncConnection) -> None:
        await self._look(connection, self._writer_id)
        if time.monotonic() < self._doubt_until:  # what others wrote is known by now, so few readers are dropped for it
            await self._look(connection, None)
        self._live.impressions.settle(time.monotonic())
        self._live.events.settle(time.monotonic())

    async def _look(self, connection: AsyncConnection, exclude_writer: str | None) -> None:
        """Reads what is new in both logs. With nobody excluded, it may find what earlier looks left out as our own."""
        live = self._live
        look = live.begin_look(in_doubt=exclude_writer is None)
        read_lists = partial(impressions.exposures_since, connection, exclude_writer=exclude_writer)
        async for shown in unread(read_lists, live.impressions):
            await self._know(connection, set(chain.from_iterable([each.article_ids for each in shown])))
            live.show(shown, ours=False)
        read_events = partial(feedback.events_since, connection, exclude_writer=exclude_writer)
        async for events in unread(read_events, live.events):
            await self._know(connection, {each.event.article_id for each in events})
            live.note([(stored.seq, stored.event) for stored in events], ours=False)
        live.end_look(look)

    async def _know(self, connection: AsyncConnection, article_ids: Set[str]) -> None:
        """Follows the articles first if some of these are not known yet."""
        if not self._live.catalogue.knows(article_ids):
            await self._follow_articles(connection)

    async def _follow_version(self, connection: AsyncConnection) -> None:
        newest = await versions.head_id(connection)
        if newest is None or newest in (self._live.version_id, self._refused):
            return
        try:
            version = await versions.load(connection, newest, memory=False)
            served = self._live.serve(version, await self._reference(connection, version))
        except (DrnError, NoSuchVersion, WeightsPruned) as error:  # bad itself: reading it again would not make it better
            served = False
            self._live.refused = f"version {newest} cannot be served: {error}"
        if served:
            self._metrics.swaps.inc()
            log.info("version taken into service", version=version.id, kind=str(version.kind))
        else:
            self._refused = newest
            log.error("version not taken into service", reason=self._live.refused)

    async def _reference(self, connection: AsyncConnection, version: Version) -> Version | None:
        """The hold-back's reference, unless it is in service. Where it cannot be read, nobody is held back."""
        number = version.holdback.reference
        if number in (None, version.id) or self._live.held_back_by(number):
            return None
        try:
            return await versions.load(connection, number, memory=False)
        except (DrnError, NoSuchVersion, WeightsPruned) as error:
            log.error("nobody is held back", reason=f"reference {number} cannot be served: {error}")
            return None

    async def _follow_keys(self, connection: AsyncConnection) -> None:
        active = await keys.active(connection)
        self._live.keys = KeyRing.of(((key.hash, key.scopes) for key in active), self._open_without_keys)

    async def _follow_rules(self, connection: AsyncConnection) -> None:
        async with self._rules_lock:  # what was read later replaces what was read before, never the other way round
            self._live.rules = tuple([stored.rule for stored in await rules.running(connection, self._clock())])

    async def _follow_erasures(self, connection: AsyncConnection) -> None:
        new = [each for each in await erasures.since(connection, self._erasures.floor) if self._erasures.add(each.id)]
        if new:
            self._live.lists.clear()  # what was shown to anybody
        for receipt in new:
            # Who comes into memory from now on is read from a log in which they are erased.
            for number, user_id in enumerate(self._live.known_readers(), 1):
                if receipt.concerns(user_id):
                    self._live.forget(user_id)
                if number % HASHES == 0:
                    await asyncio.sleep(0)  # requests that wait are answered meanwhile
        self._erasures.settle(time.monotonic())


async def unread(read: Callable[..., Awaitable[list[Row]]], applied: Applied) -> AsyncIterator[list[Row]]:
    """What is in the log and has not been applied, page by page. Requests that wait are answered between two pages."""
    behind, missing = applied.unread()
    while page := await read(behind, missing=missing, limit=PAGE):
        yield page
        behind, missing = max(behind, page[-1].seq), []
        applied.read_to(behind)
        if len(page) < PAGE:
            return
