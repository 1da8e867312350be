"""Being told of changes as they commit. A missed notice costs nothing but time: whoever listens also looks by itself.

Articles, rules, versions, keys and erasures announce themselves. Impressions and feedback do not: PostgreSQL lets transactions
that notify commit only one after the other, which would cap the rate at which clicks are taken.
"""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql

from service.store import articles, erasures, keys, rules, versions
from service.store.engine import SERVING, libpq_url
from service.store.locks import NAMESPACE, Lock

CHANNELS = (articles.CHANNEL, rules.CHANNEL, versions.CHANNEL, keys.CHANNEL, erasures.CHANNEL)


class Notice(NamedTuple):
    channel: str
    payload: str


class Listener:
    """Collects notices over a connection of its own, which it opens and replaces by itself.

    Args:
        presence: held, shared, from when notices arrive until the connection ends: others can see that somebody listens.
    """

    def __init__(self, url: str, channels: tuple[str, ...] = CHANNELS, presence: Lock | None = None) -> None:
        self._conninfo = libpq_url(url)
        self._channels = channels
        self._presence = presence
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def wait(self, seconds: float) -> frozenset[str]:
        """The channels that were notified, as soon as one is; none after `seconds`, also while PostgreSQL is away."""
        return frozenset([notice.channel for notice in await self.notices(seconds)])

    async def notices(self, seconds: float) -> list[Notice]:
        """What was notified, as soon as there is something; likewise."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            connection = await self._listening()
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            return [Notice(each.channel, each.payload) async for each in connection.notifies(timeout=left, stop_after=1)]
        except (psycopg.Error, OSError):
            await self.close()
            await asyncio.sleep(max(0.0, deadline - asyncio.get_running_loop().time()))
            return []

    async def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error, OSError):
                await self._connection.close()
            self._connection = None

    async def _listening(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            options: dict[str, Any] = SERVING.options()
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, application_name="drn listener", **options
            )
            for channel in self._channels:
                await self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            if self._presence is not None:
                await self._connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", [NAMESPACE, int(self._presence)])
        return self._connection
