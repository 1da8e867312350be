"""API keys at rest: digests and scopes, never a key."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.tables import api_keys

CHANNEL = "drn_keys"


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


async def create(connection: AsyncConnection, name: str, key_hash: str, scopes: Collection[str], now: datetime) -> Key:
    """Stores the sha256 (hexadecimal) of a key that nobody can guess."""
    key = Key(secrets.token_hex(4), name, key_hash, tuple(sorted(scopes)), now, None)
    values = {"id": key.id, "name": name, "hash": key_hash, "scopes": list(key.scopes), "created_at": now}
    await connection.execute(insert(api_keys), values)
    await connection.execute(select(func.pg_notify(CHANNEL, "")))
    return key


async def revoke(connection: AsyncConnection, key_id: str, now: datetime) -> bool:
    """Ends a key; False if there is none in force of that id."""
    query = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    revoked = (await connection.execute(query)).rowcount == 1
    await connection.execute(select(func.pg_notify(CHANNEL, "")))
    return revoked


async def active(connection: AsyncConnection) -> list[Key]:
    """The keys in force."""
    return [key for key in await listing(connection) if key.revoked_at is None]


async def listing(connection: AsyncConnection) -> list[Key]:
    """Every key ever made, oldest first."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
    return [Key(**(row._asdict() | {"scopes": tuple(row.scopes)})) for row in await connection.execute(query)]
