"""A database like that of a newsroom which has been running for weeks: live articles, readers with histories, a long log.

The log is made of lists that an API process really served: they are copied inside PostgreSQL under other request ids, for
other readers, at other times. Everything in it can be read, learned from and decided again.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.speed.load import each_once
from benchmarks.speed.processes import Server, api, cores, free_port
from drn.config import Config
from drn.types import Article
from drn.versions import initial_version
from service.store import articles, counters, tables, versions
from service.store.engine import Timeouts, create_engine, writing
from service.store.partitions import ensure_partitions

PER_DAY = 150_000  # impressions: a million in a week
CLICKS_PER_IMPRESSION = 0.3
HISTORY = 10  # clicks per reader that did not come from a list: what they read before drn was there
REPLAY = 20_000  # newest impressions, with 100 candidates as a newsroom sends them: those that a learner reads
SHORT, LONG = 6, 100  # candidates of older impressions, which are most of the bytes of a log, and of these
LISTS = 1_000  # different ones that are copied
CHUNK = 200_000  # impressions per transaction
FILLING = Timeouts(connect=10.0, statement=3_600.0, lock=60.0, idle_in_transaction=3_600.0)

NAMES = [column.name for column in tables.impressions.c]
COPIED = {
    "seq": "drawn.seq",
    "at": "drawn.at",
    "request_id": "drawn.request_id",
    "user_id": "drawn.user_id",
    "version_id": "1",
    "writer": "'past'",
}
IMPRESSIONS = f"""
WITH drawn AS MATERIALIZED (
    SELECT seq, 'past-' || seq AS request_id, 'u' || floor(random() * :readers)::int AS user_id,
        CAST(:start AS timestamptz) + seq * (:step * interval '1 second') AS at, 1 + floor(random() * :lists)::int AS list
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS seq
), registered AS (
    INSERT INTO requests (request_id, seq, at) SELECT request_id, seq, at FROM drawn
), logged AS (
    INSERT INTO impressions SELECT {", ".join(COPIED.get(name, f"served.{name}") for name in NAMES)}
    FROM drawn JOIN served ON served.candidates_asked = :candidates AND served.number = drawn.list
)
INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, received_at, writer)
SELECT drawn.request_id, drawn.request_id, shown[1 + floor(power(random(), 2) * cardinality(shown))::int], drawn.user_id,
    'click', drawn.at, drawn.at, 'past'
FROM drawn JOIN served ON served.candidates_asked = :candidates AND served.number = drawn.list WHERE random() < :clicks
"""
HISTORIES = """
INSERT INTO feedback (event_id, article_id, user_id, type, at, received_at, writer)
SELECT 'history-' || i, 'a' || floor(power(random(), 2) * :articles)::int, 'u' || i % :readers, 'click', at, at, 'past'
FROM (
    SELECT i, CAST(:start AS timestamptz) - (CAST(:clicks AS bigint) - i) * interval '5 seconds' AS at
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS i
) AS drawn
"""
SERVED = """
CREATE UNLOGGED TABLE served AS
SELECT cardinality(candidates) AS candidates_asked,
    row_number() OVER (PARTITION BY cardinality(candidates) ORDER BY seq) AS number, *
