"""Lists are found by their request ids, for many requests at once, and over a connection that was cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from service.store.engine import libpq_url
from service.store.errors import StoreUnavailable
from service.store.impression_writer import ImpressionWriter
from service.store.list_lookup import ListLookup

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
