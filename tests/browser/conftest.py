"""A headless Chromium, the real application, and a page on which the browser's own complaints fail the test."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.types import Article
from drn.versions import initial_version
from service.app import create_app
from service.keys import new_key
from service.settings import Settings
from service.store import articles, keys, versions

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
CONFIG = Config(advantage_layers=(2,), value_layers=(2,), embedding_size=0)
CHANGES = {"advantage_layers": [2], "value_layers": [2], "embedding_size": 0}
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}

OpenPage = Callable[..., Awaitable[Page]]
Document = dict[str, Any]

NOW = 1_790_000_000.0
HOUR = 3_600.0


def chromium() -> str:
    """The path of a Chromium of this machine: CHROMIUM, or the first one found."""
    given = os.environ.get("CHROMIUM")
    found = given if given and Path(given).exists() else next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install Debian's `chromium`, or set CHROMIUM to one")
    return found


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a real socket; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # Ctrl-C is pytest's
    async with app.router.lifespan_context(app):
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        await task


@pytest.fixture
async def app(database_url: str, connection: AsyncConnection) -> FastAPI:
    """The application over a database with the first version and articles, one of which is out to harm."""
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    harm = "</span><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>"
    await versions.append(connection, initial_version(CONFIG, now))
    found = [Article("a1", harm, now - hour, category='"><svg onload="window.harmed = 3">'), Article("a2", "Calm", now - hour)]
    await articles.upsert(connection, found, now)
    await connection.commit()
    return create_app(Settings(database_url=database_url, changes=CHANGES))


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    async with serving(app) as address:
        yield address


@pytest.fixture
def lock_up(app: FastAPI, connection: AsyncConnection) -> Callable[[], Awaitable[str]]:
    """Makes a key with the scope admin, which the application asks for from then on."""

    async def lock() -> str:
        key = new_key()
        await keys.create(connection, "admin", key.digest, ["admin"], app.state.node.clock())
        await connection.commit()
        async with asyncio.timeout(3):
            while not app.state.node.live.keys.scopes:  # noqa: ASYNC110  # followed by looking
                await asyncio.sleep(0.05)
        return key.text

    return lock


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens /admin. Script errors and violations of the page's policy fail the test when it ends."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def open_page(address: str, document: Any = None, **options: Any) -> Page:
        """`document`: what /admin/data answers instead of the application: JSON, or a function that takes the route."""
        contexts.append(context := await browser.new_context(**({"viewport": DESKTOP} | options)))
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )
        if callable(document):
            await page.route("**/admin/data*", document)
        elif document is not None:
            await page.route("**/admin/data*", lambda route: route.fulfill(json=document))
        await page.goto(f"{address}/admin")
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


async def keep(page: Page, dialog: Locator, button: Locator) -> None:
    """Answers a question with no: the focus goes back to the button that asked it, and stays."""
    await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    await page.wait_for_timeout(2_500)  # the next figures do not take the focus away
    await expect(button).to_be_focused()


def version(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "parent": number - 1 or None,
        "kind": "minor" if number > 1 else "initial",
        "at": NOW - 60 * (40 - number),
        "duel": 1,
        "verdict": None,
        "restored": None,
        "automatic": False,
        "watermark": 10 * number,
        "digest": "ab" * 32,
        "metrics": {"loss": 0.25},
        "servable": True,
    } | more


def run(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "job": "minor_update",
        "started": NOW - number * 10,
        "ended": NOW - number * 10 + 0.4,
        "outcome": "published",
        "version": 40 - number,
        "reason": None,
    } | more


def line() -> list[Document]:
    """36 versions, one promotion, one reset, one rollback."""
    versions = [version(number) for number in range(1, 37)]
    changes: dict[int, Document] = {
        5: {"verdict": "explore_won"},
        9: {"verdict": "current_won"},
        20: {"kind": "major", "verdict": "abandoned"},
        30: {"kind": "rollback", "verdict": "abandoned", "restored": 24},
    }
    for number, change in changes.items():
        versions[number - 1] |= change
        for later in versions[number - 1 :]:
            later["duel"] = number
    versions[1]["servable"] = False
    return versions


def hour() -> list[Document]:
    """An hour of outcomes, minute by minute."""
    return [
        {
            "at": NOW - HOUR + i * 60,
            "wins": 5 + i % 3,
            "losses": 4,
            "ties": 30,
            "mean": 0.04,
            "low": -0.5 / (i + 1),
            "high": 0.08 + 0.5 / (i + 1),
            "sessions": 10 * (i + 1),
        }
        for i in range(60)
    ]


def duel() -> Document:
    """One that runs, and is being won."""
    return {
        "id": 30,
        "opened": NOW - 600,
        "impressions": 62,
        "wins": 17,
        "losses": 12,
        "ties": 33,
        "mean": 0.06,
        "z": 0.93,
        "waiting": 21,
        "needed": 38,
        "forecast": "explore_won",
        "harm": 0.0,
    }


def rule(number: int, **more: Any) -> Document:
    return {
        "id": number,
        "kind": "pin",
        "article_id": "a1",
        "title": "Harbour bridge closes",
        "live": True,
        "surface": None,
        "position": 0,
        "most": None,
        "boost": None,
        "created_at": NOW - HOUR,
        "ends_at": None,
        "ended_at": None,
    } | more


def holdback() -> Document:
    """Two halves, too few lists to tell them apart."""
    return {
        "share": 0.02,
        "reference": 30,
        "since": NOW - 7_200,
        "lists": {"current": 412, "reference": 398},
        "clicked": {"current": 0.4126, "reference": 0.3945},
        "difference": 0.018,
        "low": -0.071,
        "high": 0.107,
        "level": 0.95,
        "harm": 0.0,
    }


@pytest.fixture
def document() -> Document:
    """What /admin/data answers for a service in the middle of its work: 36 versions, one promotion, one reset, one rollback."""
    return {
        "now": NOW,
        "window": {"hours": 24, "since": NOW - 24 * HOUR, "bucket": 60.0},
        "settings": {
            "direction": "guided",
            "minor_period": 10.0,
            "major_period": 120.0,
            "feedback_window": 5.0,
            "duel_window": 100,
            "duel_loss_z": -1.5,
        },
        "served": {"version": 36, "kind": "minor", "at": NOW - 240},
        "refused": None,
        "fault": None,
        "totals": {"lists": 1_234, "shown": 12_340, "clicks": 617, "fallbacks": 0, "articles": 56, "readers_today": 78},
        "duel": duel(),
        "holdback": holdback(),
        "outcomes": {"since": NOW - HOUR, "level": 0.95, "buckets": hour()},
        "traffic": [
            {"at": NOW - HOUR + i * 60, "lists": 20, "shown": 200, "clicks": 8 + i % 4, "fallbacks": 0} for i in range(60)
        ],
        "returns": [{"day": NOW - 86_400 * i, "readers": 100, "returned": 31, "complete": i > 1} for i in (3, 2, 1)],
        "versions": line(),
        "jobs": [
            run(0, ended=None, outcome="running", version=None),
            run(1),
            *(run(i, outcome="skipped", version=None, reason="3 closed impressions; 10 needed") for i in (2, 3, 4)),
            run(5, job="major_retrain", outcome="failed", version=None, reason="RuntimeError: out of memory"),
        ],
        "recent": 200,
        "articles": [
            {
                "id": "a1",
                "title": "Harbour bridge closes",
                "category": "city",
                "shown": 40,
                "clicks": 4,
                "pinned": True,
                "withdrawn": False,
            }
        ],
        "rules": [
            rule(1),
            rule(2, kind="cap", article_id="a2", title="Late goal decides derby", position=None, most=3, surface="home"),
            rule(
                3,
                kind="boost",
                article_id="a3",
                title="Election night",
                position=None,
                boost=-0.25,
                ends_at=NOW + HOUR,
                live=False,
            ),
        ],
        "newest": [{"id": "a1", "title": "Harbour bridge closes"}, {"id": "a2", "title": "Late goal decides derby"}],
    }
