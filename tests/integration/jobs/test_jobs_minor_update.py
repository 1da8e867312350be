"""Minor updates on a real log: what is consumed, once, whoever dies and however many learn."""

import asyncio
import random
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from jobs.minor_update import MINOR
from jobs.runner import Published, Skipped, exclusive, run
from service.store import duels, versions
from service.store.engine import create_engine, reading, writing
from service.store.locks import LEARN

Python = Callable[..., "subprocess.Popen[str]"]

DIES_BEFORE_COMMIT = """
import os, signal
from service.store import duels
settle = duels.settle

async def settle_and_die(connection, minor):
    await settle(connection, minor)
    os.kill(os.getpid(), signal.SIGKILL)

duels.settle = settle_and_die
import sys
sys.argv = ["jobs", "minor-update"]
from jobs.__main__ import main
main()
"""


async def outcomes(site: Any) -> list[str]:
    async with reading(site.engine) as connection:
        rows = await connection.execute(text("SELECT request_id FROM duel_outcomes ORDER BY at, request_id"))
        return [row.request_id for row in rows]


async def test_closed_lists_are_consumed_in_order_and_only_once(site: Any) -> None:
    await site.visit(3)
    site.clock.advance(site.config.feedback_window - 1.5)  # the first two have closed
    first = await site.run(MINOR)
    assert first == Published(2, first.detail)
    assert first.detail["impressions"] == 2.0
    assert first.detail["clicks"] == 2.0
    assert (await site.head()).watermark == 2
    await site.close()
    assert (await site.run(MINOR)).version_id == 3
    assert await outcomes(site) == ["r1", "r2", "r3"]
    assert await site.run(MINOR) == Skipped("0 closed impressions since the last update; 1 needed")
    assert [row.outcome for row in await site.runs("minor_update")] == ["skipped", "published", "published"]


async def test_an_open_list_holds_back_the_closed_ones_behind_it(site: Any) -> None:
    """Lists are numbered as they are committed, so an older time may follow a newer one."""
    site.clock.advance(30)
    await site.visit(1)
    site.clock.now -= timedelta(seconds=60)
    await site.visit(1)
    site.clock.advance(site.config.feedback_window)
    assert isinstance(await site.run(MINOR), Skipped)
    site.clock.advance(60)
    assert (await site.run(MINOR)).detail["impressions"] == 2.0


async def test_one_list_of_a_fast_clock_holds_back_nobody(site: Any) -> None:
    """It is dated tomorrow; the lists around it are learned today, and it with those behind it, once."""
    await site.visit(2)
    site.clock.now += timedelta(days=1)
    await site.visit(1)
    site.clock.now -= timedelta(days=1)
    await site.visit(2)
    await site.close()
    assert (await site.run(MINOR)).detail["impressions"] == 5.0
    site.clock.advance(2 * 86_400)
    assert await site.run(MINOR) == Skipped("0 closed impressions since the last update; 1 needed")
    assert sorted(await outcomes(site)) == [f"r{i}" for i in range(1, 6)]


async def test_what_cannot_be_read_is_stepped_over_and_counted(site: Any) -> None:
    await site.visit(4)
    await site.close()
    async with writing(site.engine) as connection:
        await connection.execute(text("UPDATE impressions SET observation = 'garbage' WHERE seq IN (2, 4)"))
    assert (await site.run(MINOR)).detail["impressions"] == 2.0
    head = await site.head()
    assert (head.watermark, head.metrics["undecodable"]) == (4, 2.0)
    await site.visit(1)
    await site.close()
    assert (await site.run(MINOR)).detail["impressions"] == 1.0
    assert "undecodable" not in (await site.head()).metrics


async def test_version_duel_outcomes_and_ledger_row_are_one_transaction(site: Any) -> None:
    await site.visit(4)
    await site.close()
    published = await site.run(MINOR)
    head = await site.head()
    async with reading(site.engine) as connection:
        row = next(duel for duel in await duels.listing(connection) if duel.state.id == head.duel.id)
        xmins = {
            (await connection.scalar(text(query)))
            for query in (
                "SELECT xmin::text FROM model_versions WHERE id = 2",
                "SELECT min(xmin::text) FROM duel_outcomes",
                "SELECT max(xmin::text) FROM duel_outcomes",
                "SELECT xmin::text FROM duels WHERE id = 1",
                "SELECT xmin::text FROM job_runs WHERE version_id = 2",
            )
        }
    assert len(xmins) == 1
    assert row.state == head.duel
    assert published.version_id == head.id


async def test_of_many_learners_one_learns(site: Any) -> None:
    await site.visit(10)
    await site.close()
    engines = [create_engine(site.node.settings.database_url, pool_size=2) for _ in range(4)]
    results = await asyncio.gather(*(run(engine, MINOR, site.config, site.clock) for engine in engines))
    assert sum(isinstance(result, Published) for result in results) == 1
    assert {result.reason for result in results if isinstance(result, Skipped)} <= {
        "another learner is at work",
        "0 closed impressions since the last update; 1 needed",
    }
    assert (await site.head()).id == 2
    assert len(await outcomes(site)) == 10
    for engine in engines:
        await engine.dispose()


async def test_a_learner_that_finds_another_at_work_does_not_wait(site: Any) -> None:
    await site.visit(2)
    await site.close()
    async with exclusive(site.engine, LEARN):
        assert await site.run(MINOR) == Skipped("another learner is at work")


async def test_killed_between_update_and_commit_nothing_is_lost_or_learned_twice(site: Any, python: Python) -> None:
    await site.visit(6)
    killed = python("-c", DIES_BEFORE_COMMIT)
    output, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, output
    assert (await site.head()).id == 1
    assert await outcomes(site) == []
    again = python("-m", "jobs", "minor-update")
    output, _ = again.communicate(timeout=60)
    assert "published version 2" in output
    assert sorted(await outcomes(site)) == sorted(f"r{i}" for i in range(1, 7))
    async with reading(site.engine) as connection:
        states = [row.outcome for row in await site.runs("minor_update")]
        assert (await versions.load(connection, 2)).watermark == 6
    assert states == ["published", "running"]  # the dead one's row waits for upkeep to close it


async def test_learners_killed_at_random_moments_never_fork_the_line_or_lose_a_list(site: Any, python: Python) -> None:
    """Two learners on the same log, ten lists at a time, killed at any moment; the survivors' line accounts for every list."""
    draw = random.Random(1)
    for _ in range(3):
        await site.visit(10)
        learners = [python("-m", "jobs", "minor-update") for _ in range(2)]
        await asyncio.sleep(draw.uniform(1.0, 5.0))
        for learner in learners:
            learner.kill()
            learner.communicate()
    final = python("-m", "jobs", "minor-update")
    output, _ = final.communicate(timeout=60)
    assert final.returncode == 0, output
    assert sorted(await outcomes(site)) == sorted(f"r{i}" for i in range(1, 31))
    async with reading(site.engine) as connection:
        line = await versions.listing(connection)
    assert [row.parent_id for row in line] == [*(row.id for row in line[1:]), None]
    assert line[0].watermark == 30
