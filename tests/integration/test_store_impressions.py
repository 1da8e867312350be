"""The impression log: read back without loss, in the order of its numbers, and complete up to its horizon."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.transitions import entry
from drn.types import Interleaving, Pin
from service.store import feedback, impressions
from service.store.engine import libpq_url, reading, writing
from service.store.erasures import erase_user
from service.store.errors import StoreUnavailable
from service.store.impression_rows import texts
from service.store.impressions import ImpressionWriter

Make = Callable[..., Any]


def assert_equal(ours: Any, theirs: Any) -> None:
    """Field by field, arrays with their dtypes."""
    assert type(ours) is type(theirs)
    for spec in fields(ours):
        left, right = getattr(ours, spec.name), getattr(theirs, spec.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, spec.name
            np.testing.assert_array_equal(left, right, err_msg=spec.name)
        elif spec.name in {"observation", "interleaving"}:
            assert_equal(left, right)
        else:
            assert left == right, spec.name


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[ImpressionWriter]:
    async with ImpressionWriter(database_url, "w1") as writer:
        yield writer


async def test_an_impression_comes_back_as_it_was(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    written = make_impression(
        at=noon + timedelta(microseconds=123_457),
        pins=(Pin("a1", 0), Pin("ä'\"\\{},x", 2)),
        unknown=("gone", "NULL", ""),
        fallback="no version",
        boosts=np.array([0, 0.1, -100, 0, 1e-30], np.float32),
        candidates=("ä'\"\\{},x", "NULL", " ", "d", "日本"),
    )
    seq = await writer.write(written)
    found = await impressions.by_request_id(connection, written.request_id)
    assert found is not None
    assert found.seq == seq
    assert_equal(found.impression, written)
    assert await impressions.by_request_id(connection, "other") is None


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1, 2**127])
async def test_a_seed_of_any_size_comes_back(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, seed: int
) -> None:
    await writer.write(make_impression(seed=seed))
    found = await impressions.by_request_id(connection, "r1")
    assert found
    assert found.impression.seed == seed


async def test_array_literals_say_what_they_were_made_of(connection: AsyncConnection) -> None:
    rng = np.random.default_rng(0)
    alphabet = list("ab,\"\\{}'% \tNULLé日\n")
    drawn = [["".join(rng.choice(alphabet, rng.integers(0, 6))) for _ in range(rng.integers(0, 5))] for _ in range(300)]
    bare = [["a-1", "b:2/c_3.d"], ["a"], ["a,b"], ["a,b", ""], ["null"], ["a", "NULL"], [""], ["", "a"], ["a", ""], ["[0:1]=a"]]
    long = ["a"] * 8
    for values in [*drawn, *bare, *[long + end for end in bare], *[start + long for start in bare]]:
        found = await connection.scalar(text("SELECT CAST(:literal AS text[])"), {"literal": texts(values)})
        assert found == values


async def test_a_list_of_one_and_an_anonymous_reader(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make
) -> None:
    written = make_impression(user_id=None, n=1, k=1, interleaving=one_slot())
    await writer.write(written)
    found = await impressions.by_request_id(connection, "r1")
    assert found
    assert_equal(found.impression, written)


def one_slot() -> Interleaving:
    return Interleaving(np.zeros(1, np.int32), np.full(1, 0.5, np.float32), np.ones(1, np.float32), np.zeros(1, np.bool_))


async def test_exposures_follow_a_number_and_leave_out_ones_own(
    database_url: str, connection: AsyncConnection, make_impression: Make
) -> None:
    async with ImpressionWriter(database_url, "mine") as mine, ImpressionWriter(database_url, "theirs") as theirs:
        first = await mine.write(make_impression("r1"))
        second = await theirs.write(make_impression("r2"))
        third = await mine.write(make_impression("r3"))
    assert [shown.seq for shown in await impressions.exposures_since(connection, 0)] == [first, second, third]
    assert [shown.request_id for shown in await impressions.exposures_since(connection, first)] == ["r2", "r3"]
    assert [shown.request_id for shown in await impressions.exposures_since(connection, 0, "mine")] == ["r2"]
    behind = await impressions.exposures_since(connection, second, missing=[first, second - 1_000])
    assert [shown.seq for shown in behind] == [first, third]


async def test_numbers_begin_at_one_and_follow_each_other(writer: ImpressionWriter, make_impression: Make) -> None:
    assert [await writer.write(make_impression(f"r{i}")) for i in range(3)] == [1, 2, 3]


async def test_closed_after_steps_over_what_is_erased_meanwhile(
    engine: AsyncEngine, writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    """The last closed impression has been found, and is gone before it is read."""
    for place in range(3):
        await writer.write(make_impression(f"r{place}", noon - timedelta(minutes=1), user_id=f"u{place}"))

    class Overtaken:
        scalar, scalars = connection.scalar, connection.scalars

        async def execute(self, *arguments: Any) -> Any:
            async with writing(engine) as other:
                await erase_user(other, "u2", noon)
            return await connection.execute(*arguments)

    run = await impressions.closed_after(Overtaken(), 0, 3, noon - timedelta(seconds=10), noon, "", 10)  # type: ignore[arg-type]
    assert ([each.seq for each in run.impressions], run.end) == ([1, 2], 3)


async def test_closed_after_ends_at_the_first_open_impression(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    ages = [60, 50, 5, 40, 30]  # seconds: the third is still open, so what follows it waits although it is closed
    for place, age in enumerate(ages):
        await writer.write(make_impression(f"r{place}", noon - timedelta(seconds=age)))
    closed_before = noon - timedelta(seconds=10)

    async def closed(watermark: int, horizon: int = 5, limit: int = 10, before: datetime = closed_before) -> list[int]:
        run = await impressions.closed_after(connection, watermark, horizon, before, noon, "", limit)
        return [each.seq for each in run.impressions]

    assert await closed(0) == [1, 2]
    assert await closed(1) == [2]
    assert await closed(2) == []
    assert await closed(3) == [4, 5]
    assert await closed(0, horizon=1) == [1]
    assert await closed(0, limit=1) == [1]
    assert await closed(0, before=noon) == [1, 2, 3, 4, 5]
    assert await closed(0, before=noon - timedelta(seconds=50)) == [1, 2]  # closed at its very second


async def test_newest_closed_skips_open_ones_and_keeps_the_order(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    for place, age in enumerate([60, 50, 5, 40, 30]):
        await writer.write(make_impression(f"r{place}", noon - timedelta(seconds=age)))
    found, _ = await impressions.newest_closed(connection, 5, noon - timedelta(seconds=10), "", 3)
    assert [each.seq for each in found] == [2, 4, 5]
    found, _ = await impressions.newest_closed(connection, 4, noon - timedelta(seconds=10), "", 3)
    assert [each.seq for each in found] == [1, 2, 4]
    assert sorted(await impressions.these(connection, found, "")) == [1, 2, 4]


async def test_an_impression_of_a_clock_that_is_ahead_closes_with_those_behind_it(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    ages = [60, -86_400, 50, -86_400, 5, 40, -86_400]
    for place, age in enumerate(ages):
        await writer.write(make_impression(f"r{place}", noon - timedelta(seconds=age)))

    async def closed(watermark: int, after: float, limit: int = 10) -> tuple[list[int], int]:
        now = noon + timedelta(seconds=after)
        run = await impressions.closed_after(connection, watermark, 7, now - timedelta(seconds=10), now, "", limit)
        return [each.seq for each in run.impressions], run.end

    assert await closed(0, 0) == ([1, 2, 3], 3)  # nothing behind the fourth is closed yet, and the fifth is open
    assert await closed(3, 0) == ([], 3)
    assert await closed(3, 5) == ([4, 5, 6], 6)
    assert await closed(1, 5, limit=1) == ([2], 2)
    assert await closed(6, 86_400 + 5) == ([], 6)  # by now it is an open impression like any other
    assert await closed(6, 86_400 + 10) == ([7], 7)


async def test_what_cannot_be_read_is_stepped_over_and_counted(
    engine: AsyncEngine, writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    """Damaged bytes, another release's features, a list of what was no candidate, a version made for other features."""
    for i in range(8):
        await writer.write(make_impression(f"r{i}", version_id=1 if i == 5 else 2))
    async with writing(engine) as own:
        await own.execute(text("UPDATE impressions SET observation = 'garbage' WHERE seq IN (1, 8)"))
        await own.execute(
            text("UPDATE impressions SET observation = overlay(observation PLACING '\\xffff' FROM 5) WHERE seq = 3")
        )
        await own.execute(text("UPDATE impressions SET shown[1] = 'stray' WHERE seq = 4"))
        await own.execute(text("INSERT INTO weights VALUES ('none', '', NULL)"))
        await own.execute(text(VERSION_1))
    run = await impressions.closed_after(connection, 0, 8, noon, noon, "these", 10)
    assert ([each.seq for each in run.impressions], run.end, run.undecodable) == ([2, 5, 7], 8, 5)
    run = await impressions.closed_after(connection, 0, 8, noon, noon, "these", 2)  # those stepped over do not count
    assert ([each.seq for each in run.impressions], run.end, run.undecodable) == ([2, 5], 5, 3)
    found, unreadable = await impressions.newest_closed(connection, 8, noon, "these", 6)
    assert ([each.seq for each in found], unreadable) == ([4, 5, 7], 3)
    assert sorted(await impressions.these(connection, found, "these")) == [5, 7]  # the stray one shows when it is read


