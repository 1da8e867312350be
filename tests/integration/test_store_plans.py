"""Hot queries go through indexes, and to the days that they need: asked of PostgreSQL itself, on a filled log."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.errors import CorruptCheckpoint
from drn.types import Entry
from service.store import articles, counters, feedback, impressions, partitions
from service.store.engine import create_engine, reading, writing
from service.store.lookups import HISTORY, LIST

DAYS = 8
PER_DAY = 1_500
FILL = """
WITH registered AS (
    INSERT INTO requests (request_id, at)
    SELECT 'r' || i, CAST(:first AS timestamptz) + i * interval '1 day' / :per_day
    FROM generate_series(0, :days * :per_day - 1) AS i
    RETURNING *
)
INSERT INTO impressions
SELECT seq, at, request_id, 'u' || seq % 500, 1, 7, 3, true, '', '', '{}', '{}', '{a,b,c}', '\\x00',
    decode(repeat('00', 12), 'hex'), decode(repeat('00', 12), 'hex'),
    '{a,b,c}', '{.5,.5,.5}', '{1,1,1}', '{f,f,f}', '{}', NULL, 'w' || seq % 2
FROM registered
"""
FEEDBACK = """
INSERT INTO feedback (event_id, request_id, article_id, user_id, type, at, received_at, writer)
SELECT 'e' || seq, request_id, 'a', user_id, CASE WHEN seq % 5 = 0 THEN 'dwell' ELSE 'click' END, at, at, writer FROM impressions
"""
ARTICLES = """
INSERT INTO articles (id, revision, title, published_at, abstract, topics, entities, stored_at)
SELECT 'a' || i, nextval('article_revision'), 't', :first, '', '{}', '{}', :first FROM generate_series(1, 3000) AS i
"""


@dataclass(frozen=True)
class Scan:
    """One relation that was read in fact."""

    kind: str
    relation: str
    rows: float


@pytest.fixture(scope="module")
def first() -> datetime:
    return datetime(2026, 11, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
async def full_engine(fresh_database: Callable[[], AbstractContextManager[str]], first: datetime) -> AsyncIterator[AsyncEngine]:
    """One filled database for all tests here; they only read."""
    with fresh_database() as url:
        engine = create_engine(url)
        async with writing(engine) as connection:
            await partitions.ensure_partitions(connection, [(first + timedelta(days=i)).date() for i in range(DAYS)])
            await connection.execute(text(FILL), {"first": first, "days": DAYS, "per_day": PER_DAY})
            await connection.execute(text(FEEDBACK))
            await connection.execute(text(ARTICLES), {"first": first})
        async with writing(engine) as connection:
            await connection.execute(text("ANALYZE"))
        yield engine
        await engine.dispose()


@pytest.fixture
async def filled(full_engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with reading(full_engine) as connection:
        yield connection


@contextmanager
def captured(connection: AsyncConnection) -> Iterator[list[tuple[str, Any]]]:
    """The statements sent while the block runs."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(connection.sync_connection, "before_cursor_execute", note)
    yield sent
    event.remove(connection.sync_connection, "before_cursor_execute", note)


