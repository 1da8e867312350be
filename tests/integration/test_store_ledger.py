"""Job runs, API keys, retention and notices."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.types import Article, Verdict
from drn.updates import MinorUpdate, Settled
from drn.versions import Version
from service.store import articles, duels, erasures, feedback, impressions, keys, locks, partitions, runs, versions
from service.store.engine import reading, writing
from service.store.impressions import ImpressionWriter
from service.store.notifications import Listener

Make = Callable[..., Any]


async def test_a_run_is_opened_and_closed_once(connection: AsyncConnection, version: Version, noon: datetime) -> None:
    await versions.append(connection, version)
    run = await runs.open(connection, "minor_update", noon)
    other = await runs.open(connection, "major_retrain", noon + timedelta(seconds=1))
    assert [row.outcome for row in await runs.listing(connection)] == ["running", "running"]
    later = noon + timedelta(minutes=1)
    assert await runs.close(connection, run, "published", later, version_id=1, detail={"wins": 3})
    assert not await runs.close(connection, run, "failed", later)
    assert await runs.listing(connection, job="minor_update") == [
        runs.Run(run, "minor_update", noon, later, "published", 1, {"wins": 3})
    ]
    assert [row.id for row in await runs.listing(connection, limit=1)] == [other]
    with pytest.raises(IntegrityError, match="outcome"):
        await runs.close(connection, other, "forgotten", later)


async def test_a_run_that_was_taken_for_lost_may_yet_say_what_became_of_it(connection: AsyncConnection, noon: datetime) -> None:
    """Its lock can be gone with a connection while it goes on."""
    run, later = await runs.open(connection, "major_retrain", noon), noon + timedelta(hours=3)
    assert await runs.close_lost(connection, noon + timedelta(hours=1), later) == 1
    assert await runs.close(connection, run, "done", later)
    assert not await runs.close(connection, run, "failed", later)
    assert [each.outcome for each in await runs.listing(connection)] == ["done"]


async def test_runs_whose_process_died_are_closed_by_another(connection: AsyncConnection, noon: datetime) -> None:
    lost = await runs.open(connection, "minor_update", noon)
    alive = await runs.open(connection, "minor_update", noon + timedelta(hours=2))
    now = noon + timedelta(hours=3)
    assert await runs.close_lost(connection, noon + timedelta(hours=1), now) == 1
    found = {row.id: row for row in await runs.listing(connection)}
    assert (found[lost].outcome, found[lost].ended_at, found[alive].outcome) == ("failed", now, "running")


async def test_a_run_that_lives_is_not_lost(engine: AsyncEngine, noon: datetime) -> None:
    async with writing(engine) as connection:
        alive = await runs.open(connection, "prune", noon)
    later = noon + timedelta(hours=3)
    async with engine.connect() as own:
        await locks.hold_run(own, alive)
        async with writing(engine) as connection:
            assert await runs.close_lost(connection, later, later) == 0
        await locks.release_run(own, alive)
    async with writing(engine) as connection:
        assert await runs.close_lost(connection, later, later) == 1


async def test_the_last_run_is_not_one_of_a_clock_that_is_ahead(connection: AsyncConnection, noon: datetime) -> None:
    assert await runs.last_started(connection, "prune", noon) is None
    for hours in (-2, -1, 24):
        await runs.open(connection, "prune", noon + timedelta(hours=hours))
    assert await runs.last_started(connection, "prune", noon) == noon - timedelta(hours=1)


async def test_keys_are_in_force_until_they_are_revoked(connection: AsyncConnection, noon: datetime) -> None:
    app = await keys.create(connection, "app", "a" * 64, ["rank", "feedback"], noon)
    cms = await keys.create(connection, "cms", "b" * 64, ["articles"], noon + timedelta(seconds=1))
    assert await keys.active(connection) == [app, cms]
    assert app.scopes == ("feedback", "rank")
    assert await keys.revoke(connection, app.id, noon)
    assert not await keys.revoke(connection, app.id, noon)
    assert await keys.active(connection) == [cms]
    assert [key.revoked_at for key in await keys.listing(connection)] == [noon, None]


async def test_a_key_is_stored_as_a_digest_and_once(connection: AsyncConnection, noon: datetime) -> None:
    with pytest.raises(IntegrityError, match="hash"):
        await keys.create(connection, "app", "drn_the-key-itself", ["rank"], noon)
    await connection.rollback()
    await keys.create(connection, "app", "a" * 64, ["rank"], noon)
    with pytest.raises(IntegrityError, match="hash"):
        await keys.create(connection, "again", "a" * 64, ["rank"], noon)


async def test_retention_drops_whole_days_and_keeps_histories(
    engine: AsyncEngine, database_url: str, make_impression: Make, make_event: Make, noon: datetime, history_of: Any
) -> None:
    async with ImpressionWriter(database_url, "w1") as writer:
        for i in range(4):
            await writer.write(make_impression(f"r{i}", noon - timedelta(days=i)))
    events = [make_event(f"e{i}", at=noon - timedelta(days=i), request_id=f"r{i}", user_id="u1") for i in range(4)]
    async with writing(engine) as connection:
        await feedback.record(connection, events, "w1", noon)
    limits = {"impressions_before": date(2026, 11, 21), "feedback_before": date(2026, 11, 20)}
    pruned = await partitions.prune(partial(writing, engine), **limits)
    assert pruned == partitions.Pruned((date(2026, 11, 19), date(2026, 11, 20)), 2, 1, 0)
    assert await partitions.prune(partial(writing, engine), **limits) == partitions.Pruned((), 0, 0, 0)
    async with reading(engine) as connection:
        assert await partitions.existing(connection) == (date(2026, 11, 21), date(2026, 11, 22))
        assert await impressions.by_request_id(connection, "r3") is None
        assert await impressions.by_request_id(connection, "r1") is not None
        kept = {stored.event.event_id: stored.event.request_id for stored in await feedback.events_since(connection, 0)}
        assert kept == {"e0": "r0", "e1": "r1", "e2": None}
        assert len((await history_of("u1")).clicks) == 3


async def test_retention_in_batches_forgets_every_row(
    engine: AsyncEngine,
    database_url: str,
    version: Version,
    make_impression: Make,
    make_event: Make,
    noon: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    async with ImpressionWriter(database_url, "w1") as writer:
        for i in range(5):
            await writer.write(make_impression(f"r{i}", noon - timedelta(days=3)))
    old = noon - timedelta(days=3)
    settled = tuple(Settled(f"r{i}", old if i < 4 else noon, "u1", 1, 0.5) for i in range(5))
    async with writing(engine) as connection:
        await feedback.record(connection, [make_event(f"e{i}", at=old) for i in range(4)], "w1", noon)
        await versions.append(connection, version)
        await duels.settle(connection, MinorUpdate(version, settled, Verdict.UNDECIDED, version.duel))
    gone = await partitions.prune(partial(writing, engine), impressions_before=noon.date(), feedback_before=noon.date())
    assert gone == partitions.Pruned((old.date(),), 5, 4, 4)
    async with reading(engine) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM requests")) == 0
        assert await connection.scalar(text("SELECT count(*) FROM duel_outcomes")) == 1


async def test_a_day_that_somebody_reads_is_dropped_another_time(
    engine: AsyncEngine, database_url: str, make_impression: Make, noon: datetime
) -> None:
    """Meanwhile lists are served: nobody waits for retention, and retention does not wait for long."""
    limits = {"impressions_before": noon.date(), "feedback_before": noon.date()}
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1", noon - timedelta(days=3)))
        async with writing(engine) as reader:
            await reader.execute(text("SELECT 1 FROM impressions_20261119"))
            pruning = asyncio.create_task(partitions.prune(partial(writing, engine), **limits))
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(0.1)
            await writer.write(make_impression("r2", noon))
            assert await pruning == partitions.Pruned((), 1, 0, 0)
            assert asyncio.get_running_loop().time() - began < 1.5
    assert await partitions.prune(partial(writing, engine), **limits) == partitions.Pruned((date(2026, 11, 19),), 0, 0, 0)


async def test_days_may_be_made_ahead_and_twice(connection: AsyncConnection) -> None:
    days = [date(2026, 12, 31), date(2027, 1, 1)]
    await partitions.ensure_partitions(connection, days)
    await partitions.ensure_partitions(connection, days)
    assert await partitions.existing(connection) == tuple(days)


async def test_a_day_is_made_while_somebody_reads_the_log(
    engine: AsyncEngine, database_url: str, make_impression: Make, noon: datetime
) -> None:
    """A dump, say, which takes its time; a day that had to wait for it would keep everybody else waiting behind it."""
    async with ImpressionWriter(database_url, "w1") as writer:
        await writer.write(make_impression("r1", noon))
        async with writing(engine) as reader:
            await reader.execute(text("LOCK TABLE impressions IN ACCESS SHARE MODE"))
            async with asyncio.timeout(1), writing(engine) as connection:
                await partitions.ensure_partitions(connection, [noon.date() + timedelta(days=1)])
            await writer.write(make_impression("r2", noon + timedelta(days=1)))
            await writer.write(make_impression("r3", noon + timedelta(days=2)))
    async with reading(engine) as connection:
        assert len(await partitions.existing(connection)) == 3


async def test_commits_wake_those_who_listen(engine: AsyncEngine, database_url: str, noon: datetime) -> None:
    async with Listener(database_url) as listener:
        assert await listener.wait(0.05) == frozenset()
        waiting = asyncio.create_task(listener.wait(5))
        async with writing(engine) as connection:
            await articles.upsert(connection, [Article("a", "t", noon)], noon)
            await asyncio.sleep(0.1)
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, 1) == {"drn_articles"}
        async with writing(engine) as connection:
            await erasures.erase_user(connection, "u1", noon)
            await keys.create(connection, "app", "a" * 64, ["rank"], noon)
        assert await listener.wait(1) | await listener.wait(0.2) == {"drn_keys", "drn_erasures"}


async def test_others_see_that_somebody_listens(connection: AsyncConnection, database_url: str) -> None:
    assert not await locks.is_held(connection, locks.Lock.LISTENING)
    async with (
        Listener(database_url, (runs.CHANNEL,), presence=locks.Lock.LISTENING) as first,
        Listener(database_url, (runs.CHANNEL,), presence=locks.Lock.LISTENING) as second,
    ):
        await first.notices(0.05)
        await second.notices(0.05)
        assert await locks.is_held(connection, locks.Lock.LISTENING)
        assert not await locks.is_held(connection, locks.Lock.LEARN)
        await first.close()
        assert await locks.is_held(connection, locks.Lock.LISTENING)
    async with asyncio.timeout(2):
        while await locks.is_held(connection, locks.Lock.LISTENING):  # noqa: ASYNC110  # a server process takes a moment to end
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("payload", ["", "minor_update", "minor_update x", "minor_update -1", "prune 3", " 3"])
def test_a_wish_of_another_release_is_none(payload: str) -> None:
    assert runs.heard(payload) is None
    assert runs.heard(str(runs.Wish("major_retrain", 7))) == runs.Wish("major_retrain", 7)


async def test_a_wish_is_for_one_learner(engine: AsyncEngine) -> None:
    async with engine.connect() as one, engine.connect() as other:
        assert await locks.try_hold_wish(one, "minor_update 1")
        assert not await locks.try_hold_wish(other, "minor_update 1")
        assert await locks.try_hold_wish(other, "minor_update 2")
        await locks.release_wish(one, "minor_update 1")
        assert await locks.try_hold_wish(other, "minor_update 1")
        for wish in ("minor_update 1", "minor_update 2"):
            await locks.release_wish(other, wish)


async def test_a_listener_whose_connection_was_killed_listens_again(
    engine: AsyncEngine, database_url: str, noon: datetime
) -> None:
    async with Listener(database_url) as listener:
        await listener.wait(0.05)
        async with writing(engine) as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drn listener'")
            )
        assert await listener.wait(0.1) == frozenset()
        await listener.wait(0.05)
        async with writing(engine) as connection:
            await articles.upsert(connection, [Article("a", "t", noon)], noon)
        assert await listener.wait(1) == {"drn_articles"}


async def test_a_listener_without_a_server_only_waits() -> None:
    async with Listener("postgresql://drn@127.0.0.1:1/drn") as listener:
        began = asyncio.get_running_loop().time()
        assert await listener.wait(0.2) == frozenset()
        assert 0.15 < asyncio.get_running_loop().time() - began < 1
