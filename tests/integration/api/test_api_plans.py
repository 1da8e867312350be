"""No request and no look at the log reads a table of the log whole: PostgreSQL's own count of such scans, on a filled log.

It counts what really ran, whoever sent it: writers, checks of foreign keys and SQLAlchemy alike. The dashboard is not hot: it
adds up whole days, for which reading them whole is the best plan.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.versions import Version
from service.app import create_app
from service.settings import Settings
from service.store import partitions
from service.store.engine import writing
from tests.integration.api.conftest import CHANGES, Api, article, opened

DAYS = 8
PER_DAY = 1_500
LOG = """
WITH registered AS (
    INSERT INTO requests (request_id, at)
    SELECT 'r' || i, CAST(:first AS timestamptz) + i * interval '1 day' / :per_day
    FROM generate_series(0, :days * :per_day - 1) AS i
    RETURNING *
)
INSERT INTO impressions
SELECT seq, at, request_id, 'u' || seq % 500, 1, 7, 3, true, '', '', '{}', '{}', '{a1,a2,a3}', '\\x00',
    decode(repeat('00', 12), 'hex'), decode(repeat('00', 12), 'hex'),
    '{a1,a2,a3}', '{.5,.5,.5}', '{1,1,1}', '{f,f,f}', '{}', NULL, 'past'
FROM registered
"""
FEEDBACK = """
INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, received_at, writer)
SELECT 'e' || seq, request_id, 'a1', user_id, 'click', at, at, writer FROM impressions
"""
ARTICLES = """
INSERT INTO articles (id, revision, title, published_at, abstract, topics, entities, stored_at)
SELECT 'a' || i, nextval('article_revision'), 't', :first, '', '{}', '{}', :first FROM generate_series(1, 3000) AS i
"""
SCANS = """
SELECT relname, seq_scan FROM pg_stat_user_tables
WHERE relname IN ('requests', 'feedback', 'articles') OR relname LIKE 'impressions\\_%' AND n_live_tup > 1000
"""
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def log(engine: AsyncEngine, initial: Version) -> None:
    """Eight days of lists and clicks, the last of them today."""
    first = datetime.now(UTC) - timedelta(days=DAYS - 1, hours=6)
    async with writing(engine) as connection:
        await partitions.ensure_partitions(connection, [(first + timedelta(days=i)).date() for i in range(DAYS + 1)])
        await connection.execute(text(LOG), {"first": first, "days": DAYS - 1, "per_day": PER_DAY})
        await connection.execute(text(FEEDBACK))
        await connection.execute(text(ARTICLES), {"first": first})
    async with writing(engine) as connection:
        await connection.execute(text("ANALYZE"))
    await engine.dispose()


@pytest.mark.usefixtures("log")
async def test_nothing_hot_reads_a_table_whole(engine: AsyncEngine, database_url: str) -> None:
    starting = await scans_of(engine, database_url, idle)
    serving = await scans_of(engine, database_url, busy)
    assert len(starting) > DAYS
    assert [name for name, times in serving.items() if times > starting[name]] == []


@pytest.mark.usefixtures("log")
async def test_the_count_sees_a_table_that_is_read_whole(engine: AsyncEngine, database_url: str) -> None:
    async def searching(first: Api, _: Api) -> None:
        async with first.node.engine.connect() as connection:
            await connection.execute(text("SELECT count(*) FROM feedback WHERE article_id = 'a9'"))

    starting = await scans_of(engine, database_url, idle)
    assert (await scans_of(engine, database_url, searching))["feedback"] > starting["feedback"]


async def scans_of(engine: AsyncEngine, url: str, work: Callable[[Api, Api], Awaitable[None]]) -> dict[str, int]:
    """How often each table was read whole while two applications started, did this work, and ended."""
    async with engine.connect() as connection:
        before = await whole(connection)
    await engine.dispose()
    settings = Settings(database_url=url, changes=CHANGES, follow_seconds=0.05)
    async with opened(create_app(settings)) as first, opened(create_app(settings)) as second:
        await work(first, second)
    async with engine.connect() as connection:
        while await connection.scalar(text(OTHERS)):  # they tell what they did when they end
            await connection.rollback()
            await asyncio.sleep(0.05)
        after = await whole(connection)
    return {name: times - before[name] for name, times in after.items()}


async def whole(connection: AsyncConnection) -> dict[str, int]:
    await connection.rollback()  # statistics are as of the transaction's first look at them
    return {row.relname: row.seq_scan for row in await connection.execute(text(SCANS))}


async def idle(*_: Api) -> None:
    await asyncio.sleep(0.3)


async def busy(*both: Api) -> None:
    """Everything that readers and newsrooms ask for, and looks at what another process wrote."""
    for api in both:
        answer = await api.rank(user_id="u7", candidates=["a1", "a2", "a3"], k=3)
        again = await api.rank(request_id=answer["request_id"], user_id="u7", candidates=["a1"])
        assert again["items"] == answer["items"]
        await api.rank(user_id="u7")
        place = {"article_id": "a1", "type": "click", "request_id": answer["request_id"]}
        events = [place | {"event_id": f"{answer['request_id']}-{i}"} for i in range(50)]
        organic = {"event_id": answer["request_id"], "article_id": "a9", "type": "click", "user_id": "u8"}
        for body in (events, events, [organic]):  # the second time they are duplicates
            assert (await api.client.post("/feedback", json={"events": body})).status_code == 202
        assert (await api.client.put("/articles", json={"articles": [article("new"), article("a5")]})).status_code == 200
        for path in ("/articles/new", f"/decisions/{answer['request_id']}", "/readyz"):
            assert (await api.client.get(path)).status_code == 200
        assert (await api.client.delete("/articles/new")).status_code == 204
        assert (await api.client.delete("/users/u11")).status_code == 200
        await asyncio.sleep(0.5)
