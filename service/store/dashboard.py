"""What the dashboard reads. Every query looks at a bounded piece of the log, by an index."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, and_, cast, distinct, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import HoldbackState, Verdict, VersionKind
from service.store.tables import (
    articles,
    duel_outcomes,
    duels,
    feedback,
    impressions,
    model_versions,
    weights,
)

SLICE = timedelta(seconds=15)  # the grain of what is counted over time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PIECE = 1_000  # rows that are decoded at a time
MOST_WAITING = 10_000  # more impressions than these are not counted one by one


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was served and clicked in one slice of time."""

    lists: int = 0
    shown: int = 0
    fallbacks: int = 0
    clicks: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """How the impressions of one slice of time spoke in their duels."""

    wins: int = 0
    losses: int = 0
    ties: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One settled impression."""

    at: datetime
    version_id: int  # the version that it led to
    user_id: str | None
    clicks: int
    value: float  # positive for explore


@dataclass(frozen=True, slots=True)
class LineRow:
    """One link of the line, without its weights."""

    id: int
    parent_id: int | None
    kind: VersionKind
    created_at: datetime
    duel_id: int
    watermark: int
    digest: str
    metrics: Mapping[str, float]
    ended: Verdict | None  # the verdict of the duel that this version ended
    servable: bool  # its weights are still kept
    holdback: HoldbackState


@dataclass(frozen=True, slots=True)
class ShownArticle:
    """An article of the newest lists."""

    id: str
    title: str
    category: str | None
    shown: int
    clicks: int
    pinned: bool
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class ReaderDay:
    """The readers of one day (UTC), and how many of them were there on the next day as well."""

    readers: int
    returned: int


async def first_impression_at(connection: AsyncConnection) -> datetime | None:
    """When the log begins."""
    at: datetime | None = await connection.scalar(select(func.min(impressions.c.at)))
    return at


async def traffic(connection: AsyncConnection, since: datetime, until: datetime) -> dict[datetime, Traffic]:
    """Lists, slots and credited clicks in [since, until), by slice. A second click on the same slot counts once."""
    slice_ = func.date_bin(cast(SLICE, INTERVAL), impressions.c.at, EPOCH).label("start")
    served = await connection.execute(
        select(
            slice_,
            func.count().label("lists"),
            func.coalesce(func.sum(func.cardinality(impressions.c.shown)), 0).label("shown"),
            func.count(impressions.c.fallback).label("fallbacks"),
        )
        .where(impressions.c.at >= since, impressions.c.at < until)
        .group_by(slice_)
    )
    slice_ = func.date_bin(cast(SLICE, INTERVAL), feedback.c.at, EPOCH).label("start")
    clicked = await connection.execute(
        select(slice_, func.count(distinct(tuple_(feedback.c.request_id, feedback.c.article_id))).label("clicks"))
        .where(feedback.c.at >= since, feedback.c.at < until, feedback.c.type == "click", feedback.c.request_id.is_not(None))
        .group_by(slice_)
    )
    clicks = {row.start: row.clicks for row in clicked}
    found = {row.start: Traffic(row.lists, int(row.shown), row.fallbacks, clicks.pop(row.start, 0)) for row in served}
    return found | {at: Traffic(clicks=count) for at, count in clicks.items()}


async def first_outcome_at(connection: AsyncConnection) -> datetime | None:
    """When the oldest settled impression was served."""
    at: datetime | None = await connection.scalar(select(func.min(duel_outcomes.c.at)))
    return at


async def scores(
    connection: AsyncConnection, since: datetime, until: datetime | None, after_version: int, up_to_version: int
) -> dict[datetime, Score]:
    """Wins, losses and ties of impressions served in [since, until) that led to versions in (after, up to], by slice."""
    slice_ = func.date_bin(cast(SLICE, INTERVAL), duel_outcomes.c.at, EPOCH).label("start")
    query = (
        select(
            slice_,
            func.count().filter(duel_outcomes.c.outcome > 0).label("wins"),
            func.count().filter(duel_outcomes.c.outcome < 0).label("losses"),
            func.count().filter(duel_outcomes.c.outcome == 0).label("ties"),
        )
        .where(
            duel_outcomes.c.at >= since,
            duel_outcomes.c.version_id > after_version,
            duel_outcomes.c.version_id <= up_to_version,
        )
        .group_by(slice_)
    )
    if until is not None:
        query = query.where(duel_outcomes.c.at < until)
    return {row.start: Score(row.wins, row.losses, row.ties) for row in await connection.execute(query)}


async def outcomes(
    connection: AsyncConnection, first_duel: int, after_version: int, up_to_version: int
) -> AsyncIterator[Sequence[Outcome]]:
    """Settled impressions of the duels from `first_duel` on that led to versions in (after, up to], by time, in pieces.

    Pieces, because decoding all rows at once would make the process's other requests wait.
    """
    query = (
        select(duel_outcomes)
        .where(
            duel_outcomes.c.duel_id >= first_duel,
            duel_outcomes.c.version_id > after_version,
            duel_outcomes.c.version_id <= up_to_version,
        )
        .order_by(duel_outcomes.c.at, duel_outcomes.c.request_id)
    )
    result = await connection.stream(query)
    async for rows in result.partitions(PIECE):
        yield [Outcome(row.at, row.version_id, row.user_id, row.clicks, row.outcome) for row in rows]


async def waiting(connection: AsyncConnection, watermark: int) -> int:
    """Impressions that may speak in a duel and have not been settled; counted up to 10 000."""
    newer = select(impressions.c.seq).where(impressions.c.seq > watermark, impressions.c.explore).limit(MOST_WAITING).subquery()
    return int(await connection.scalar(select(func.count()).select_from(newer)) or 0)


async def line(connection: AsyncConnection, limit: int) -> list[LineRow]:
    """The newest links of the line, oldest first."""
    version, parent, lost = model_versions, model_versions.alias("parent"), weights.alias("lost")
    duel_id = version.c.duel["id"].astext.cast(BigInteger)
    parent_duel = parent.c.duel["id"].astext.cast(BigInteger)
    pruned = exists().where(
        lost.c.digest.in_([version.c.current_digest, version.c.explore_digest]),
        lost.c.pruned_at.is_not(None),
    )
    query = (
        select(version, duel_id.label("duel_id"), duels.c.verdict.label("ended"), (~pruned).label("servable"))
        .outerjoin(parent, parent.c.id == version.c.parent_id)
        .outerjoin(duels, and_(duels.c.id == parent_duel, parent_duel != duel_id))
        .order_by(version.c.id.desc())
        .limit(limit)
    )
    rows = [
        LineRow(
            id=row.id,
            parent_id=row.parent_id,
            kind=VersionKind(row.kind),
            created_at=row.created_at,
            duel_id=row.duel_id,
            watermark=row.watermark,
            digest=row.digest,
            metrics=row.metrics,
            ended=Verdict(row.ended) if row.ended else None,
            servable=row.servable,
            holdback=HoldbackState(**row.holdback),
        )
        for row in await connection.execute(query)
    ]
    return rows[::-1]


async def most_shown(connection: AsyncConnection, since: datetime, newest: int, limit: int) -> list[ShownArticle]:
    """The articles that the `newest` lists since then showed most often, with the clicks that these lists got."""
    recent = (
        select(impressions.c.request_id, impressions.c.shown, impressions.c.pinned)
        .where(impressions.c.at >= since)
        .order_by(impressions.c.seq.desc())
        .limit(newest)
        .cte("recent")
        .prefix_with("MATERIALIZED")
    )
    slot = func.unnest(recent.c.shown, recent.c.pinned).table_valued("article_id", "pinned").render_derived(name="slot")
    slots = (
        select(recent.c.request_id, slot.c.article_id, slot.c.pinned)
        .select_from(recent)
        .join(slot, recent.c.request_id.is_not(None))
        .cte("slots")
    )
    clicked = (
        select(feedback.c.request_id, feedback.c.article_id)
        .where(feedback.c.request_id.in_(select(recent.c.request_id)), feedback.c.type == "click")
        .distinct()
        .subquery("clicked")
    )
    query = (
        select(
            articles.c.id,
            articles.c.title,
            articles.c.category,
            func.count().label("shown"),
            func.count(clicked.c.article_id).label("clicks"),
            func.bool_or(slots.c.pinned).label("pinned"),
            articles.c.withdrawn_at.is_not(None).label("withdrawn"),
        )
        .select_from(slots)
        .join(articles, articles.c.id == slots.c.article_id)
        .outerjoin(clicked, and_(clicked.c.request_id == slots.c.request_id, clicked.c.article_id == slots.c.article_id))
        .group_by(articles.c.id)
        .order_by(func.count().desc(), articles.c.id)
        .limit(limit)
    )
    return [
        ShownArticle(row.id, row.title, row.category, row.shown, row.clicks, bool(row.pinned), row.withdrawn)
        for row in await connection.execute(query)
    ]


async def reader_day(connection: AsyncConnection, day: datetime) -> ReaderDay:
    """The readers of the 24 hours from `day` on, and those of them who were there in the 24 hours after."""
    later = impressions.alias("later")
    readers = (
        select(impressions.c.user_id)
        .where(impressions.c.at >= day, impressions.c.at < day + DAY, impressions.c.user_id.is_not(None))
        .distinct()
        .subquery("readers")
    )
    again = exists().where(later.c.user_id == readers.c.user_id, later.c.at >= day + DAY, later.c.at < day + 2 * DAY)
    row = (await connection.execute(select(func.count(), func.count().filter(again)).select_from(readers))).one()
    return ReaderDay(row[0], row[1])
