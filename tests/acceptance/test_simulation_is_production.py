"""Simulation is production: the app and the jobs on PostgreSQL reach, version by version, the digests of `drn.loop`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

import drn.holdback
import drn.loop
import jobs.guard
from drn.config import Config
from drn.loop import Loop, Update, timeline
from drn.scenario import NEWSROOM
from drn.simulation import Action, Publish, React, Visit, newsroom
from drn.types import HoldbackState, RankRequest, VersionKind
from drn.versions import Version
from jobs import runner
from jobs.guard import GUARD
from jobs.major_retrain import major_retrain
from jobs.minor_update import MINOR
from jobs.readers import article_body
from jobs.runner import Published
from jobs.upkeep import FIRST_VERSION
from service.app import create_app
from service.live import Live
from service.settings import Settings
from service.store import versions
from service.store.engine import reading

START = datetime(2026, 6, 1, 7, tzinfo=UTC)
SCENARIO = NEWSROOM.but(days=0.5, readers=60, articles_per_day=40.0)
CHANGES: dict[str, Any] = {
    "root_seed": 7,
    "minor_period": 1_800.0,
    "major_period": 10_800.0,
    "major_impressions": 20,
    "duel_window": 40,
    "advantage_layers": [16, 8],
    "value_layers": [8],
    "gate": "none",
    "holdback_share": 0.33,
    "holdback_period": 10_800.0,
}


class FrozenClock:
    """Stands still until it is told the time."""

    now = START

    def __call__(self) -> datetime:
        return self.now


class Production:
    """The processes' own code: HTTP to the app, jobs on the database, one clock for both."""

    def __init__(self, client: httpx.AsyncClient, live: Live, engine: AsyncEngine, config: Config, clock: FrozenClock) -> None:
        self.client, self.live, self.engine, self.config, self.clock = client, live, engine, config, clock

    async def act(self, step: Action | Update) -> Sequence[str] | None:
        self.clock.now = step.at
        match step:
            case Update():
                job = MINOR if step.kind is VersionKind.MINOR else major_retrain()
                for each in (job, GUARD):
                    outcome = await runner.run(self.engine, each, self.config, self.clock)
                    if isinstance(outcome, Published):
                        await self.until_served(outcome.version_id)
            case Publish():
                if step.articles:
                    await self.send("PUT", "/articles", {"articles": [article_body(article) for article in step.articles]})
                for article_id in step.withdrawn:
                    await self.send("DELETE", f"/articles/{article_id}", None)
            case Visit():
                answer = await self.send("POST", "/rank", rank_body(step.request))
                return [item["article_id"] for item in answer.json()["items"]]
            case React():
                names = ("event_id", "article_id", "type", "value", "request_id", "user_id")
                events = [{name: getattr(event, name) for name in names} | {"at": event.at.isoformat()} for event in step.events]
                await self.send("POST", "/feedback", {"events": events})
        return None

    async def until_served(self, version_id: int) -> None:
        """In the loop a version serves the moment it is published; the app follows the line within a second."""
        async with asyncio.timeout(10):
            while self.live.served is None or self.live.served.version_id != version_id:  # noqa: ASYNC110  # nobody tells of a swap
                await asyncio.sleep(0.01)

    async def send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        answer = await self.client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer

    async def line(self) -> list[Version]:
        """Every version, oldest first."""
        async with reading(self.engine) as connection:
            newest = await versions.head_id(connection)
            assert newest is not None
            return [await versions.load(connection, number) for number in range(1, newest + 1)]


def rank_body(request: RankRequest) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "user_id": request.user_id,
        "k": request.k,
        "context": {"device": request.context.device, "surface": request.context.surface},
    }


def lost_after_two_lists(state: HoldbackState, config: Config) -> bool:
    """In the place of the evidence, which half a day of sixty readers cannot give: so that versions are rolled back here."""
    return state.reference_lists >= 2 and state.current_clicked == 1


@asynccontextmanager
async def production(database_url: str, engine: AsyncEngine) -> AsyncIterator[Production]:
    clock = FrozenClock()
    settings = Settings(database_url=database_url, changes=CHANGES)
    config = settings.config()
    assert isinstance(await runner.run(engine, FIRST_VERSION, config, clock), Published)
    app = create_app(settings, clock)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Production(client, app.state.node.live, engine, config, clock)


@pytest.mark.parametrize("direction", ["guided", "random"])
async def test_every_version_has_the_digest_that_the_loop_gives_it(
    database_url: str, engine: AsyncEngine, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHANGES, "direction", direction)
    for module in (drn.holdback, drn.loop, jobs.guard):
        monkeypatch.setattr(module, "lost", lost_after_two_lists)
    async with production(database_url, engine) as processes:
        steps = timeline(newsroom(SCENARIO, 11, START), processes.config, START)
        answer: Sequence[str] | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                break
            answer = await processes.act(step)
        line = await processes.line()
        specified = list(Loop(processes.config, START).run(newsroom(SCENARIO, 11, START)))
    assert [version.id for version in line] == [version.id for version in specified]
    assert [version.kind for version in line] == [version.kind for version in specified]
    assert [version.digest for version in line] == [version.digest for version in specified]
    kinds = {version.kind for version in line}
    assert kinds == set(VersionKind)
    assert len({version.holdback.reference for version in line}) > 3
    assert len(line) > 15
    assert all(after.watermark >= before.watermark for before, after in pairwise(line))
    assert line[-1].watermark > 100
