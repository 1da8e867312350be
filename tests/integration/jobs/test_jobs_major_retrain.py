"""Major updates: what trains outside any transaction, and what becomes of the minor updates that land meanwhile."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from drn.checkpoint import digest
from drn.types import Event
from drn.updates import shifted
from jobs.major_retrain import major_retrain
from jobs.minor_update import MINOR
from jobs.rollback import rollback_to
from jobs.runner import Published, Skipped, run
from service.handlers import feedback
from service.store import impressions, versions
from service.store.engine import reading, writing


async def test_a_retrained_network_becomes_current_and_the_duel_goes_on(site: Any) -> None:
    await site.visit(20)
    await site.close()
    before = await site.head()
    outcome = await site.run(major_retrain())
    assert isinstance(outcome, Published)
    head = await site.head()
    assert (head.id, head.parent_id, head.kind, head.watermark) == (2, 1, "major", before.watermark)
    assert head.duel == before.duel  # both networks moved alike
    assert digest(head.model.current) != digest(before.model.current)
    assert outcome.detail["replay"] == 20.0
    row = (await site.runs("major_retrain"))[0]
    assert (row.outcome, row.version_id) == ("published", 2)


async def test_too_little_replay_is_a_skip(site: Any) -> None:
    await site.visit(9)
    await site.close()
    assert await site.run(major_retrain()) == Skipped("9 closed impressions in replay; 10 needed")


async def test_minor_updates_that_land_during_training_keep_what_they_learned(site: Any) -> None:
    await site.visit(20)
    await site.close()
    training, landed = threading.Event(), threading.Event()

    def hold(done: int, steps: int) -> None:
        training.set()
        assert landed.wait(60)

    base = await site.head()
    retraining = asyncio.create_task(site.run(major_retrain(hold)))
    await asyncio.to_thread(training.wait, 60)
    assert (await site.run(MINOR)).version_id == 2  # the training holds no lock that a minor update needs
    await site.visit(5)
    await site.close()
    assert (await site.run(MINOR)).version_id == 3
    before = await site.head()
    landed.set()
    outcome = await retraining
    assert outcome.version_id == 4
    head = await site.head()
    assert (head.parent_id, head.watermark, head.metrics["base"]) == (3, 25, 1.0)
    # explore − current is what the minor updates had learned; retraining moves both by the same amount
    lead = shifted(head.model.current, before.model.explore, before.model.current)
    for name, tensor in head.model.explore.items():
        np.testing.assert_allclose(tensor, lead[name], rtol=0, atol=1e-6)
    assert digest(before.model.explore) != digest(base.model.explore)
    assert digest(head.model.current) != digest(before.model.current)


async def test_a_rollback_that_lands_during_training_is_not_undone(site: Any) -> None:
    """Not even if minor updates have followed it."""
    await site.visit(20)
    await site.close()
    assert (await site.run(MINOR)).version_id == 2
    training, landed = threading.Event(), threading.Event()

    def hold(_done: int, _steps: int) -> None:
        training.set()
        assert landed.wait(60)

    retraining = asyncio.create_task(site.run(major_retrain(hold)))
    await asyncio.to_thread(training.wait, 60)
    assert (await site.run(rollback_to(1))).version_id == 3
    await site.visit(5)
    await site.close()
    assert (await site.run(MINOR)).version_id == 4
    landed.set()
    outcome = await retraining
    assert isinstance(outcome, Skipped)
    assert outcome.reason == "version 3 (rollback) landed meanwhile"
    assert (await site.head()).id == 4


async def test_one_retraining_at_a_time(site: Any) -> None:
    await site.visit(20)
    await site.close()
    training, done = threading.Event(), threading.Event()

    def hold(_done: int, _steps: int) -> None:
        training.set()
        assert done.wait(60)

    first = asyncio.create_task(site.run(major_retrain(hold)))
    await asyncio.to_thread(training.wait, 60)
    assert await run(site.engine, major_retrain(), site.config, site.clock) == Skipped("another learner is at work")
    done.set()
    assert isinstance(await first, Published)


async def test_training_that_is_given_up_publishes_nothing_and_frees_the_lock(site: Any) -> None:
    await site.visit(20)
    await site.close()

    def give_up(done: int, steps: int) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        await site.run(major_retrain(give_up))
    assert (await site.head()).id == 1
    assert (await site.runs("major_retrain"))[0].outcome == "failed"
    assert isinstance(await site.run(major_retrain()), Published)


async def test_late_clicks_are_learned_by_the_next_major_update_only(site: Any) -> None:
    await site.visit(20)
    await site.close()
    await site.run(MINOR)
    before = await site.head()
    impression = await site.node.impression("r1")
    late = Event("late", impression.article_ids[3], "click", site.clock.now, request_id="r1")
    await feedback.record(site.node, [late], site.clock.now)
    assert (await site.run(MINOR)) == Skipped("0 closed impressions since the last update; 1 needed")
    async with reading(site.engine) as connection:
        entries, _ = await impressions.newest_closed(connection, 10**9, site.clock.now, before.schema, 100)
        found = await impressions.these(connection, entries, before.schema)
        seen = {one.impression.request_id: len(one.events) for one in found.values()}
        assert (await versions.head_id(connection)) == 2
    assert seen["r1"] == 2
    assert isinstance(await site.run(major_retrain()), Published)


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        ("observation = 'garbage' WHERE seq IN (3, 20)", 18),
        ("observation = observation || '\\x00' WHERE seq <= 10", 10),
    ],
    ids=["seen at once", "seen when it is read"],
)
async def test_what_is_damaged_is_left_out_of_replay(site: Any, damage: str, left: int) -> None:
    await site.visit(20)
    await site.close()
    async with writing(site.engine) as connection:
        await connection.execute(text(f"UPDATE impressions SET {damage}"))
    outcome = await site.run(major_retrain())
    assert (outcome.detail["replay"], outcome.detail["undecodable"]) == (left, 20 - left)
