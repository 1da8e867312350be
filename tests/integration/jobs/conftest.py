"""A site with a log to learn from: articles, readers' lists and clicks, made through the use cases of the API."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.types import Article, Event, RankRequest
from drn.versions import Version
from jobs import runner
from jobs.upkeep import FIRST_VERSION
from service.handlers import articles, feedback, rank
from service.node import Node, open_node
from service.settings import Settings
from service.store import versions
from service.store.engine import reading
from service.store.runs import Run, listing

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)  # long closed for the processes of their own, whose clock is the real one
CHANGES: dict[str, Any] = {
    "advantage_layers": [8],
    "value_layers": [8],
    "embedding_size": 4,
    "feedback_window": 60.0,
    "major_impressions": 10,
    "duel_window": 1_000,
    "guided_noise": 0.05,  # so that the first duel is not one of equals, in which nobody has a say
}


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Site:
    """A running node, its clock, and readers who always click the second article of their list."""

    node: Node
    engine: AsyncEngine
    clock: Clock
    config: Config
    lists: int = 0
    clicks: set[str] = field(default_factory=set)

    async def visit(self, lists: int) -> None:
        for _ in range(lists):
            self.lists += 1
            request = RankRequest(f"r{self.lists}", self.clock.now, 4, f"u{self.lists % 5}")
            shown = (await rank.rank(self.node, request)).article_ids
            click = Event(f"e{self.lists}", shown[1], "click", self.clock.now, request_id=request.request_id)
            await feedback.record(self.node, [click], self.clock.now)
            self.clicks.add(click.event_id)
            self.clock.advance(1)

    async def close(self) -> None:
        """Lets the feedback window of every list pass."""
        self.clock.advance(self.config.feedback_window + 1)

    async def run(self, job: runner.Job) -> runner.Outcome:
        return await runner.run(self.engine, job, self.config, self.clock)

    async def head(self) -> Version:
        async with reading(self.engine) as connection:
            head = await versions.head(connection)
        assert head is not None
        return head

    async def runs(self, job: str | None = None) -> list[Run]:
        async with reading(self.engine) as connection:
            return await listing(connection, job=job)


@pytest.fixture
def changes() -> dict[str, Any]:
    """Hyper-parameters of a test's own."""
    return {}


@pytest.fixture
def settings(database_url: str, changes: dict[str, Any]) -> Settings:
    return Settings(database_url=database_url, changes=CHANGES | changes)


@pytest.fixture
async def site(settings: Settings, engine: AsyncEngine) -> AsyncIterator[Site]:
    clock = Clock()
    await runner.run(engine, FIRST_VERSION, settings.config(), clock)
    async with open_node(settings, clock) as node:
        published = [Article(f"a{i}", f"Title {i}", NOON - timedelta(hours=i + 1), category=f"c{i % 3}") for i in range(8)]
        await articles.publish(node, published, clock.now)
        yield Site(node, engine, clock, settings.config())


@pytest.fixture
def environment(database_url: str, changes: dict[str, Any]) -> dict[str, str]:
    """For a process of its own on the test's database."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DRN_CONFIG": json.dumps(CHANGES | changes),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def python(environment: dict[str, str]) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a Python process on the test's database."""

    def start(*arguments: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start
