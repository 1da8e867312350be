"""The feedback log: each event once, in the order in which it was sent."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.store import feedback
from service.store.engine import reading, writing
from service.store.errors import NoSuchRequest

Make = Callable[..., Any]


async def test_events_come_back_as_they_were_in_their_order(
    connection: AsyncConnection, make_event: Make, noon: datetime
) -> None:
    events = [
        make_event("z", value=31.5, user_id="u1"),
        make_event("a", "ä'\"\\{}", "dwell", at=noon - timedelta(days=400, microseconds=1), value=0.1),
        make_event("m", type="käse"),
    ]
    recorded = await feedback.record(connection, events, "w1", noon)
    assert (recorded.accepted, recorded.duplicates) == (3, 0)
    assert [stored.event for stored in recorded.stored] == events
    assert [stored.seq for stored in recorded.stored] == [1, 2, 3]
    assert await feedback.events_since(connection, 0) == list(recorded.stored)
    assert await feedback.events_since(connection, 2) == [recorded.stored[2]]
    assert await feedback.events_since(connection, 2, missing=[-5, 1]) == [recorded.stored[0], recorded.stored[2]]


async def test_an_event_id_counts_once_within_a_batch_and_across_batches(
    connection: AsyncConnection, make_event: Make, noon: datetime
) -> None:
    first = make_event("e1", value=1.0)
    recorded = await feedback.record(connection, [first, first._replace(value=2.0), make_event("e2")], "w1", noon)
    assert ([stored.event.event_id for stored in recorded.stored], recorded.duplicates) == (["e1", "e2"], 1)
    again = await feedback.record(connection, [first, make_event("e3"), make_event("e2")], "w1", noon)
    assert ([stored.event.event_id for stored in again.stored], again.duplicates) == (["e3"], 2)
    assert [stored.event.value for stored in await feedback.events_since(connection, 0)] == [1.0, None, None]
    assert await feedback.record(connection, [], "w1", noon) == feedback.Recorded((), 0)


async def test_two_processes_that_get_the_same_event_store_it_once(engine: AsyncEngine, make_event: Make, noon: datetime) -> None:
    async def post(name: str) -> int:
        async with writing(engine) as connection:
            return (await feedback.record(connection, [make_event(f"e{i}") for i in range(20)], name, noon)).accepted

    assert sum(await asyncio.gather(*map(post, "abcd"))) == 20


async def test_nothing_is_recorded_in_the_future(connection: AsyncConnection, make_event: Make, noon: datetime) -> None:
    ahead = make_event(at=noon + timedelta(hours=1))
    recorded = await feedback.record(connection, [ahead], "w1", noon)
    assert recorded.stored[0].event.at == noon
    assert (await feedback.events_since(connection, 0))[0].event.at == noon


async def test_an_unknown_request_is_refused(connection: AsyncConnection, make_event: Make, noon: datetime) -> None:
    with pytest.raises(NoSuchRequest):
        await feedback.record(connection, [make_event(request_id="unknown")], "w1", noon)


async def test_ones_own_events_can_be_left_out(connection: AsyncConnection, make_event: Make, noon: datetime) -> None:
    await feedback.record(connection, [make_event("mine")], "w1", noon)
    await feedback.record(connection, [make_event("theirs")], "w2", noon)
    assert [stored.event.event_id for stored in await feedback.events_since(connection, 0, "w1")] == ["theirs"]


async def test_a_transaction_that_fails_leaves_nothing(engine: AsyncEngine, make_event: Make, noon: datetime) -> None:
    async def post() -> None:
        async with writing(engine) as connection:
            await feedback.record(connection, [make_event()], "w1", noon)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await post()
    async with reading(engine) as connection:
        assert await feedback.events_since(connection, 0) == []
