"""Runs that somebody asked for: begun at once, by one learner, and by nobody if nobody listens."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.scheduler import Learner, heeding
from jobs.settings import LearnerSettings
from service.dashboard.run_now import JOBS, Update, run_now
from service.errors import Unprocessable
from service.store import locks, runs
from service.store.engine import reading, writing
from service.store.locks import Lock
from service.store.runs import Wish


def learner(site: Any) -> Learner:
    return Learner(site.engine, site.config, LearnerSettings(), site.clock)


async def listening(engine: AsyncEngine, wanted: bool) -> None:
    """Returns once somebody, or nobody, listens."""
    async with asyncio.timeout(30), reading(engine) as connection:
        while await locks.is_held(connection, Lock.LISTENING) is not wanted:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.02)


async def until_ended(site: Any, job: str, count: int) -> list[runs.Run]:
    async with asyncio.timeout(30):
        while len(found := await site.runs(job)) < count or found[0].ended_at is None:  # noqa: ASYNC110  # the ledger is looked at
            await asyncio.sleep(0.02)
    return found


async def test_of_two_learners_one_fulfils_a_wish_at_once(site: Any) -> None:
    first, second = learner(site), learner(site)
    scheduler, other = await first.schedule(), await second.schedule()
    async with heeding(first, scheduler), heeding(second, other):
        await listening(site.engine, True)
        await site.visit(4)
        await site.close()
        assert await run_now(site.node, Update.MINOR) == Wish("minor_update", 0)
        done = (await until_ended(site, "minor_update", 1))[0]
        assert (done.outcome, done.version_id) == ("published", 2)
        asked = await run_now(site.node, Update.MINOR)  # long before it is due
        assert asked == Wish("minor_update", done.id)
        await until_ended(site, "minor_update", 2)
        await asyncio.sleep(0.3)  # for the learner that came second
        assert [row.outcome for row in await site.runs("minor_update")] == ["skipped", "published"]
    for each in (scheduler, other):
        due = {job.id: job.next_run_time for job in each.get_jobs()}
        assert due["minor_update"] == site.clock.now + timedelta(seconds=site.config.minor_period)
    await listening(site.engine, False)


async def test_a_run_that_began_meanwhile_fulfils_the_wish(site: Any) -> None:
    own = learner(site)
    await own.fulfil(Wish("major_retrain", 0))
    [done] = await site.runs("major_retrain")
    await own.fulfil(Wish("major_retrain", 0))  # told twice, or late
    assert await site.runs("major_retrain") == [done]
    await own.end()
    await own.fulfil(Wish("major_retrain", done.id))
    assert await site.runs("major_retrain") == [done]


async def test_a_learner_survives_wishes_that_it_does_not_know(site: Any) -> None:
    own = learner(site)
    async with heeding(own, await own.schedule()):
        await listening(site.engine, True)
        async with writing(site.engine) as connection:
            for job in ("prune", "", "minor_update x"):
                await runs.ask(connection, Wish(job, 0))
        await run_now(site.node, Update.MAJOR)
        assert (await until_ended(site, "major_retrain", 1))[0].outcome == "skipped"
    assert {row.job for row in await site.runs()} == {"first_version", "major_retrain"}


async def test_a_learner_that_hears_no_more_is_not_taken_for_one_that_does(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = learner(site)
    async with heeding(own, await own.schedule()):
        await listening(site.engine, True)
        monkeypatch.setattr(runs, "heard", lambda _: Wish("no such job", 0))
        await run_now(site.node, Update.MINOR)
        await listening(site.engine, False)


async def test_nobody_is_asked_where_nobody_listens(site: Any) -> None:
    with pytest.raises(Unprocessable, match="no learner is listening"):
        await run_now(site.node, Update.MINOR)


async def test_the_process_hears_a_wish_and_is_known_to_be_gone(site: Any, python: Callable[..., Any]) -> None:
    await site.visit(12)
    changes = site.node.settings.changes | {"minor_period": 3_600.0, "major_period": 3_600.0}
    now = datetime.now(UTC)
    async with writing(site.engine) as connection:  # so that neither is due when it starts
        for job in runs.ASKABLE:
            await runs.close(connection, await runs.open(connection, job, now), "done", now)
    process = python("-m", "jobs", "schedule", DRN_CONFIG=json.dumps(changes))
    await listening(site.engine, True)
    began = time.monotonic()
    for update, job in JOBS.items():
        await run_now(site.node, update)
        assert (await until_ended(site, job, 2))[0].outcome == "published", job
    assert time.monotonic() - began < 30
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    await listening(site.engine, False)
