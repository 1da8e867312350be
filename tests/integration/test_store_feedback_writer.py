"""Feedback in groups: what is wrong with one request costs only that request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import feedback
from service.store.engine import libpq_url, reading, writing
from service.store.erasures import erase_user
from service.store.errors import NoSuchRequest, StoreUnavailable
from service.store.feedback import StoredEvent
from service.store.feedback_writer import FeedbackLog, FeedbackWriter, Submission
from service.store.impression_writer import ImpressionWriter

Make = Callable[..., Any]


@pytest.fixture
def noted() -> list[StoredEvent]:
    """What the writer told of its commits."""
    return []


@pytest.fixture
async def writer(database_url: str, noted: list[StoredEvent]) -> AsyncIterator[FeedbackWriter]:
    async with FeedbackWriter(database_url, "w1", noted.extend) as writer:
        yield writer


@pytest.fixture
async def lists(database_url: str, make_impression: Make) -> dict[str, int]:
    """Four lists of two readers, and their places in the log."""
    async with ImpressionWriter(database_url, "w1") as impressions:
        return {f"r{i}": await impressions.write(make_impression(f"r{i}", user_id=f"u{i % 2}")) for i in range(4)}


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url), autocommit=True) as connection:
        yield connection


async def logged(engine: AsyncEngine) -> list[StoredEvent]:
    async with reading(engine) as connection:
        return await feedback.events_since(connection, 0)


async def test_what_is_stored_is_what_was_noted_in_its_order(
    writer: FeedbackWriter, noted: list[StoredEvent], engine: AsyncEngine, make_event: Make, noon: datetime, lists: dict[str, int]
) -> None:
    events = [
        make_event("z", value=31.5, user_id="u1"),
        make_event("a", "ä'\"\\{},NULL", "dwell", at=noon - timedelta(days=400, microseconds=1), value=0.1),
        make_event("NULL", request_id="r1", user_id="u1"),
        make_event("m", type="käse", at=noon + timedelta(hours=1)),
    ]
    recorded = await writer.write(events, {"r1": lists["r1"]}, noon)
    assert (recorded.accepted, recorded.duplicates) == (4, 0)
    assert [stored.event for stored in recorded.stored] == [*events[:3], events[3]._replace(at=noon)]
    assert await logged(engine) == noted == list(recorded.stored)


async def test_requests_that_arrive_together_share_a_transaction(
    writer: FeedbackWriter, other: psycopg.AsyncConnection[Any], make_event: Make, noon: datetime
) -> None:
    await asyncio.gather(*(writer.write([make_event(f"e{i}-{j}") for j in range(3)], {}, noon) for i in range(100)))
    found = await (await other.execute("SELECT count(*), count(DISTINCT xmin::text) <= 5 FROM feedback")).fetchone()
    assert found == (300, True)


async def test_an_event_id_counts_once_within_a_request_a_group_and_the_log(
    writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime
) -> None:
    first = make_event("e1", value=1.0)
    calls = [
        writer.write([first, first._replace(value=2.0)], {}, noon),
        writer.write([first._replace(value=3.0), make_event("e2")], {}, noon),
        writer.write([first], {}, noon),
    ]
    recorded = await asyncio.gather(*calls)
    assert [(each.accepted, each.duplicates) for each in recorded] == [(1, 1), (1, 1), (0, 1)]
    again = await writer.write([make_event("e2"), make_event("e3")], {}, noon)
    assert (again.accepted, again.duplicates) == (1, 1)
    assert [stored.event.value for stored in await logged(engine)] == [1.0, None, None]


async def test_events_that_are_sent_over_and_over_use_up_no_numbers(
    writer: FeedbackWriter, make_event: Make, noon: datetime
) -> None:
    await writer.write([make_event("e1")], {}, noon)
    seqs = []
    for i in range(3):
        recorded = await writer.write([make_event("e1"), make_event(f"new {i}")], {}, noon)
        assert (recorded.accepted, recorded.duplicates) == (1, 1)
        seqs.append(recorded.stored[0].seq)
    assert [seqs[1] - seqs[0], seqs[2] - seqs[1]] == [1, 1]  # the first time they were not looked for


async def test_two_processes_that_get_the_same_events_store_each_once(
    database_url: str, writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime
) -> None:
    async with FeedbackWriter(database_url, "w2") as second:
        calls = [each.write([make_event(f"e{i}")], {}, noon) for i in range(100) for each in (writer, second)]
        recorded = await asyncio.gather(*calls)
    assert sum(each.accepted for each in recorded) == sum(each.duplicates for each in recorded) == 100
    assert len(await logged(engine)) == 100


async def test_a_list_that_is_not_in_the_log_costs_only_its_own_request(
    writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime, lists: dict[str, int]
) -> None:
    good, bad = make_event("shared", request_id="r1", user_id="u1"), make_event("e1", request_id="r0", user_id="u0")
    calls = [
        writer.write([bad, good._replace(value=1.0)], {"r0": 10_000, "r1": lists["r1"]}, noon),
        writer.write([bad._replace(event_id="e2", request_id="unknown")], {"unknown": 1}, noon),
        writer.write([good], {"r1": lists["r1"]}, noon),
        writer.write([make_event("organic")], {}, noon),
    ]
    recorded = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, NoSuchRequest) for each in recorded] == [True, True, False, False]
    assert [stored.event for stored in await logged(engine)] == [good, make_event("organic")]


async def test_a_list_that_is_just_being_erased_is_not_waited_for(
    writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime, lists: dict[str, int]
) -> None:
    of_both = [make_event(f"e{i}", request_id=f"r{i}", user_id=f"u{i}") for i in (0, 1)]
    async with engine.connect() as erasing:
        await erase_user(erasing, "u0", datetime.now(UTC))
        calls = [writer.write([event], {str(event.request_id): lists[str(event.request_id)]}, noon) for event in of_both]
        recorded = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, NoSuchRequest) for each in recorded] == [True, False]
    assert (await writer.write(of_both[:1], {"r0": lists["r0"]}, noon)).accepted == 1  # the erasure was rolled back


async def test_what_feedback_speaks_of_cannot_be_erased_before_its_commit(
    writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime, lists: dict[str, int]
) -> None:
    async def erase() -> None:
        async with writing(engine) as connection:
            await erase_user(connection, "u1", datetime.now(UTC))

    events = [make_event(f"e{i}", request_id="r1", user_id="u1") for i in range(200)]
    calls = [writer.write([event], {"r1": lists["r1"]}, noon) for event in events]
    recorded = await asyncio.gather(*calls[:100], erase(), *calls[100:], return_exceptions=True)
    assert all(each is None or isinstance(each, feedback.Recorded | NoSuchRequest) for each in recorded)
    assert await logged(engine) == []


async def test_what_was_committed_although_its_answer_was_lost_is_told_from_what_was_not(
    database_url: str, other: psycopg.AsyncConnection[Any], make_event: Make, noon: datetime
) -> None:
    log = FeedbackLog("w1")
    earlier = noon - timedelta(seconds=1)
    await log.commit(other, [Submission([make_event("old", at=earlier)], {}, earlier)])
    mine = [
        Submission([make_event("e1"), make_event("old"), make_event("e1")], {}, noon),
        Submission([make_event("old")], {}, noon),
    ]
    lost = Submission([make_event("old"), make_event("never")], {}, noon)
    answers = await log.commit(other, mine)
    assert await log.committed(other, [*mine, lost]) == [*answers, None]
    assert [(each.accepted, each.duplicates) for each in answers if isinstance(each, feedback.Recorded)] == [(1, 2), (0, 1)]
    assert await log.committed(other, []) == []


async def test_a_connection_that_is_gone_is_replaced(
    writer: FeedbackWriter, other: psycopg.AsyncConnection[Any], make_event: Make, noon: datetime
) -> None:
    await writer.write([make_event("e1")], {}, noon)
    killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drn feedback writer'"
    assert len(await (await other.execute(killed)).fetchall()) == 1
    recorded = await asyncio.gather(*(writer.write([make_event(f"f{i}")], {}, noon) for i in range(20)))
    assert sum(each.accepted for each in recorded) == 20


async def test_what_postgresql_refuses_costs_only_itself(
    writer: FeedbackWriter, engine: AsyncEngine, make_event: Make, noon: datetime
) -> None:
    calls = [writer.write([make_event(name)], {}, noon) for name in ("e1", "no\x00text", "e2")]
    recorded = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(each, psycopg.DataError) for each in recorded] == [False, True, False]
    assert [stored.event.event_id for stored in await logged(engine)] == ["e1", "e2"]


async def test_a_writer_that_is_closed_takes_nothing(writer: FeedbackWriter, make_event: Make, noon: datetime) -> None:
    await writer.close()
    with pytest.raises(StoreUnavailable):
        await writer.write([make_event("e1")], {}, noon)