async def scans(connection: AsyncConnection, query: Callable[[], Awaitable[Any]]) -> list[Scan]:
    """What the statements behind `query` read. Branches that were pruned or never reached do not count."""
    with captured(connection) as sent:
        await query()
    found: list[Scan] = []
    for statement, parameters in sent:
        if not statement.lstrip().startswith(("SELECT", "WITH")):
            continue
        explained = await connection.exec_driver_sql("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
        found.extend(walk(explained.scalar_one()[0]["Plan"]))
    assert found
    return found


def walk(node: dict[str, Any]) -> Iterator[Scan]:
    if node["Actual Loops"] == 0:
        return
    if "Relation Name" in node:
        yield Scan(node["Node Type"], node["Relation Name"], node["Actual Rows"] * node["Actual Loops"])
    for child in node.get("Plans", []):
        yield from walk(child)


def assert_indexed(found: list[Scan], days: int) -> None:
    assert [scan for scan in found if scan.kind == "Seq Scan"] == []
    assert len({scan.relation for scan in found if scan.relation.startswith("impressions_")}) <= days


async def test_one_impression_is_found_in_its_own_day(filled: AsyncConnection) -> None:
    found = await scans(filled, lambda: undecodable(impressions.by_request_id(filled, "r5000")))
    assert_indexed(found, days=1)
    assert sum(scan.rows for scan in found) == 2


async def test_lists_of_feedback_are_found_in_their_own_days(filled: AsyncConnection) -> None:
    wanted = {"ids": ["r1", "r2", "r1000", f"r{PER_DAY + 5}"]}
    found = await scans(filled, lambda: filled.exec_driver_sql(LIST.replace("$1", "%(ids)s"), wanted))
    assert_indexed(found, days=2)
    assert sum(scan.rows for scan in found) == 8


async def test_what_is_new_in_the_log(filled: AsyncConnection) -> None:
    newest = DAYS * PER_DAY
    missing = [newest - place for place in range(60, 20, -3)]
    found = await scans(filled, lambda: impressions.exposures_since(filled, newest - 20, "w0", missing=missing))
    assert_indexed(found, days=DAYS)
    found = await scans(filled, lambda: feedback.events_since(filled, newest - 20, "w0", missing=missing))
    assert_indexed(found, days=0)
    assert sum(scan.rows for scan in found) <= len(missing) + 20


async def test_the_next_impressions_to_learn_from(filled: AsyncConnection, first: datetime) -> None:
    newest = DAYS * PER_DAY
    before = first + timedelta(days=DAYS)
    found = await scans(filled, lambda: impressions.closed_after(filled, newest - 50, newest, before, before, "any", 20))
    assert_indexed([scan for scan in found if scan.relation != "model_versions"], days=DAYS)  # empty here, so read whole
    assert sum(scan.rows for scan in found) <= 200


async def test_the_replay_of_a_retraining(filled: AsyncConnection, first: datetime) -> None:
    newest = DAYS * PER_DAY
    found = await scans(filled, lambda: impressions.newest_closed(filled, newest, first + timedelta(days=DAYS), "any", 20))
    assert_indexed([scan for scan in found if scan.relation != "model_versions"], days=DAYS)  # empty here, so read whole
    assert sum(scan.rows for scan in found) <= 200
    drawn = [Entry(seq, first + timedelta(days=day), None, True) for seq, day in ((newest - 9, 0), (newest, DAYS))]
    found = await scans(filled, lambda: impressions.these(filled, drawn, "any"))
    assert_indexed([scan for scan in found if scan.relation != "model_versions"], days=DAYS)
    assert sum(scan.rows for scan in found) <= 20


async def undecodable(rows: Awaitable[Any]) -> None:
    """These hollow impressions are read, but have no features to unpack."""
    with pytest.raises(CorruptCheckpoint):
        await rows


async def test_the_horizon(filled: AsyncConnection) -> None:
    found = await scans(filled, lambda: filled.execute(impressions.HIGHEST))
    assert {scan.relation for scan in found} == {"impression_seq", "feedback_seq"}


async def test_one_readers_history(filled: AsyncConnection) -> None:
    statement = HISTORY.replace("$1", "%(readers)s").replace("$2", "%(clicks)s")
    found = await scans(filled, lambda: filled.exec_driver_sql(statement, {"readers": ["u7", "nobody"], "clicks": 300}))
    assert_indexed(found, days=DAYS)
    assert sum(scan.rows for scan in found) < 100


async def test_counts_of_short_windows_read_no_older_days(filled: AsyncConnection, first: datetime) -> None:
    now = first + timedelta(days=DAYS, seconds=-1)
    newest = DAYS * PER_DAY
    second = int(now.timestamp())
    assert_indexed(await scans(filled, lambda: counters.one_window(filled, "exposures", 1, second, newest)), days=1)
    assert_indexed(await scans(filled, lambda: counters.one_window(filled, "clicks", 1, second, newest)), days=0)


async def test_articles(filled: AsyncConnection) -> None:
    assert_indexed(await scans(filled, lambda: articles.get(filled, "a7")), days=0)
    assert_indexed(await scans(filled, lambda: articles.changed_since(filled, 2_990)), days=0)
    assert_indexed(await scans(filled, lambda: articles.present(filled, ["a7", "a8", "unknown"])), days=0)
