"""A public log through the code path of live traffic, on the log's clock: score, then learn.

Each logged list is ranked by `service.handlers.rank` with the articles that its reader saw as candidates, and the reader's
clicks go to `service.handlers.feedback`. The database is one of its own, so a replay neither sees nor leaves anything.

A log tells only what readers did with the lists that they were shown, in an order that is not ours. So all candidates are
asked for (k = n) and reported as seen: every logged click is credited, every other article counts as passed over, and
no conclusion is drawn from a place that no reader saw. Nor would the hold-back's halves be clicked differently, so there is
none. What the figures say is how well each network would have ranked what the reader was about to click; a click-through rate
cannot be had from a log.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.evaluation import Quality, auc, evaluate
from drn.features import schema_digest
from drn.loop import Update, due
from drn.types import ClosedImpression, Context, Event, Floats, Impression, RankRequest, VersionKind
from jobs import runner
from jobs.database import engine_at
from jobs.errors import UnreadableLog
from jobs.importers import bulk
from jobs.importers.log import Log, LoggedImpression
from jobs.major_retrain import major_retrain
from jobs.minor_update import MINOR
from jobs.progress import bar
from jobs.runner import Published
from jobs.settings import LearnerSettings
from jobs.upkeep import FIRST_VERSION
from service.errors import Unprocessable
from service.handlers import feedback, rank
from service.node import Node, open_node
from service.settings import Settings
from service.store import impressions, migrate
from service.store.engine import reading
from service.store.scratch import scratch_database

WARM_UP = timedelta(days=1)  # figures are given for all lists and for those after the first day, as the field's tables do
LAST = datetime(9999, 1, 1, tzinfo=UTC)  # by then every impression is closed
PAGE = 1_000  # impressions that are read back at once
PATIENCE = 60.0  # seconds that the store may take: nobody waits for an answer here


@dataclass(slots=True)
class LogClock:
    """What time it is in the log."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class Scores:
    """Each list's scores at the moment of its decision, and what was clicked."""

    at: list[datetime] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    current: list[Floats] = field(default_factory=list)
    explore: list[Floats] = field(default_factory=list)
    clicked: list[NDArray[np.bool_]] = field(default_factory=list)
    judged: int = 0  # lists with both a hit and a miss
    auc_total: float = 0.0

    def add(self, impression: Impression, clicked: frozenset[str]) -> None:
        self.at.append(impression.at)
        self.users.append(impression.user_id)
        self.current.append(impression.current_scores)
        self.explore.append(impression.explore_scores)
        hits = np.array([article_id in clicked for article_id in impression.candidates])
        self.clicked.append(hits)
        if hits.any() and not hits.all():
            self.judged += 1
            self.auc_total += auc(impression.current_scores, hits)

    @property
    def running_auc(self) -> float:
        """Of the current network, over the lists so far."""
        return self.auc_total / max(1, self.judged)

    def quality(self, scores: list[Floats], since: datetime) -> Quality:
        return evaluate((own, clicked) for at, own, clicked in zip(self.at, scores, self.clicked, strict=True) if at >= since)

    def rows(self) -> Iterator[tuple[str, Quality]]:
        """The lines of the result: both networks, over all lists and after the warm-up."""
        start, end = self.at[0], self.at[-1]
        for name, scores in (("current", self.current), ("explore", self.explore)):
            yield name, self.quality(scores, start)
        if end - start > WARM_UP:
            for name, scores in (("current, from day 2", self.current), ("explore, from day 2", self.explore)):
                yield name, self.quality(scores, start + WARM_UP)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did and how well it ranked."""

    scores: Scores
    impressions: int
    versions: int
    serving_seconds: float  # ranking and feedback
    learning_seconds: float  # minor and major updates


async def replay(settings: Settings, server_url: str, log: Log, limit: int | None = None, hours: float | None = None) -> Replayed:
    """Replays a log in a new database on the server, which is dropped at the end. For arguments and errors see `replayed`."""
    async with replayed(settings, server_url, log, limit, hours) as (done, _):
        return done


@asynccontextmanager
async def replayed(
    settings: Settings, server_url: str, log: Log, limit: int | None = None, hours: float | None = None, label: str = "replay"
) -> AsyncIterator[tuple[Replayed, AsyncEngine]]:
    """A log that has been replayed, and the new database with what came of it, which is dropped when the context ends.

    Args:
        limit: at most so many impressions
        hours: only so many hours of the log
        label: what the progress bar is called

    Raises:
        UnreadableLog: no impression, or a file that is not in the log's format.
        StoreUnavailable: PostgreSQL went away.
    """
    lists = selection(log, limit, hours)
    torch.set_num_threads(LearnerSettings().threads)
    async with scratch_database(server_url) as url:
        await asyncio.to_thread(migrate.upgrade, url)
        async with engine_at(url) as engine:
            await bulk.load(engine, log, lambda: lists[0].at)
            yield await play(settings, url, engine, lists, label), engine


async def read_back(engine: AsyncEngine, config: Config) -> AsyncIterator[ClosedImpression]:
    """Every impression in the log of a replay with its feedback, in order: what was decided on, as it was logged.

    Page by page in short transactions, so that whoever looks at one may take their time.
    """
    done, end, schema = 0, 1, schema_digest(config)
    while done < end:
        async with reading(engine) as connection:
            end = (await impressions.horizon(connection)).impressions
            run = await impressions.closed_after(connection, done, end, LAST, LAST, schema, PAGE)
        if not run.impressions:
            return
        done = run.end
        for one in run.impressions:
            yield one


def selection(log: Log, limit: int | None, hours: float | None) -> list[LoggedImpression]:
    lists = list(islice(log.impressions(), limit))
    if not lists:
        raise UnreadableLog("the log holds no impression")
    end = lists[0].at + timedelta(hours=hours) if hours is not None else lists[-1].at
    return list(takewhile(lambda one: one.at <= end, lists))


async def play(
    settings: Settings, url: str, engine: AsyncEngine, lists: list[LoggedImpression], label: str = "replay"
) -> Replayed:
    """The log's lists in order; whatever update is due comes before the list of that moment."""
    settings = settings.model_copy(update={"changes": {**settings.changes, "holdback_share": 0.0}})
    clock, config = LogClock(lists[0].at), settings.config()
    await runner.run(engine, FIRST_VERSION, config, clock)
    own = settings.model_copy(
        update={
            "database_url": url,
            "host": "127.0.0.1",
            "store_timeout": PATIENCE,
            "max_candidates": 60_000,
            "follow_seconds": 1.0,
        }
    )
    scores, updates, versions, learning = Scores(), due(config, clock.now), 1, 0.0
    following = next(updates)
    began = time.perf_counter()
    async with open_node(own, clock) as node:
        with bar(label) as show:
            for number, logged in enumerate(lists, start=1):
                paused = time.perf_counter()
                while following.at <= logged.at:
                    clock.now = following.at
                    versions += await learn(engine, node, config, clock, following)
                    following = next(updates)
                learning += time.perf_counter() - paused
                clock.now = logged.at
                if (impression := await serve(node, logged)) is not None:
                    scores.add(impression, frozenset(logged.clicked))
                show(number, len(lists), f"AUC {scores.running_auc:.4f}  version {versions}")
    return Replayed(scores, len(lists), versions, time.perf_counter() - began - learning, learning)


