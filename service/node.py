"""The parts of one API process, put together: settings, memory, log writer and follower. Web-free: a replay uses it as it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.types import Impression
from service.deadline import within
from service.errors import StartRefused, Unavailable
from service.following import Follower
from service.keys import CREATE_COMMAND
from service.live import Live
from service.metrics import Metrics
from service.settings import Settings
from service.store import impressions, migrate, outlines, versions
from service.store.engine import create_engine, reading
from service.store.errors import StoreUnavailable
from service.store.feedback import StoredEvent
from service.store.feedback_writer import FeedbackWriter
from service.store.impression_writer import ImpressionWriter
from service.store.lookups import HistoryLookup, ListLookup
from service.store.notifications import Listener

Clock = Callable[[], datetime]
START_PAUSE = 0.5  # seconds between attempts to reach PostgreSQL at start
READY_SECONDS = 1.0  # a probe must hear soon that this process cannot answer
LAG_SECONDS = 5.0  # everybody is in step within one second; a few more are a machine that is busy, not one that is lost
STOP_SECONDS = 2.0  # for a look at a store that does not answer; nothing is lost with it
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What handlers work with."""

    settings: Settings
    config: Config
    clock: Clock
    engine: AsyncEngine
    writer: ImpressionWriter
    feedback: FeedbackWriter
    lists: ListLookup
    live: Live
    follower: Follower
    following: asyncio.Task[None]
    metrics: Metrics

    async def impression(self, request_id: str) -> Impression | None:
        """What was served under this request id.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
            CorruptCheckpoint, SchemaMismatch: what it was decided by cannot be read; `outline` tells the rest.
        """
        async with reading(self.engine) as connection:
            found = await impressions.by_request_id(connection, request_id)
        return found.impression if found else None

    async def outline(self, request_id: str) -> Impression | None:
        """The same without the features.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached.
        """
        async with reading(self.engine) as connection:
            return await outlines.outline(connection, request_id)

    async def trouble(self) -> str:
        """Why this process cannot answer `/rank` now; empty if it can."""
        try:
            await within(READY_SECONDS, self._probe())
        except Unavailable:
            return "PostgreSQL does not answer"
        if self.following.done() or self.follower.lag > LAG_SECONDS:
            return f"the store has not been followed for {self.follower.lag:.0f} s; this process's log says why"
        if self.live.served is None:
            return "there is no version yet: the learner (python -m jobs schedule) writes the first one"
        return ""

    async def _probe(self) -> None:
        async with reading(self.engine) as connection:
            await versions.head_id(connection)


@asynccontextmanager
async def open_node(settings: Settings, clock: Clock, metrics: Metrics | None = None) -> AsyncIterator[Node]:
    """A node in step with the store, until the context ends.

    Raises:
        StartRefused: it must not run as it is set up; the message says what to do.
        InvalidConfig: the hyper-parameters contradict each other.
    """
    config = settings.config()
    if not settings.database_url:
        raise StartRefused("DATABASE_URL is not set: give the address of a PostgreSQL, or use `make run`, which brings one")
    metrics = metrics or Metrics()
    writer_id = uuid4().hex
    try:
        engine = create_engine(settings.database_url, pool_size=settings.pool_size)
    except ValueError as error:  # not the address of a PostgreSQL
        raise StartRefused(str(error)) from error
    live = Live(config, settings.cached_readers)

    def note(stored: Sequence[StoredEvent]) -> None:
        live.note([(each.seq, each.event) for each in stored], ours=True)

    histories = HistoryLookup(settings.database_url, config.history_clicks)
    follower = Follower(engine, histories, live, writer_id, metrics, clock, open_without_keys=settings.on_loopback)
    try:
        await reach(settings, follower.start)
        check_start(settings, live)
        async with (
            ImpressionWriter(settings.database_url, writer_id, live.show_impressions, follower.doubt) as writer,
            FeedbackWriter(settings.database_url, writer_id, note, follower.doubt) as feedback,
            ListLookup(settings.database_url) as lists,
            histories,
            Listener(settings.database_url) as listener,
        ):
            following = asyncio.create_task(follower.run(listener, settings.follow_seconds), name="follower")
            try:
                node = Node(settings, config, clock, engine, writer, feedback, lists, live, follower, following, metrics)
                observe(node)
                yield node
            finally:
                await end(follower, following)
    finally:
        await engine.dispose()


async def end(follower: Follower, following: asyncio.Task[None]) -> None:
    """Ends the follower after the look that it is at; cancelling it in the middle of one would leave connections half open."""
    follower.stop()
    await asyncio.wait({following}, timeout=STOP_SECONDS)
    following.cancel()


async def reach(settings: Settings, start: Callable[[], Awaitable[None]]) -> None:
    """Runs `start` once PostgreSQL can be reached and is migrated; a database that is still starting is waited for.

    Raises:
        StartRefused: it could not be reached in time, or lacks migrations.
    """
    deadline = time.monotonic() + settings.start_timeout
    while True:
        try:
            if await asyncio.to_thread(migrate.pending, settings.database_url):
                raise StartRefused("the database is not at this release's schema: run `python -m jobs migrate`")
            await start()
        except StoreUnavailable as error:
            if time.monotonic() > deadline:
                raise StartRefused(f"PostgreSQL was not reached within {settings.start_timeout:g} s: {error}") from error
            log.info("waiting for PostgreSQL", reason=str(error))
            await asyncio.sleep(START_PAUSE)
        else:
            return


def check_start(settings: Settings, live: Live) -> None:
    """Raises StartRefused for what must not be served at all."""
    if live.refused:
        raise StartRefused(
            f"the newest version cannot be served ({live.refused}). If its features are others than DRN_PROFILE and DRN_CONFIG "
            f"describe, set them to those that the learner used, or begin anew behind it with `python -m jobs migrate --new-line`"
        )
    if not settings.on_loopback and not live.keys.scopes:
        raise StartRefused(
            f"HOST={settings.host} can be reached by others and there is no API key. Make one with `{CREATE_COMMAND}`, "
            f"or listen on 127.0.0.1"
        )


def observe(node: Node) -> None:
    """Figures that are read from the node when they are asked for."""
    live, metrics = node.live, node.metrics
    metrics.gauge("drn_model_version", "Id of the version that is served", lambda: live.version_id or 0)
    metrics.gauge("drn_articles", "Articles in memory", lambda: len(live.catalogue))
    metrics.gauge("drn_cached_readers", "Readers in memory", lambda: live.readers)
    metrics.gauge("drn_follow_lag_seconds", "Since the store was last followed to its end", lambda: node.follower.lag)
    metrics.gauge("drn_reference_version", "Id of the hold-back's reference, 0 if nobody is held back", lambda: reference(live))
    metrics.gauge(
        "drn_unequal_chances",
        "1 while lists prove that both networks did not have equal chances",
        lambda: float(bool(live.fault)),
    )
    metrics.gauge("drn_version_refused", "1 while a newer version does not fit this process", lambda: float(bool(live.refused)))


def reference(live: Live) -> int:
    return live.served.reference.version_id if live.served and live.served.reference else 0
