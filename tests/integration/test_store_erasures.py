"""A reader who is erased is nowhere, whatever else is under way."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.types import Verdict
from drn.updates import MinorUpdate, Settled
from drn.versions import Version
from service.store import duels, erasures, feedback, impressions, versions
from service.store.engine import reading, writing
from service.store.impressions import ImpressionWriter

Make = Callable[..., Any]


async def test_an_erased_reader_is_nowhere(
    engine: AsyncEngine,
    database_url: str,
    version: Version,
    make_impression: Make,
    make_event: Make,
    noon: datetime,
    history_of: Any,
) -> None:
    async with ImpressionWriter(database_url, "w1") as writer:
        for request_id, at, user_id in [
            ("r1", noon, "secret"),
            ("r2", noon - timedelta(days=3), "secret"),
            ("r3", noon, "other"),
            ("r4", noon, None),
        ]:
            await writer.write(make_impression(request_id, at, user_id))
    events = [
        make_event("e1", request_id="r1", user_id="secret"),
        make_event("e2", request_id="r2"),  # credited, but without its reader
        make_event("e3", user_id="secret"),
        make_event("e4", request_id="r3", user_id="other"),
    ]
    settled = (Settled("r1", noon, "secret", 1, 0.5), Settled("r3", noon, "other", 1, -0.5))
    async with writing(engine) as connection:
        await feedback.record(connection, events, "w1", noon)
        await versions.append(connection, version)
        await duels.settle(connection, MinorUpdate(version, settled, Verdict.UNDECIDED, version.duel))

    async with writing(engine) as connection:
        receipt = await erasures.erase_user(connection, "secret", noon)
    assert (receipt.impressions, receipt.feedback, receipt.outcomes) == (2, 3, 1)
    assert receipt.concerns("secret")
    assert not receipt.concerns("other")
    async with reading(engine) as connection:
        assert await erasures.since(connection, 0) == [receipt]
        assert await erasures.since(connection, receipt.id) == []
        kept = [await impressions.by_request_id(connection, request_id) for request_id in ("r1", "r2", "r3", "r4")]
        assert [None if each is None else each.impression.request_id for each in kept] == [None, None, "r3", "r4"]
        history = await history_of("secret")
        assert (history.clicks, history.shown) == ((), {})
        assert [stored.event.event_id for stored in await feedback.events_since(connection, 0)] == ["e4"]
        outcomes = {outcome.user_id: outcome for outcome in await duels.outcomes(connection, 1)}
        assert set(outcomes) == {None, "other"}
        assert outcomes[None].outcome == 0.5
        assert await mentions(connection, "secret") == []
        assert await mentions(connection, "r1") == []


async def test_a_learner_does_not_bring_an_erased_reader_back(
    engine: AsyncEngine, database_url: str, version: Version, make_impression: Make, noon: datetime
) -> None:
    """It has read the impressions before the erasure, and writes after it."""
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1", noon, "secret"))
        await writer.write(make_impression("r2", noon, "other"))
    settled = (Settled("r1", noon, "secret", 1, 0.5), Settled("r2", noon, "other", 1, -0.5))
    async with writing(engine) as connection:
        await versions.append(connection, version)
    async with writing(engine) as connection:
        await erasures.erase_user(connection, "secret", noon)
    async with writing(engine) as connection:
        await duels.settle(connection, MinorUpdate(version, settled, Verdict.UNDECIDED, version.duel))
    async with reading(engine) as connection:
        assert await mentions(connection, "secret") == await mentions(connection, "r1") == []
        assert {outcome.user_id: outcome.outcome for outcome in await duels.outcomes(connection, 1)} == {None: 0.5, "other": -0.5}


@pytest.mark.parametrize("learner_first", [True, False])
async def test_a_learner_and_an_erasure_at_the_same_moment(
    learner_first: bool, engine: AsyncEngine, database_url: str, version: Version, make_impression: Make, noon: datetime
) -> None:
    """Whoever comes second waits for the first one's commit, and then sees what it wrote."""
    names = [f"r{i}" for i in range(9)]
    async with ImpressionWriter(database_url, "w1") as writer:
        for name in names:
            await writer.write(make_impression(name, noon, "secret"))
    settled = tuple(Settled(name, noon, "secret", 1, 0.5) for name in reversed(names))
    async with writing(engine) as connection:
        await versions.append(connection, version)

    async def settle() -> None:
        async with writing(engine) as connection:
            await duels.settle(connection, MinorUpdate(version, settled, Verdict.UNDECIDED, version.duel))
            await asyncio.sleep(0.3)

    async def erase() -> None:
        async with writing(engine) as connection:
            await erasures.erase_user(connection, "secret", noon)
            await asyncio.sleep(0.3)

    first, second = (settle, erase) if learner_first else (erase, settle)
    running = asyncio.create_task(first())
    await asyncio.sleep(0.15)
    await second()
    await running
    async with reading(engine) as connection:
        assert await mentions(connection, "secret") == []
        assert len(await duels.outcomes(connection, 1)) == len(names)


async def mentions(connection: AsyncConnection, word: str) -> list[str]:
    """The tables in which some row holds the word."""
    tables = (await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))).all()
    return [
        table
        for table in tables
        if await connection.scalar(
            text(f"SELECT count(*) FROM {table} t WHERE t::text ~ ('\\m' || :word || '\\M')"), {"word": word}
        )
    ]


async def test_erasing_a_stranger_leaves_a_receipt_too(connection: AsyncConnection, noon: datetime) -> None:
    receipt = await erasures.erase_user(connection, "nobody", noon)
    assert (receipt.impressions, receipt.feedback, receipt.outcomes) == (0, 0, 0)
    assert receipt.concerns("nobody")


async def test_lists_that_are_served_during_an_erasure_are_erased(
    engine: AsyncEngine, database_url: str, make_impression: Make, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase_lists = erasures.erase_lists
    async with ImpressionWriter(database_url, "w1") as writer:

        async def overtaken(*arguments: Any) -> tuple[int, int]:
            found = await erase_lists(*arguments)
            if found[0] == 1:
                await writer.write(make_impression("r2", user_id="u1"))
                await writer.write(make_impression("r3", user_id="u1"))
            return found

        await writer.write(make_impression("r1", user_id="u1"))
        monkeypatch.setattr(erasures, "erase_lists", overtaken)
        async with writing(engine) as connection:
            receipt = await erasures.erase_user(connection, "u1", noon)
    assert receipt.impressions == 3
    async with reading(engine) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM impressions")) == 0
        assert await connection.scalar(text("SELECT count(*) FROM requests")) == 0
