"""The store that a command works on: the operator's PostgreSQL, else the embedded one."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.errors import CannotRun
from service.settings import Settings
from service.store import embedded, migrate
from service.store.engine import LEARNING, create_engine
from service.store.errors import StoreUnavailable

START_PAUSE = 0.5  # seconds between attempts to reach PostgreSQL


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_store(settings: Settings, patience: float = 0.0) -> AsyncIterator[AsyncEngine]:
    """An engine on DATABASE_URL; without one, on the embedded PostgreSQL of DRN_DATA, which is started if it is down and
    stopped again at the end if this process has started it.

    Args:
        patience: seconds to wait for the PostgreSQL at DATABASE_URL

    Raises:
        CannotRun: the database at DATABASE_URL lacks migrations of this release.
        StoreUnavailable: it cannot be reached.
        EmbeddedError: the embedded PostgreSQL cannot be made or started.
    """
    if settings.database_url:
        await require_schema(settings.database_url, patience)
        async with engine_at(settings.database_url) as engine:
            yield engine
        return
    server = await asyncio.to_thread(embedded.start, settings.data)
    try:
        if server.owned:  # nobody else is here who could have migrated it
            await asyncio.to_thread(migrate.upgrade, server.url)
        async with engine_at(server.url) as engine:
            yield engine
    finally:
        await asyncio.to_thread(embedded.stop, server)


async def require_schema(url: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            if await asyncio.to_thread(migrate.pending, url):
                raise CannotRun("the database is not at this release's schema: run `python -m jobs migrate`")
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(START_PAUSE)
        else:
            return


@asynccontextmanager
async def engine_at(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine with a learner's patience, closed at the end."""
    engine = create_engine(url, timeouts=LEARNING)
    try:
        yield engine
    finally:
        await engine.dispose()
