"""Duels and what each impression said in them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, ColumnElement, Row, Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import DuelState, Verdict
from drn.versions import Version
from service.store.tables import duel_outcomes, duels, requests

if TYPE_CHECKING:  # drn.updates imports torch, which no API process loads
    from drn.updates import MinorUpdate

SCORE = tuple(spec.name for spec in fields(DuelState) if spec.name != "id")


@dataclass(frozen=True, slots=True)
class DuelRow:
    state: DuelState
    opened_at: datetime
    closed_at: datetime | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one impression said; above 0 speaks for explore."""

    request_id: str
    at: datetime
    duel_id: int
    version_id: int
    user_id: str | None
    clicks: int
    outcome: float


async def follow(connection: AsyncConnection, version: Version) -> None:
    """Writes the duel of a version that was just appended: a new one, or the score of the one that goes on."""
    await connection.execute(
        update(duels)
        .where(duels.c.closed_at.is_(None), duels.c.id != version.duel.id)
        .values(closed_at=version.created_at, verdict=str(Verdict.ABANDONED))
    )
    score = {name: value for name, value in asdict(version.duel).items() if name in SCORE}
    opened = insert(duels).values(id=version.duel.id, opened_at=version.created_at, **score)
    await connection.execute(opened.on_conflict_do_update(index_elements=[duels.c.id], set_=score))


async def settle(connection: AsyncConnection, minor: "MinorUpdate") -> None:
    """Writes what a minor update has judged, after its version was appended.

    A reader may have been erased while the update computed; what they said stays as an anonymous number.

    Raises:
        sqlalchemy.exc.IntegrityError: an impression was settled before.
    """
    if minor.verdict is not Verdict.UNDECIDED:
        await close(connection, minor.judged_duel, minor.verdict, minor.version.created_at)
    rows = [
        {
            "request_id": settled.request_id,
            "at": settled.at,
            "duel_id": minor.judged_duel.id,
            "version_id": minor.version.id,
            "user_id": settled.user_id,
            "clicks": settled.clicks,
            "outcome": settled.outcome,
        }
        for settled in minor.settled
    ]
    if rows:
        await connection.execute(insert(duel_outcomes), rows)
        present = await hold_requests(connection, [settled.request_id for settled in minor.settled])
        gone = [settled.request_id for settled in minor.settled if settled.request_id not in present]
        await unname(connection, duel_outcomes.c.request_id == one_of(gone))


async def hold_requests(connection: AsyncConnection, request_ids: Sequence[str]) -> set[str]:
    """Those of these requests that are still in the log; until the transaction ends, nobody can erase them.

    An erasure locks its requests in the same order, so either it is waited for here and its requests are gone, or it waits
    for this transaction and finds what that has written.
    """
    held = (
        select(requests.c.request_id)
        .where(requests.c.request_id == one_of(request_ids))
        .order_by(requests.c.request_id)
        .with_for_update(read=True, key_share=True)
    )
    return set(await connection.scalars(held))


async def unname(connection: AsyncConnection, which: ColumnElement[bool]) -> int:
    """Takes reader and request from these outcomes: the reading app may still know whose request it was."""
    nameless = {"user_id": None, "request_id": func.concat("erased-", func.gen_random_uuid())}
    return (await connection.execute(update(duel_outcomes).where(which).values(nameless))).rowcount


def one_of(ids: Sequence[str]) -> ColumnElement[str]:
    """Compares with any of these: one parameter, however many there are."""
    return bindparam(None, list(ids), type_=ARRAY(Text), unique=True).any_()


async def close(connection: AsyncConnection, duel: DuelState, verdict: Verdict, at: datetime) -> None:
    """The duel's final score and verdict."""
    score = {name: value for name, value in asdict(duel).items() if name in SCORE}
    await connection.execute(update(duels).where(duels.c.id == duel.id).values(closed_at=at, verdict=str(verdict), **score))


async def listing(connection: AsyncConnection, limit: int = 100) -> list[DuelRow]:
    """The newest duels, newest first."""
    query = select(duels).order_by(duels.c.id.desc()).limit(limit)
    return [duel_row(row) for row in await connection.execute(query)]


async def outcomes(connection: AsyncConnection, duel_id: int) -> list[Outcome]:
    """What the impressions of one duel said, in time order."""
    columns = [duel_outcomes.c[name] for name in Outcome.__slots__]
    query = select(*columns).where(duel_outcomes.c.duel_id == duel_id).order_by(duel_outcomes.c.at, duel_outcomes.c.request_id)
    return [Outcome(**row._mapping) for row in await connection.execute(query)]


def duel_row(row: Row[tuple[object, ...]]) -> DuelRow:
    state = DuelState(row.id, *(getattr(row, name) for name in SCORE))
    return DuelRow(state, row.opened_at, row.closed_at, Verdict(row.verdict))
