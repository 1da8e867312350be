"""The API key of the demo's newsroom. It is put in force once there is another one: alone, it would close an API that is open
to this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from jobs.database import utc_now
from service.keys import NewKey, Scope, new_key
from service.store import keys
from service.store.engine import reading, writing
from service.store.errors import StoreUnavailable

NAME = "the simulated newsroom of `make run`"
SCOPES = (Scope.RANK, Scope.FEEDBACK, Scope.ARTICLES)
LOOK_SECONDS = 1.0  # between two looks at the keys; for longer than this the newsroom repeats what was refused


@contextlib.asynccontextmanager
async def newsroom_key(engine: AsyncEngine) -> AsyncIterator[NewKey]:
    """A key for this run, not in force yet. At the end it is revoked, at the beginning that of a run that was killed.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached at the beginning.
    """
    async with writing(engine) as connection:
        await revoke(connection)
    try:
        yield new_key()
    finally:
        with contextlib.suppress(StoreUnavailable):  # the next run does it
            async with writing(engine) as connection:
                await revoke(connection)


async def keep_admitted(engine: AsyncEngine, key: NewKey) -> None:
    """Admits the newsroom as soon as an operator makes the first key, until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with contextlib.suppress(StoreUnavailable):
            await admit(engine, key)


async def admit(engine: AsyncEngine, key: NewKey) -> None:
    """Puts the key in force if there are others and it is not yet."""
    async with reading(engine) as connection:
        active = await keys.active(connection)
    if active and not any(each.name == NAME for each in active):
        async with writing(engine) as connection:
            await keys.create(connection, NAME, key.digest, SCOPES, utc_now())


async def revoke(connection: AsyncConnection) -> None:
    for key in await keys.active(connection):
        if key.name == NAME:
            await keys.revoke(connection, key.id, utc_now())