FROM impressions
"""
EMPTY = "TRUNCATE impressions, requests, feedback"
SECONDARY = """
SELECT i.indexname, replace(i.indexdef, ' ON ONLY ', ' ON ') AS definition FROM pg_indexes AS i
WHERE i.tablename IN ('impressions', 'feedback') AND i.indexdef NOT LIKE 'CREATE UNIQUE%'
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is."""

    articles: int
    readers: int
    impressions: int

    @property
    def days(self) -> int:
        """Over which the log is spread, the last of them today; a small one is spread as thinly as a week would."""
        return max(7, ceil(self.impressions / PER_DAY))


async def fill(url: str, sizes: Sizes) -> None:
    """Fills a migrated, empty database."""
    now = datetime.now(UTC)
    await begin(url, sizes, now)
    with api(url, free_port(), cores()[0]) as server:
        for candidates in (SHORT, LONG):
            await asyncio.to_thread(serve_lists, server, sizes.articles, candidates)
    engine = create_engine(url, timeouts=FILLING)
    try:
        await administer(engine, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        await fill_log(engine, sizes, now)
        async with writing(engine) as connection:
            await counters.count_log(connection, now)
        await settle(engine)
    finally:
        await engine.dispose()


async def begin(url: str, sizes: Sizes, now: datetime) -> None:
    """Articles and a first version, in a migrated, empty database: what an API process needs."""
    engine = create_engine(url, timeouts=FILLING)
    try:
        async with writing(engine) as connection:
            await articles.upsert(connection, list(newsroom(sizes.articles, now, np.random.default_rng(0))), now)
            await versions.append(connection, initial_version(Config.profile("default", direction="random"), now))
    finally:
        await engine.dispose()


def serve_lists(server: Server, count: int, candidates: int) -> None:
    """Real lists, for nobody in particular. Popularity falls off steeply: half of all candidates are of the newest quarter.

    Raises:
        RuntimeError: some were not served.
    """
    rng = np.random.default_rng(candidates)
    bodies = []
    for _ in range(LISTS):
        rows = np.unique((rng.random(4 * candidates) ** 2 * count).astype(int))
        chosen = rng.choice(rows, candidates, replace=False)
        bodies.append(json.dumps({"k": 10, "candidates": [f"a{row}" for row in chosen]}).encode())
    if errors := each_once(server, "/rank", bodies):
        raise RuntimeError(f"{errors} of {LISTS} lists were not served")


async def fill_log(engine: AsyncEngine, sizes: Sizes, now: datetime) -> None:
    """Copies the lists that were served, without the indexes and triggers that a row at a time needs."""
    start = now - timedelta(days=sizes.days)
    long = min(REPLAY, sizes.impressions)
    step = sizes.days * 86_400 / (sizes.impressions + 1)
    values = {"readers": sizes.readers, "lists": LISTS, "start": start, "step": step, "clicks": CLICKS_PER_IMPRESSION}
    async with bulk(engine) as connection:
        await connection.execute(text(SERVED))
        await connection.execute(text(EMPTY))
        await ensure_partitions(connection, [(now - timedelta(days=day)).date() for day in range(-1, sizes.days + 1)])
        indexes = (await connection.execute(text(SECONDARY))).all()
        for index in indexes:
            await connection.execute(text(f"DROP INDEX {index.indexname}"))
    for first, last in chunks(HISTORY * sizes.readers):
        async with bulk(engine) as connection:
            counts = {"articles": sizes.articles, "readers": sizes.readers, "clicks": HISTORY * sizes.readers}
            await connection.execute(text(HISTORIES), counts | {"start": start, "first": first, "last": last})
    for candidates, begin, end in ((SHORT, 0, sizes.impressions - long), (LONG, sizes.impressions - long, sizes.impressions)):
        for first, last in chunks(end - begin):
            async with bulk(engine) as connection:
                place = {"candidates": candidates, "first": begin + first, "last": begin + last}
                await connection.execute(text(IMPRESSIONS), values | place)
    async with bulk(engine) as connection:
        await connection.execute(text("SELECT setval('impression_seq', :last)"), {"last": sizes.impressions})
        await connection.execute(text("DROP TABLE served"))
        for index in indexes:
            await connection.execute(text(index.definition))


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """1 … count in pieces of `CHUNK`, both ends included."""
    for first in range(1, count + 1, CHUNK):
        yield first, min(first + CHUNK - 1, count)


@asynccontextmanager
async def bulk(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that waits for no disk and fires no trigger: nobody else is there yet, and what it writes is consistent."""
    async with writing(engine) as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("SET LOCAL synchronous_commit = off"))
        await connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        yield connection


async def settle(engine: AsyncEngine) -> None:
    """As autovacuum would leave it, and on the disk: the fill's own traces are not what is measured."""
    await administer(engine, "VACUUM ANALYZE", "CHECKPOINT", "ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()")


async def administer(engine: AsyncEngine, *statements: str) -> None:
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))


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
