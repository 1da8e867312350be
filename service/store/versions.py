"""The version line: append-only, one child per version, the newest is served. Weights are stored once per digest."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.checkpoint import digest, dump
from drn.checkpoint import load as parse
from drn.config import Config
from drn.errors import CorruptCheckpoint
from drn.types import DuelState, HoldbackState, Model, VersionKind, Weights
from drn.versions import Version
from service.store import duels
from service.store.errors import NoSuchVersion, VersionConflict, WeightsPruned
from service.store.locks import LEARN, try_hold
from service.store.tables import model_versions, weights

CHANNEL = "drn_versions"
DATA = "SELECT digest, data FROM weights WHERE digest = ANY(%s)"
LANDMARKS = 1_000  # newest versions that are not minor updates and keep their weights: hourly ones for six weeks
MEMORIES = 10  # newest versions that keep their learner's memory; it is twice the size of a network


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version without its weights."""

    id: int
    parent_id: int | None
    kind: VersionKind
    created_at: datetime
    duel: DuelState
    watermark: int
    config_digest: str
    schema: str
    metrics: Mapping[str, float]
    digest: str
    pruned: bool


@dataclass(frozen=True, slots=True)
class End:
    """Where the line ends; also told of a version that this release cannot read."""

    id: int
    watermark: int