VERSION_1 = """
INSERT INTO model_versions VALUES (1, NULL, 'initial', now(), 'none', 'none', 'none', '{}', 0, '{}', 'others', '{}', '')
"""


async def test_closed_impressions_carry_their_feedback_in_the_order_of_the_log(
    engine: AsyncEngine, writer: ImpressionWriter, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    written = [make_impression(f"r{i}") for i in range(3)]
    for impression in written:
        await writer.write(impression)
    events = [
        make_event("late", "a3", at=noon + timedelta(hours=3), request_id="r0", user_id="u1", value=1.5),
        make_event("early", "a4", at=noon + timedelta(hours=1), request_id="r0", user_id="u1"),
        make_event("other", request_id="r2", user_id="u1"),
        make_event("organic", user_id="u1"),
    ]
    async with writing(engine) as connection:
        await feedback.record(connection, events, "w1", noon + timedelta(days=1))
    async with reading(engine) as connection:
        first, second, third = (await impressions.closed_after(connection, 0, 3, noon, noon, "", 10)).impressions
    assert first.events == (events[0], events[1])
    assert second.events == ()
    assert third.events == (events[2],)
    assert_equal(third.impression, written[2])


async def test_an_entry_says_what_is_read_when_it_is_drawn(
    engine: AsyncEngine, writer: ImpressionWriter, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    for i in range(3):
        await writer.write(make_impression(f"r{i}", noon - timedelta(seconds=i), user_id=None if i == 1 else "u1"))
    events = [make_event("credited", request_id="r0", user_id="u1"), make_event("organic", user_id="u1")]
    async with writing(engine) as connection:
        await feedback.record(connection, events, "w1", noon)
    async with reading(engine) as connection:
        entries, unreadable = await impressions.newest_closed(connection, 3, noon, "", 10)
        read = await impressions.these(connection, entries, "")
        assert await impressions.these(connection, [], "") == {}
    assert unreadable == 0
    assert entries == [entry(read[seq]) for seq in (1, 2, 3)]
    assert [one.examined for one in entries] == [True, False, False]


async def test_the_horizon_waits_for_a_slow_writer(
    engine: AsyncEngine, database_url: str, writer: ImpressionWriter, make_impression: Make, noon: datetime
) -> None:
    """A slow writer holds number 2 while number 3 is already committed: whoever took 3 for the end would never see 2."""
    await writer.write(make_impression("r1"))
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url)) as slow:
        await slow.execute("INSERT INTO requests (request_id, at) VALUES ('slow', %s)", [noon])
        await slow.execute(COPY_OF_FIRST)
        assert await writer.write(make_impression("r3")) == 3

        async def look() -> list[str]:
            async with writing(engine) as connection:
                end = await impressions.horizon(connection)
            async with reading(engine) as connection:
                run = await impressions.closed_after(connection, 0, end.impressions, noon, noon, "", 10)
            return [each.impression.request_id for each in run.impressions]

        waiting = asyncio.create_task(look())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await slow.commit()
        assert await waiting == ["r1", "slow", "r3"]


