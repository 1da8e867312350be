"""Counts read from the log are those that a catalogue which saw every event live would have."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.catalogue import WINDOWS, Catalogue, epoch
from drn.config import Config
from drn.types import Article
from service.store import feedback, impressions, partitions
from service.store.counters import count_log, window_counts
from service.store.engine import reading, writing
from service.store.impressions import Horizon, ImpressionWriter

Make = Callable[..., Any]
AGES = [
    0,
    1,
    149,
    150,
    151,
    3_400,
    3_599,
    3_601,
    7_000,
    80_000,
    90_000,
    600_000,
    700_000,
    30_000_000,
    31_536_000,
    40_000_000,
]  # seconds


async def count(engine: AsyncEngine, now: datetime) -> Horizon:
    async with writing(engine) as connection:
        return await count_log(connection, now)


def empty(noon: datetime) -> Catalogue:
    catalogue = Catalogue(Config())
    for i in range(5):
        catalogue.put(Article(f"a{i}", "title", noon))
    return catalogue


@pytest.mark.parametrize("counted", [[], [8], [3, 12], [16]], ids=lambda counted: f"hours counted after {counted}")
async def test_rebuilt_counts_equal_live_counts(
    counted: list[int], engine: AsyncEngine, database_url: str, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    now = noon + timedelta(seconds=77, microseconds=999_999)
    live = empty(noon)
    live.advance(epoch(now))
    times = [now - timedelta(seconds=age) for age in sorted(AGES, reverse=True)]
    async with ImpressionWriter(database_url, "w1") as writer:
        for place, at in enumerate(times):
            if place in counted:
                await count(engine, now)
            impression = make_impression(f"r{place}", at)
            event = make_event(f"e{place}", f"a{place % 5}", at=at)
            await writer.write(impression)
            async with writing(engine) as connection:
                await feedback.record(connection, [event, make_event(f"d{place}", "a1", "dwell", at=at)], "w1", now)
            live.expose(np.array([live.row(article_id) for article_id in impression.article_ids], np.int32), epoch(at))
            live.click(place % 5, epoch(at))
    if len(times) in counted:
        await count(engine, now)

    rebuilt = empty(noon)
    rebuilt.advance(epoch(now))
    async with writing(engine) as connection:
        upto = await impressions.horizon(connection)
    async with reading(engine) as connection:
        for found in await window_counts(connection, now, upto):
            rows = np.array([rebuilt.row(article_id) for article_id in found.article_ids], np.int32)
            rebuilt.load_counts(found.kind, found.window, rows, found.buckets, found.counts)
    assert live.counts[:5].sum() > 100
    np.testing.assert_array_equal(rebuilt.counts[:5], live.counts[:5])
    for catalogue in (live, rebuilt):
        catalogue.advance(epoch(now) + 3_000)
    np.testing.assert_array_equal(rebuilt.counts[:5], live.counts[:5])


@pytest.mark.parametrize("counted_early", [True, False])
async def test_what_follows_the_horizon_is_left_to_the_follower(
    counted_early: bool, engine: AsyncEngine, database_url: str, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1"))
        async with writing(engine) as connection:
            await feedback.record(connection, [make_event("e1")], "w1", noon)
            upto = await impressions.horizon(connection)
        if counted_early:
            assert await count(engine, noon) == upto
        await writer.write(make_impression("r2"))
        async with writing(engine) as connection:
            await feedback.record(connection, [make_event("e2")], "w1", noon)
    if not counted_early:
        assert (await count(engine, noon)).impressions == 2  # by another process, between this one's horizon and its counts
    async with reading(engine) as connection:
        found = await window_counts(connection, noon, upto)
    assert [(each.kind, each.window) for each in found] == [
        (kind, w) for kind in ("clicks", "exposures") for w in range(len(WINDOWS))
    ]
    assert all(each.counts.max() == 1 for each in found)


async def test_what_was_counted_outlasts_its_impressions(
    engine: AsyncEngine, database_url: str, make_impression: Make, noon: datetime
) -> None:
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1", noon - timedelta(days=30)))
        await writer.write(make_impression("r2", noon - timedelta(days=400)))
    end = await count(engine, noon)
    await partitions.prune(partial(writing, engine), impressions_before=noon.date(), feedback_before=noon.date())
    assert await count(engine, noon) == end == Horizon(2, 0)
    async with reading(engine) as connection:
        *_, year = await window_counts(connection, noon, end)
        buckets = (await connection.execute(text("SELECT count(*), sum(times) FROM bucket_counts"))).one()
    assert (set(year.article_ids), year.counts.tolist()) == ({"a4", "a3", "a2"}, [1, 1, 1])
    assert tuple(buckets) == (3, 3)