async def end(connection: AsyncConnection) -> End | None:
    """The newest version's place; None before the first."""
    query = select(model_versions.c.id, model_versions.c.watermark).order_by(model_versions.c.id.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return End(row.id, row.watermark) if row else None


async def head_id(connection: AsyncConnection) -> int | None:
    """The newest version's id; None before the first."""
    found: int | None = await connection.scalar(select(func.max(model_versions.c.id)))
    return found


async def head(connection: AsyncConnection, *, memory: bool = True) -> Version | None:
    """The newest version; None before the first. See `load`."""
    newest = await head_id(connection)
    return None if newest is None else await load(connection, newest, memory=memory)


async def load(connection: AsyncConnection, version_id: int, *, memory: bool = True) -> Version:
    """A version with its weights, which are checked against their digests.

    Args:
        memory: whether the learner's memory is wanted; serving does not need it (and the version's digest then differs).

    Raises:
        NoSuchVersion: the line holds no such version.
        WeightsPruned: its weights were dropped to save space.
        CorruptCheckpoint: the stored bytes are not the weights that were stored.
    """
    row = (await connection.execute(select(model_versions).where(model_versions.c.id == version_id))).one_or_none()
    if row is None:
        raise NoSuchVersion(f"there is no version {version_id}")
    wanted = {row.current_digest, row.explore_digest} | ({row.memory_digest} if memory else set())
    found = await networks(connection, version_id, wanted)
    model = Model(found[row.current_digest], found[row.explore_digest], found[row.memory_digest] if memory else {})
    return Version(
        id=row.id,
        parent_id=row.parent_id,
        kind=VersionKind(row.kind),
        created_at=row.created_at,
        model=model,
        duel=DuelState(**row.duel),
        watermark=row.watermark,
        config=Config.from_json(row.config),
        schema=row.schema,
        metrics=row.metrics,
        holdback=HoldbackState(**row.holdback),
    )


async def networks(connection: AsyncConnection, version_id: int, digests: set[str]) -> dict[str, Weights]:
    """The weights behind these digests. A megabyte each, read and checked without holding up what else goes on."""
    driver: Any = (await connection.get_raw_connection()).driver_connection  # SQLAlchemy would have them sent as text
    rows = await (await driver.execute(DATA, [[*digests]], binary=True)).fetchall()
    return {name: await asyncio.to_thread(checked, version_id, name, data) for name, data in rows}


def checked(version_id: int, name: str, data: bytes | None) -> Weights:
    """The weights that were stored as these bytes under this digest."""
    if data is None:
        raise WeightsPruned(f"the weights of version {version_id} were dropped to save space")
    found = parse(data)
    if digest(found) != name:
        raise CorruptCheckpoint(f"stored weights of version {version_id} do not have the digest {name}")
    return found


async def break_after(connection: AsyncConnection, version_id: int) -> tuple[int, VersionKind] | None:
    """The first later version that is no minor update, and its kind: there the line stops being what learning made of it."""
    query = (
        select(model_versions.c.id, model_versions.c.kind)
        .where(model_versions.c.id > version_id, model_versions.c.kind != str(VersionKind.MINOR))
        .order_by(model_versions.c.id)
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return (row.id, VersionKind(row.kind)) if row else None


async def append(connection: AsyncConnection, version: Version) -> None:
    """Adds the newest version and its duel's score, and tells every API process. A duel that it replaces is abandoned.

    Raises:
        VersionConflict: its parent has a child already, or is not there.
    """
    digests = [
        await keep(connection, network) for network in (version.model.current, version.model.explore, version.model.memory)
    ]
    row = {
        "id": version.id,
        "parent_id": version.parent_id,
        "kind": str(version.kind),
        "created_at": version.created_at,
        "current_digest": digests[0],
        "explore_digest": digests[1],
        "memory_digest": digests[2],
        "duel": asdict(version.duel),
        "watermark": version.watermark,
        "config": version.config.to_json(),
        "schema": version.schema,
        "metrics": dict(version.metrics),
        "digest": version.digest,
        "holdback": asdict(version.holdback),
    }
    try:
        await connection.execute(insert(model_versions), row)
    except IntegrityError as error:
        raise VersionConflict(f"version {version.id} cannot follow {version.parent_id}: {error.orig}") from error
    await duels.follow(connection, version)
    await connection.execute(select(func.pg_notify(CHANNEL, str(version.id))))


async def keep(connection: AsyncConnection, network: Weights) -> str:
    """Stores weights unless they are there, and returns their digest."""
    name = digest(network)
    present = await connection.scalar(select(weights.c.digest).where(weights.c.digest == name, weights.c.data.is_not(None)))
    if present is None:
        new = insert(weights).values(digest=name, data=dump(network))
        again = {"data": new.excluded.data, "pruned_at": None}
        await connection.execute(new.on_conflict_do_update(index_elements=[weights.c.digest], set_=again))
    return name


async def listing(connection: AsyncConnection, limit: int = 100, before: int | None = None) -> list[VersionRow]:
    """The newest versions, newest first; `before` a version id for the next page."""
    pruned = (
        select(func.bool_or(weights.c.data.is_(None)))
        .where(weights.c.digest.in_([model_versions.c.current_digest, model_versions.c.explore_digest]))
        .scalar_subquery()
        .label("pruned")
    )
    query = select(model_versions, pruned).order_by(model_versions.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(model_versions.c.id < before)
    return [version_row(row) for row in await connection.execute(query)]


def version_row(row: Row[tuple[object, ...]]) -> VersionRow:
    return VersionRow(
        id=row.id,
        parent_id=row.parent_id,
        kind=VersionKind(row.kind),
        created_at=row.created_at,
        duel=DuelState(**row.duel),
        watermark=row.watermark,
        config_digest=Config.from_json(row.config).digest,
        schema=row.schema,
        metrics=row.metrics,
        digest=row.digest,
        pruned=row.pruned,
    )


async def prune(connection: AsyncConnection, served_since: datetime, most: int, now: datetime) -> int:
    """Drops weights that are no longer wanted; returns how many networks went.

    Both networks stay of versions that have served at `served_since` or later, of the newest `most` at most, of the
    newest `LANDMARKS` that are no minor updates, and of the hold-back's reference. A learner's memory is of use to the newest
    version alone. Nothing goes while a learner is at work, who may be about to use old weights again.
    """
    if not await try_hold(connection, LEARN):
        return 0
    newest = await head_id(connection) or 0
    # A version serves until its child is made: the last one made before `served_since` served on beyond it.
    first = await connection.scalar(select(func.max(model_versions.c.id)).where(model_versions.c.created_at <= served_since))
    landmarks = (
        select(model_versions.c.id)
        .where(model_versions.c.kind != str(VersionKind.MINOR))
        .order_by(model_versions.c.id.desc())
        .limit(LANDMARKS)
    )
    reference = await connection.scalar(
        select(model_versions.c.holdback["reference"].astext.cast(BigInteger)).where(model_versions.c.id == newest)
    )
    recent = model_versions.c.id >= max(first or 0, newest - most + 1)
    wanted = or_(recent, model_versions.c.id.in_(landmarks), model_versions.c.id == reference)
    served = or_(model_versions.c.current_digest == weights.c.digest, model_versions.c.explore_digest == weights.c.digest)
    remembered = and_(model_versions.c.id > newest - MEMORIES, model_versions.c.memory_digest == weights.c.digest)
    kept = or_(*(select(1).where(which).exists() for which in (and_(wanted, served), remembered)))
    pruned = await connection.execute(update(weights).where(weights.c.data.is_not(None), ~kept).values(data=None, pruned_at=now))
    return pruned.rowcount
