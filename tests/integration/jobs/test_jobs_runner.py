"""What stands around a job: ledger, lock, one transaction."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.types import Article
from jobs.runner import Done, Job, Outcome, Skipped, Step, Transaction, exclusive, single_step
from service.store import articles, locks
from service.store.engine import reading
from service.store.locks import RETRAIN


async def store_article(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    await articles.upsert(connection, [Article("new", "New", now)], now)
    return Done({"articles": 1})


async def is_stored(site: Any) -> bool:
    async with reading(site.engine) as connection:
        return await articles.get(connection, "new") is not None


async def test_a_job_and_its_row_commit_together(site: Any) -> None:
    assert await site.run(single_step("store", store_article)) == Done({"articles": 1})
    row = (await site.runs("store"))[0]
    assert (row.outcome, row.detail, row.started_at, row.ended_at) == ("done", {"articles": 1}, site.clock.now, site.clock.now)
    assert await is_stored(site)


async def test_a_failure_leaves_nothing_but_its_row(site: Any) -> None:
    async def fail(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
        await store_article(connection, config, now)
        raise RuntimeError("out of ink")

    with pytest.raises(RuntimeError, match="out of ink"):
        await site.run(single_step("print", fail))
    row = (await site.runs("print"))[0]
    assert (row.outcome, row.detail) == ("failed", {"reason": "RuntimeError: out of ink"})
    assert not await is_stored(site)


async def test_a_cancelled_run_is_told_of_and_stays_cancelled(site: Any) -> None:
    begun = asyncio.Event()

    async def wait(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
        begun.set()
        await asyncio.sleep(60)
        return Done()

    task = asyncio.create_task(site.run(single_step("wait", wait)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await site.runs("wait"))[0].detail == {"reason": "it was stopped"}


async def test_preparation_that_finds_nothing_to_do_is_a_skip_with_its_reason(site: Any) -> None:
    async def prepare(transaction: Transaction, config: Config, now: datetime) -> Step | Skipped:
        return Skipped("nothing to do", {"needed": 3})

    assert await site.run(Job("idle", prepare)) == Skipped("nothing to do", {"needed": 3})
    row = (await site.runs("idle"))[0]
    assert (row.outcome, row.detail) == ("skipped", {"reason": "nothing to do", "needed": 3})


async def test_a_lock_that_somebody_holds_is_a_skip_and_is_free_again_afterwards(site: Any) -> None:
    async def prepare(transaction: Transaction, config: Config, now: datetime) -> Step | Skipped:
        return store_article

    job = Job("retrain", prepare, RETRAIN)
    async with exclusive(site.engine, RETRAIN) as held:
        assert held
        assert await site.run(job) == Skipped("another learner is at work")
    assert await site.run(job) == Done({"articles": 1})
    async with site.engine.connect() as connection:
        assert await locks.try_hold_session(connection, RETRAIN)
