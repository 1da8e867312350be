"""Keeps a process in step with the store: what other processes wrote, and the newest version, within a second.

Notifications make it quick, looking every `follow_seconds` makes it sure.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.catalogue import epoch
from drn.errors import DrnError
from drn.readers import Reader
from service.keys import KeyRing
from service.live import Applied, Live
from service.metrics import Metrics
from service.store import articles, counters, erasures, feedback, impressions, keys, versions
from service.store.articles import StoredArticle
from service.store.engine import reading
from service.store.errors import StoreError
from service.store.notifications import Listener

# Transactions that write the log end within 5 s (the store sets the time-outs), so what was numbered longer ago than
# this is either visible or gone.
SETTLED_SECONDS = 10.0
LOADS = 3  # a reader so busy that three reads were overtaken is served from the last one, uncached
PAGE = 10_000  # rows of the log per query
MISSED_SECONDS = 0.5  # a notice can be missed while the listening connection is replaced; its news is found after this
GATHER_SECONDS = 0.01  # so that a burst of news is one look
log = structlog.get_logger(__name__)


class Numbered(Protocol):
    """A row of a log."""

    @property
    def seq(self) -> int: ...


Row = TypeVar("Row", bound=Numbered)


class Follower:
    """Brings `Live` up to date from the store.

    Args:
        writer_id: what this process wrote itself is left out, because it applied that when it committed.
    """

    def __init__(self, engine: AsyncEngine, live: Live, writer_id: str, metrics: Metrics) -> None:
        self._engine = engine
        self._live = live
        self._writer_id = writer_id
        self._metrics = metrics
        self._erasure = 0
        self._revision = 0
        self._passes: deque[tuple[float, int, int]] = deque()  # when, newest impression, newest event
        self._articles_lock = asyncio.Lock()
        self._loads: dict[str, asyncio.Task[Reader]] = {}
        self._doubt_until = 0.0
        self._stopping = False
        self._refused: int | None = None  # the version that does not fit: it is read once, not four times a second
        self.last_pass = 0.0  # of time.monotonic: when the store was last followed to its end

    async def start(self, now: datetime) -> None:
        """Fills an empty `Live`: articles, counters up to the end of the log, keys, and the newest version.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with reading(self._engine) as connection:
            end = await impressions.horizon(connection)
            for stored in await articles.all_articles(connection):
                self._put(stored)
            catalogue = self._live.catalogue
            catalogue.advance(epoch(now))
            for counted in await counters.window_counts(connection, now, end):
                rows = np.array([catalogue.row(article_id) for article_id in counted.article_ids], np.int32)
                catalogue.load_counts(counted.kind, counted.window, rows, counted.buckets, counted.counts)
        self._live.impressions.raise_floor(end.impressions)
        self._live.events.raise_floor(end.feedback)
        await self.catch_up()

    async def catch_up(self) -> None:
        """One look at everything that others may have changed.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with reading(self._engine) as connection:
            await self._follow_announced(connection)
            await self._follow_log(connection)
        self.last_pass = time.monotonic()

    async def run(self, listener: Listener, seconds: float) -> None:
        """Follows the log every `seconds`, and what announces itself when it does, until stopped.

        Trouble is logged once, when it begins.
        """
        troubled = False
        looked = 0.0
        while not self._stopping:
            told = await listener.wait(seconds)
            await asyncio.sleep(GATHER_SECONDS)
            try:
                if told or time.monotonic() - looked >= MISSED_SECONDS:
                    looked = time.monotonic()
                    await self.catch_up()
                else:
                    await self._follow_log_only()
            except (StoreError, DrnError) as error:
                self._metrics.follow_failures.inc()
                if not troubled:
                    log.error("the store cannot be followed", reason=str(error))
                troubled = True
            else:
                if troubled:
                    log.info("the store is followed again")
                troubled = False

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
        for _ in range(LOADS):
            self._live.begin_loading(user_id)
            async with reading(self._engine) as connection:
                history = await impressions.reader_history(connection, user_id, self._live.config.history_clicks)
                names = {article_id for article_id, _ in history.clicks} | history.shown.keys()
                if any(name not in self._live.catalogue for name in names):
                    await self._follow_articles(connection)
            reader = self._live.build_reader(history.clicks, history.shown)
            if self._live.keep(user_id, reader):
                break
        return reader

    async def _follow_articles(self, connection: AsyncConnection) -> None:
        async with self._articles_lock:  # changes are applied in the order in which they became visible
            for stored in await articles.changed_since(connection, self._revision):
                self._put(stored)

    def _put(self, stored: StoredArticle) -> None:
        self._live.put(stored.article, stored.withdrawn)
        self._revision = max(self._revision, stored.revision)

    async def _follow_announced(self, connection: AsyncConnection) -> None:
        await self._follow_keys(connection)
        await self._follow_version(connection)
        await self._follow_erasures(connection)
        await self._follow_articles(connection)

    async def _follow_log_only(self) -> None:
        async with reading(self._engine) as connection:
            await self._follow_log(connection)
        self.last_pass = time.monotonic()

    async def _follow_log(self, connection: AsyncConnection) -> None:
        live = self._live
        writer = None if time.monotonic() < self._doubt_until else self._writer_id
        shown = await tail(partial(impressions.exposures_since, connection, exclude_writer=writer), live.impressions)
        events = await tail(partial(feedback.events_since, connection, exclude_writer=writer), live.events)
        named = {article_id for each in shown for article_id in each.article_ids} | {each.event.article_id for each in events}
        if any(article_id not in live.catalogue for article_id in named):
            await self._follow_articles(connection)
        for each in shown:
            live.show(each.seq, each.article_ids, each.user_id, each.at, ours=False)
        for stored in events:
            live.note(stored.seq, stored.event, ours=False)
        self._settle()

    def _settle(self) -> None:
        """Raises the floors to what was newest a while ago."""
        now = time.monotonic()
        self._passes.append((now, self._live.impressions.newest, self._live.events.newest))
        while len(self._passes) > 1 and self._passes[1][0] <= now - SETTLED_SECONDS:
            self._passes.popleft()
        when, impression, event = self._passes[0]
        if when <= now - SETTLED_SECONDS:
            self._live.impressions.raise_floor(impression)
            self._live.events.raise_floor(event)

    async def _follow_version(self, connection: AsyncConnection) -> None:
        newest = await versions.head_id(connection)
        if newest is None or newest in (self._live.version_id, self._refused):
            return
        version = await versions.load(connection, newest, memory=False)
        if self._live.serve(version):
            self._metrics.swaps.inc()
            log.info("version taken into service", version=version.id, kind=str(version.kind))
        else:
            self._refused = newest
            log.error("version not taken into service", reason=self._live.refused)

    async def _follow_keys(self, connection: AsyncConnection) -> None:
        self._live.keys = KeyRing.of((key.hash, key.scopes) for key in await keys.active(connection))

    async def _follow_erasures(self, connection: AsyncConnection) -> None:
        for receipt in await erasures.since(connection, self._erasure):
            self._live.forget_where(receipt.concerns)
            self._erasure = receipt.id


async def tail(read: Callable[..., Awaitable[list[Row]]], applied: Applied) -> list[Row]:
    """Everything behind the floor that has not been applied, page by page."""
    rows: list[Row] = []
    last = applied.floor
    while True:
        page = await read(last, limit=PAGE)
        rows += page
        if len(page) < PAGE:
            return rows
        last = page[-1].seq
