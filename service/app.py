"""The web application: one composition root. `create_app(Settings())` is everything that an ASGI server needs."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.node import open_node
from service.routes import operations, problems
from service.routes.admin import router as admin
from service.routes.articles import router as articles
from service.routes.decisions import router as decisions
from service.routes.direct import Shortcuts
from service.routes.feedback import SHORTCUT as FEEDBACK
from service.routes.feedback import router as feedback
from service.routes.rank import SHORTCUT as RANK
from service.routes.rank import router as rank
from service.routes.rules import router as rules
from service.routes.users import router as users
from service.routes.versions import router as versions
from service.settings import Settings

ROUTERS = (rank, feedback, articles, rules, users, decisions, versions, operations.router, admin)  # the busiest first
log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(settings: Settings, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """The application. It opens its node (store, memory, followers) when the server starts it.

    Args:
        clock: what time it is; tests and replays bring their own.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_node(settings, clock, metrics) as node:
            app.state.node = node
            yield

    app = FastAPI(
        title="drn",
        summary="An online-learning news ranker",
        version=version("drn"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.max_body_bytes = settings.max_body_bytes
    for router in ROUTERS:
        app.include_router(router)
    operations.install_docs(app)
    problems.install(app)
    answers = Answers(metrics, settings.access_log)
    app.add_middleware(Observed, answers=answers)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = problems.describe(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
    app.middleware_stack = Shortcuts(app.build_middleware_stack(), (RANK, FEEDBACK), settings.max_body_bytes, answers.note)
    return app


def entrance(app: FastAPI) -> ASGIApp:
    """What a server calls. FastAPI's own call looks through the environment for telemetry and a root path, at every request."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = app
        assert app.middleware_stack is not None
        await app.middleware_stack(scope, receive, send)

    return enter


class Answers:
    """Counts and times answers by route, and logs them if asked to."""

    def __init__(self, metrics: Metrics, access_log: bool) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def note(self, scope: Scope, route: str, status: int, started: float) -> None:
        """One answer to a request that arrived at `started` of `time.perf_counter()`."""
        seconds = time.perf_counter() - started
        self._metrics.answered(route, scope["method"], status, seconds)
        if self._access_log:
            log.info("request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2))


class Observed:
    """Notes every answer of the application behind it."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:  # by the route, not the path: labels must stay few
            self._answers.note(scope, getattr(scope.get("route"), "path", "unmatched"), status, started)
