"""Lists and readers' pasts are found for many requests at once, and over a connection that was cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import feedback
from service.store.engine import libpq_url, writing
from service.store.errors import StoreUnavailable
from service.store.impression_writer import ImpressionWriter
from service.store.lookups import HistoryLookup, ListLookup

Make = Callable[..., Any]


@pytest.fixture
async def lookup(database_url: str) -> AsyncIterator[ListLookup]:
    async with ListLookup(database_url) as opened:
        yield opened


@pytest.fixture
async def written(database_url: str, make_impression: Make, noon: datetime) -> list[int]:
    """The seqs of r0, r1 and r2, of three days; r1 is of nobody."""
    async with ImpressionWriter(database_url, "w1") as writer:
        return [
            await writer.write(make_impression(f"r{i}", noon - timedelta(days=i), user_id=None if i == 1 else f"u{i}"))
            for i in range(3)
        ]


async def test_lists_tell_who_saw_what(lookup: ListLookup, written: list[int], noon: datetime) -> None:
    found = await lookup.find({"r1", "r2", "unknown", 'a "strange" {name}'})
    assert set(found) == {"r1", "r2"}
    assert found["r1"].user_id is None
    assert (found["r2"].seq, found["r2"].at, found["r2"].user_id) == (written[2], noon - timedelta(days=2), "u2")
    assert found["r2"].article_ids == ("a4", "a3", "a2")
    assert await lookup.find([]) == {}


async def test_each_gets_its_own_of_what_is_looked_for_at_once(lookup: ListLookup, written: list[int]) -> None:
    wanted = [["r0"], ["r0", "r1"], ["unknown"], ["r2"]]
    found = await asyncio.gather(*map(lookup.find, wanted))
    assert [sorted(each) for each in found] == [["r0"], ["r0", "r1"], [], ["r2"]]


async def test_a_cut_connection_is_replaced_unseen(lookup: ListLookup, written: list[int], database_url: str) -> None:
    await lookup.find(["r0"])
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url), autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drn list lookup'")
    assert set(await lookup.find(["r0"])) == {"r0"}


async def test_a_store_that_is_not_there_is_said_in_time() -> None:
    async with ListLookup("postgresql://nobody@127.0.0.1:1/drn") as lookup:
        with pytest.raises(StoreUnavailable):
            await lookup.find(["r0"], 0.5)


async def test_a_readers_past(
    database_url: str, engine: AsyncEngine, history_of: Any, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1", noon - timedelta(days=40)))
        await writer.write(make_impression("r2"))
        await writer.write(make_impression("r3", user_id="u2"))
    events = [
        make_event("e1", "a4", at=noon - timedelta(minutes=2), request_id="r1", user_id="u1"),
        make_event("e2", "a9", at=noon - timedelta(minutes=3), user_id="u1"),
        make_event("e3", "a9", at=noon - timedelta(minutes=1), user_id="u1"),
        make_event("e4", "a9", "like", user_id="u1"),
        make_event("e5", "a7", user_id="u2"),
    ]
    async with writing(engine) as connection:
        await feedback.record(connection, events, "w1", noon)
    past = await history_of("u1")
    ago = [timedelta(minutes=minutes) for minutes in (3, 2, 1)]
    assert past.clicks == (("a9", noon - ago[0]), ("a4", noon - ago[1]), ("a9", noon - ago[2]))
    assert past.shown == {"a4": 2, "a3": 2, "a2": 2}
    assert (await history_of("u1", 2)).clicks == past.clicks[1:]


async def test_readers_who_are_read_at_once_each_get_their_own_past(
    database_url: str, make_impression: Make, noon: datetime
) -> None:
    readers = [f"u{i}" for i in range(20)]
    async with ImpressionWriter(database_url, "w1") as writer:
        for i, reader in enumerate(readers[1:], 1):
            await writer.write(make_impression(f"r{i}", noon, reader, k=1 + i % 4))
    async with HistoryLookup(database_url, 10) as lookup:
        pasts = await asyncio.gather(*map(lookup.find, [*readers, "u7", 'a "strange" {name}']))
    assert [len(past.shown) for past in pasts] == [0, *(1 + i % 4 for i in range(1, 20)), 4, 0]
    assert all(past.clicks == () for past in pasts)
