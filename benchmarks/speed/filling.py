"""A database like that of a newsroom which has been running for days: live articles, readers with histories, a long log."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.config import Config
from drn.types import Article
from drn.versions import initial_version
from service.store import articles, counters, versions
from service.store.engine import LEARNING, create_engine, writing
from service.store.partitions import ensure_partitions

DAYS = 7  # over which the log is spread, the last of them today
CLICKS_PER_IMPRESSION = 0.3
CHUNK = 100_000  # impressions per transaction
SHOWN = 10

# Popularity falls off steeply: squaring a uniform draw puts half of all showings on the newest quarter.
IMPRESSIONS = """
WITH drawn AS (
    SELECT i, 'past-' || i AS request_id, 'u' || floor(random() * :readers)::int AS user_id,
        :start ::timestamptz + i * (:step * interval '1 second') AS at,
        (SELECT array_agg('a' || ((floor(power(random(), 2) * (:articles - 20))::int + 2 * j) % :articles)) AS ids
            FROM generate_series(1, 10) AS j WHERE i IS NOT NULL) AS ids
    FROM generate_series(:first ::int, :last ::int) AS i
), registered AS (
    INSERT INTO requests (request_id, at) SELECT request_id, at FROM drawn ORDER BY i RETURNING request_id, seq
), logged AS (
    INSERT INTO impressions
    SELECT seq, at, request_id, user_id, 1, 1, 10, true, 'mobile', 'home', '{}', '{}', ids, :observation, :scores, :scores,
        ids, array_fill(0.5::real, '{10}'), array_fill(0.1::real, '{10}'), array_fill(false, '{10}'), '{}', NULL, 'past'
    FROM drawn JOIN registered USING (request_id)
)
INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, received_at, writer)
SELECT 'past-' || i, request_id, ids[1 + floor(power(random(), 2) * 9)::int], user_id, 'click', at, at, 'past'
FROM drawn WHERE random() < :clicks
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is."""

    articles: int
    readers: int
    impressions: int


async def fill(url: str, sizes: Sizes) -> None:
    """Fills a migrated, empty database."""
    engine = create_engine(url, timeouts=LEARNING)
    now = datetime.now(UTC)
    rng = np.random.default_rng(0)
    try:
        async with writing(engine) as connection:
            await articles.upsert(connection, list(newsroom(sizes.articles, now, rng)), now)
            await versions.append(connection, initial_version(Config.profile("default", direction="random"), now))
            await ensure_partitions(connection, [(now - timedelta(days=day)).date() for day in range(-1, DAYS + 1)])
        await fill_log(engine, sizes, now)
        async with writing(engine) as connection:
            await counters.count_hours(connection, now)
    finally:
        await engine.dispose()


async def fill_log(engine: AsyncEngine, sizes: Sizes, now: datetime) -> None:
    start = now - timedelta(days=DAYS)
    values = {
        "readers": sizes.readers,
        "articles": sizes.articles,
        "start": start,
        "step": DAYS * 86_400 / (sizes.impressions + 1),
        "observation": bytes(np.random.default_rng(1).integers(0, 256, 1_000, np.uint8)),  # as long as one of ten candidates
        "scores": np.zeros(SHOWN, "<f4").tobytes(),
        "clicks": CLICKS_PER_IMPRESSION,
    }
    for first in range(1, sizes.impressions + 1, CHUNK):
        async with writing(engine) as connection:
            last = min(first + CHUNK - 1, sizes.impressions)
            await connection.execute(text(IMPRESSIONS), values | {"first": first, "last": last})
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await analyse(connection)


async def analyse(connection: AsyncConnection) -> None:
    await connection.execute(text("VACUUM ANALYZE"))


def newsroom(count: int, now: datetime, rng: np.random.Generator) -> Iterator[Article]:
    """Live articles of the last four days with a dozen content columns each."""
    for i in range(count):
        words, entities = rng.integers(0, 3_000, 9), rng.integers(0, 2_000, 4)
        yield Article(
            id=f"a{i}",
            title=" ".join(f"word{word}" for word in words),
            published_at=now - timedelta(hours=96 * i / count + 0.1),
            provider=f"provider {i % 7}",
            category=f"category {i % 20}",
            topics=(f"topic {i % 50}", f"topic {i % 33}"),
            entities=tuple(f"entity {entity}" for entity in entities),
            embedding=tuple(rng.normal(size=32).tolist()),
        )