async def learn(engine: AsyncEngine, node: Node, config: Config, clock: LogClock, update: Update) -> bool:
    """Runs one update and takes what it published into service at once; whether it published."""
    job = MINOR if update.kind is VersionKind.MINOR else major_retrain()
    outcome = await runner.run(engine, job, config, clock)
    if isinstance(outcome, Published):
        await node.follower.catch_up()
    return isinstance(outcome, Published)


async def serve(node: Node, logged: LoggedImpression) -> Impression | None:
    """Ranks one logged list and reports what its reader did; None if none of its articles is described."""
    request = RankRequest(
        request_id=logged.id,
        at=logged.at,
        k=len(logged.in_view),
        user_id=logged.user_id,
        candidates=logged.in_view,
        context=Context(logged.device, logged.surface, logged.page),
    )
    try:
        impression = await rank.rank(node, request)
    except Unprocessable:
        return None
    if events := reports(node, logged, frozenset(impression.article_ids)):
        await feedback.record(node, events, logged.at)
    return impression


def reports(node: Node, logged: LoggedImpression, shown: frozenset[str]) -> list[Event]:
    """Every shown article was seen, the clicked ones were clicked. A click outside the list is organic reading."""
    seen = [
        Event(f"{logged.id}:seen:{name}", name, "seen", logged.at, request_id=logged.id)
        for name in logged.in_view
        if name in shown
    ]
    clicks = [
        Event(
            f"{logged.id}:{name}",
            name,
            "click",
            logged.at,
            request_id=logged.id if name in shown else None,
            user_id=logged.user_id,
        )
        for name in logged.clicked
        if name in node.live.catalogue
    ]
    return seen + clicks
