"""The API under test: in this process over ASGI, or as processes of its own over real HTTP."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.versions import Version, initial_version
from service import logs
from service.app import create_app, utc_now
from service.node import Node
from service.settings import Settings
from service.store import versions
from service.store.engine import writing

CHANGES: dict[str, Any] = {"advantage_layers": [8], "value_layers": [8], "embedding_size": 4, "feedback_window": 5.0}
CONFIG = Config.profile("default", **(CHANGES | {"advantage_layers": (8,), "value_layers": (8,)}))
START_SECONDS = 30.0


async def until(seen: Callable[[], bool]) -> None:
    """Waits for what another part of the service notices by itself: a second where the machine has time."""
    async with asyncio.timeout(10):
        while not seen():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Api:
    """An application in this process, and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def node(self) -> Node:
        node: Node = self.app.state.node
        return node

    async def publish(self, *ids: str, **fields: Any) -> None:
        articles = [article(article_id, **fields) for article_id in ids]
        answer = await self.client.put("/articles", json={"articles": articles})
        assert answer.status_code == 200, answer.text

    async def rank(self, **body: Any) -> dict[str, Any]:
        answer = await self.client.post("/rank", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def click(self, event_id: str, article_id: str, **fields: Any) -> httpx.Response:
        event = {"event_id": event_id, "article_id": article_id, "type": "click"} | fields
        return await self.client.post("/feedback", json={"events": [event]})


def article(article_id: str, **fields: Any) -> dict[str, Any]:
    published = datetime.now(UTC) - timedelta(hours=1)
    return {
        "id": article_id,
        "title": f"Title of {article_id}",
        "published_at": published.isoformat(),
        "category": "news",
    } | fields


class OpenApi(Protocol):
    """Opens one more application on the test's database."""

    async def __call__(self, clock: Callable[[], datetime] = utc_now, **settings: Any) -> Api: ...


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield Api(app, client)


@pytest.fixture(scope="session", autouse=True)
def logged() -> None:
    """Plain log lines: the default of structlog prints every local variable of a traceback."""
    logs.configure("WARNING")


@pytest.fixture
def changes() -> dict[str, Any]:
    """What the applications under test change in the hyper-parameters: small networks, quick to make."""
    return CHANGES


@pytest.fixture
async def initial(engine: AsyncEngine) -> Version:
    """The database's first version."""
    version = initial_version(CONFIG, utc_now())
    async with writing(engine) as connection:
        await versions.append(connection, version)
    return version


@pytest.fixture
async def open_api(database_url: str) -> AsyncIterator[OpenApi]:
    async with AsyncExitStack() as stack:

        async def open_one(clock: Callable[[], datetime] = utc_now, **settings: Any) -> Api:
            app = create_app(
                Settings(**({"database_url": database_url, "changes": CHANGES, "follow_seconds": 0.1} | settings)), clock
            )
            return await stack.enter_async_context(opened(app))

        yield open_one


@pytest.fixture
async def api(initial: Version, open_api: OpenApi) -> Api:
    """An application with a version to serve and no article."""
    return await open_api()


@dataclass(frozen=True, slots=True, eq=False)
class ServiceProcess:
    """`python -m service` as an operator starts it."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}: {self.log.read_text()}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready within {START_SECONDS:g} s: {self.log.read_text()}")


class Spawn(Protocol):
    """Starts one more service process on the test's database."""

    def __call__(self, **environment: str) -> ServiceProcess: ...


@pytest.fixture
def spawn(database_url: str, tmp_path: Path) -> Iterator[Spawn]:
    started: list[ServiceProcess] = []

    def start(**environment: str) -> ServiceProcess:
        port = free_port()
        log = tmp_path / f"service-{port}.log"
        variables = {
            "DATABASE_URL": database_url,
            "PORT": str(port),
            "DRN_CONFIG": '{"advantage_layers": [8], "value_layers": [8], "embedding_size": 4, "feedback_window": 5.0}',
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "service"],
                env=os.environ | variables | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(ServiceProcess(process, f"http://127.0.0.1:{port}", log))
        return started[-1]

    yield start
    for each in started:
        with ending(each.process):
            each.process.terminate()


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[None]:
    yield
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