COPY_OF_FIRST = """
INSERT INTO impressions SELECT (jsonb_populate_record(i, '{"seq": 2, "request_id": "slow"}')).* FROM impressions i WHERE seq = 1
"""


async def test_the_horizon_waits_for_slow_feedback_too(
    engine: AsyncEngine, database_url: str, make_event: Make, noon: datetime
) -> None:
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url)) as slow:
        await slow.execute(
            "INSERT INTO feedback (event_id, article_id, type, at, received_at, writer) VALUES ('e', 'a', 'click', %s, %s, 'w')",
            [noon, noon],
        )
        async with writing(engine) as connection:
            assert (await feedback.record(connection, [make_event("e2")], "w1", noon)).stored[0].seq == 2

        async def look() -> impressions.Horizon:
            async with writing(engine) as connection:
                return await impressions.horizon(connection)

        waiting = asyncio.create_task(look())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await slow.rollback()
        assert await waiting == impressions.Horizon(0, 2)


async def test_the_horizon_gives_up_on_a_writer_that_hangs(engine: AsyncEngine, database_url: str, noon: datetime) -> None:
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url)) as slow:
        await slow.execute("INSERT INTO requests (request_id, at) VALUES ('slow', %s)", [noon])
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            async with writing(engine) as connection:
                await impressions.horizon(connection)
        assert asyncio.get_running_loop().time() - began < 2


async def test_reading_the_horizon_holds_up_nobody_afterwards(
    engine: AsyncEngine, writer: ImpressionWriter, make_impression: Make
) -> None:
    """A learner may keep its transaction open for minutes."""
    async with writing(engine) as connection:
        assert await impressions.horizon(connection) == impressions.Horizon(0, 0)
        assert await writer.write(make_impression()) == 1
        assert await impressions.horizon(connection) == impressions.Horizon(1, 0)
