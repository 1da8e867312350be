"""The simulated newsroom as a client of the API."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.scenario import NEWSROOM
from drn.versions import initial_version
from jobs.database import utc_now
from jobs.errors import Refused
from jobs.readers import Newsroom
from service.app import create_app
from service.settings import Settings
from service.store import versions
from service.store.engine import reading, writing

QUICK = NEWSROOM.but(speed=20_000.0, readers=30, days=0.5)  # half a day in two seconds
CHANGES: dict[str, Any] = {"advantage_layers": [8], "value_layers": [8], "embedding_size": 4}


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, changes=CHANGES)


async def test_its_articles_lists_and_clicks_arrive(settings: Settings, engine: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await versions.append(connection, initial_version(settings.config(), utc_now()))
    app = create_app(settings)
    answers: list[httpx.Response] = []

    async def keep(answer: httpx.Response) -> None:
        answers.append(answer)

    transport = httpx.ASGITransport(app)
    hooks = {"response": [keep]}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api", event_hooks=hooks) as client,
    ):
        await Newsroom(client, QUICK, 1).play()
    assert {answer.status_code for answer in answers} <= {200, 202, 204}
    async with reading(engine) as connection:
        counted = {
            name: await connection.scalar(text(f"SELECT count(*) FROM {name}"))
            for name in ("articles", "impressions", "feedback")
        }
        organic = await connection.scalar(text("SELECT count(*) FROM feedback WHERE request_id IS NULL"))
        full = await connection.scalar(text("SELECT count(*) FROM impressions WHERE cardinality(shown) = 10"))
    assert counted["articles"] > 50
    assert counted["impressions"] == full > 30
    assert counted["feedback"] > organic


class Flaky(httpx.AsyncBaseTransport):
    """Answers like an API, after it has failed three times."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.enough = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append((request.url.path, await request.aread()))
        if len(self.bodies) == 6:
            self.enough.set()
        if len(self.bodies) == 1:
            raise httpx.ConnectError("refused", request=request)
        if len(self.bodies) <= 3:
            return httpx.Response(503, request=request)
        return httpx.Response(200, json={"items": []}, request=request)


async def test_what_an_outage_swallowed_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.readers.RETRY_SECONDS", 0.01)
    flaky = Flaky()
    async with httpx.AsyncClient(transport=flaky, base_url="http://api") as client:
        playing = asyncio.create_task(Newsroom(client, QUICK, 1).play())
        await asyncio.wait_for(flaky.enough.wait(), 30)
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
    assert len({body for _, body in flaky.bodies[:4]}) == 1  # the same articles until they were taken
    assert flaky.bodies[4][1] != flaky.bodies[3][1]


async def test_a_key_that_comes_into_force_a_moment_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.readers.RETRY_SECONDS", 0.001)
    statuses = [401] * 5
    closed = httpx.MockTransport(lambda _: httpx.Response(statuses.pop() if statuses else 403, text="no scope"))
    async with httpx.AsyncClient(transport=closed, base_url="http://api", headers={"Authorization": "Bearer drn_x"}) as client:
        with pytest.raises(Refused, match="403 no scope"):
            await Newsroom(client, QUICK, 1).play()
    unknown = httpx.MockTransport(lambda _: httpx.Response(401, text="does not exist"))
    async with httpx.AsyncClient(transport=unknown, base_url="http://api", headers={"Authorization": "Bearer drn_x"}) as client:
        with pytest.raises(Refused, match="does not exist"):
            await Newsroom(client, QUICK, 1).play()


async def test_a_missing_key_ends_it_with_the_apis_answer() -> None:
    closed = httpx.MockTransport(lambda _: httpx.Response(401, text="this service needs an API key"))
    async with httpx.AsyncClient(transport=closed, base_url="http://api") as client:
        with pytest.raises(Refused, match="needs an API key"):
            await Newsroom(client, QUICK, 1).play()
