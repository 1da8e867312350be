"""The learner process: what is due, what a failure costs, and how it ends."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from jobs.runner import Done, single_step
from jobs.scheduler import Learner, Task, due
from jobs.settings import LearnerSettings
from jobs.upkeep import close_lost_runs
from service.store import runs, versions
from service.store.engine import create_engine, writing
from service.store.partitions import existing


def learner(site: Any) -> Learner:
    return Learner(site.engine, site.config, LearnerSettings(), site.clock)


def test_a_job_is_due_once_per_period_whoever_ticks() -> None:
    noon = datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert due(None, noon, 10.0)
    assert not due(noon, noon + timedelta(seconds=5), 10.0)
    assert due(noon, noon + timedelta(seconds=10), 10.0)
    assert due(noon, noon + timedelta(seconds=9.5), 10.0)  # ticks are never quite on time


async def test_a_second_learner_finds_nothing_due(site: Any) -> None:
    await site.visit(4)
    await site.close()
    first, second = learner(site), learner(site)
    minor = next(task for task in first.tasks if task.name == "minor_update")
    await first.tick(minor)
    await second.tick(next(task for task in second.tasks if task.name == "minor_update"))
    assert [row.outcome for row in await site.runs("minor_update")] == ["published"]
    site.clock.advance(site.config.minor_period)
    await second.tick(minor)
    assert len(await site.runs("minor_update")) == 2


async def test_what_fell_due_while_no_learner_ran_is_due_at_once(site: Any) -> None:
    async with writing(site.engine) as connection:
        await runs.open(connection, "minor_update", site.clock.now - timedelta(seconds=2 * site.config.minor_period))
        await runs.open(connection, "major_retrain", site.clock.now - timedelta(seconds=60))
    jobs = {job.id: job for job in (await learner(site).schedule()).get_jobs()}
    assert jobs["minor_update"].next_run_time == site.clock.now
    assert jobs["major_retrain"].next_run_time == site.clock.now + timedelta(seconds=site.config.major_period - 60)
    assert jobs["prune"].next_run_time == site.clock.now + timedelta(hours=1)


async def test_beginning_makes_the_first_version_and_days_to_write_to(engine: AsyncEngine) -> None:
    noon = datetime(2024, 5, 6, 12, tzinfo=UTC)
    for _ in range(2):  # the second learner finds everything there
        await Learner(engine, Config(), LearnerSettings(), lambda: noon).begin()
    async with writing(engine) as connection:
        days = await existing(connection)
        assert await versions.head_id(connection) == 1
    today = noon.date()
    assert {today, today + timedelta(days=3)} <= set(days)


async def test_a_failing_job_does_not_end_the_learner(site: Any) -> None:
    async def fail() -> None:
        raise RuntimeError("out of ink")

    await learner(site).tick(Task("print", 1.0, fail))


async def test_postgresql_gone_does_not_end_the_learner(site: Any) -> None:
    nowhere = create_engine("postgresql://nobody@127.0.0.1:9/none")
    lost = Learner(nowhere, site.config, LearnerSettings(), site.clock)
    await lost.tick(lost.tasks[0])
    await nowhere.dispose()


async def test_ending_waits_for_the_work_at_hand_and_gives_training_up(site: Any) -> None:
    own = learner(site)
    begun, finished = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.2)
        finished.set()

    ticking = asyncio.create_task(own.tick(Task("work", 1.0, work)))
    await begun.wait()
    ticking.cancel()  # as APScheduler does when it ends
    await own.end()
    assert finished.is_set()


async def test_rows_of_dead_runs_are_closed(site: Any) -> None:
    async with writing(site.engine) as connection:
        await runs.open(connection, "minor_update", site.clock.now - timedelta(minutes=1))
        await runs.open(connection, "major_retrain", site.clock.now)
        assert await close_lost_runs(connection, site.clock.now) == 1
    assert {row.job: row.outcome for row in await site.runs()} | {"first_version": ""} == {
        "minor_update": "failed",
        "major_retrain": "running",
        "first_version": "",
    }


async def test_a_long_retention_run_is_not_taken_for_lost(site: Any) -> None:
    """Upkeep holds no lock that a learner needs, and may take longer than a run needs to show that it lives."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def work(_connection: Any, _config: Config, _now: datetime) -> Done:
        begun.set()
        await closed.wait()
        return Done()

    running = asyncio.create_task(site.run(single_step("prune", work)))
    await begun.wait()
    site.clock.advance(3_600)
    async with writing(site.engine) as connection:
        assert await close_lost_runs(connection, site.clock.now) == 0
    closed.set()
    await running
    assert (await site.runs("prune"))[0].outcome == "done"


async def test_the_log_is_counted_before_it_is_pruned(site: Any) -> None:
    await learner(site).count_and_prune()
    assert [row.job for row in await site.runs()][:2] == ["prune", "count_log"]


async def test_a_run_that_a_fast_clock_dated_tomorrow_holds_up_nothing(site: Any) -> None:
    async with writing(site.engine) as connection:
        await runs.open(connection, "minor_update", site.clock.now + timedelta(days=1))
    await site.visit(2)
    await site.close()
    own = learner(site)
    await own.tick(next(task for task in own.tasks if task.name == "minor_update"))
    assert (await site.head()).id == 2


async def test_the_process_learns_and_ends_cleanly_on_sigterm(site: Any, python: Callable[..., Any]) -> None:
    await site.visit(12)
    changes = site.node.settings.changes | {"minor_period": 0.5, "major_period": 1.0}
    process = python("-m", "jobs", "schedule", DRN_CONFIG=json.dumps(changes))
    until = time.monotonic() + 60
    while {row.job for row in await site.runs() if row.outcome == "published"} != {
        "first_version",
        "minor_update",
        "major_retrain",
    }:
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[0]
        await asyncio.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert not [row for row in await site.runs() if row.outcome == "running"]
