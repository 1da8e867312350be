"""Automatic rollback, and what is said when the machine itself is at fault."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from drn.checkpoint import digest
from drn.holdback import half
from drn.types import HoldbackState
from jobs.errors import UnequalChances
from jobs.guard import GUARD
from jobs.minor_update import MINOR
from jobs.runner import Done, Published
from service.store.engine import reading, writing
from service.store.errors import WeightsPruned
from service.store.versions import load, prune

LOST = {
    "current_lists": 400,
    "current_clicked": 80,
    "reference_lists": 400,
    "reference_clicked": 200,
    "total": -240.0,
    "squares": 180.0,
}


DROP_WEIGHTS = """
UPDATE weights SET data = NULL, pruned_at = now() FROM model_versions WHERE id = 1 AND weights.digest = explore_digest
"""


@pytest.fixture
def changes() -> dict[str, Any]:
    return {"holdback_share": 0.5, "holdback_period": 60.0}


async def learn(site: Any, updates: int) -> None:
    for _ in range(updates):
        await site.visit(10)
        await site.close()
        assert isinstance(await site.run(MINOR), Published)
        await site.node.follower.catch_up()


async def rewrite(site: Any, column: str, **values: Any) -> None:
    """Gives the newest version other sums, as a long comparison would have left them."""
    newest = "UPDATE model_versions SET {0} = {0} || CAST(:values AS jsonb) WHERE id = (SELECT max(id) FROM model_versions)"
    async with writing(site.engine) as connection:
        await connection.execute(text(newest.format(column)), {"values": json.dumps(values)})


async def test_half_of_the_lists_that_are_held_back_are_the_references(site: Any) -> None:
    await learn(site, 2)
    reference = (await site.head()).holdback.reference
    assert reference == 3  # after one period
    await site.visit(40)
    share, found = site.config.holdback_share, [await site.node.impression(f"r{i}") for i in range(21, 61)]
    sides = {half(one.request_id, share): [] for one in found}
    for one in found:
        sides[half(one.request_id, share)].append((one.version_id, one.explore))
    assert {side: set(rows) for side, rows in sides.items()} == {1: {(3, False)}, -1: {(3, False)}, 0: {(3, True)}}
    await site.close()
    await site.run(MINOR)
    state = (await site.head()).holdback
    await learn(site, 1)
    assert state.reference == 4  # every period another one here


async def test_a_network_that_lost_is_rolled_back_with_its_reason(site: Any) -> None:
    await learn(site, 2)
    assert (await site.run(GUARD)).detail["reference"] == 3
    await rewrite(site, "holdback", reference=1, **LOST)
    await learn(site, 1)
    outcome = await site.run(GUARD)
    assert (outcome.version_id, outcome.detail["target"]) == (5, 1)
    head = await site.head()
    async with reading(site.engine) as connection:
        target = await load(connection, 1)
    assert (head.kind, head.parent_id, head.metrics["automatic"]) == ("rollback", 4, 1)
    assert digest(head.model.current) == digest(target.model.current)
    assert (head.holdback.reference, head.holdback.current_lists) == (5, 0)
    row = (await site.runs("guard"))[0]
    assert (row.outcome, row.version_id) == ("published", 5)
    assert row.detail["reason"].startswith("version 4 has lost to the hold-back's reference, version 1: 8")
    assert isinstance(await site.run(GUARD), Done)  # what was undone is not undone again


async def test_every_process_serves_the_lines_reference(site: Any) -> None:
    await learn(site, 2)
    await rewrite(site, "holdback", reference=1, since=site.clock.now.timestamp() + 3_600)
    await learn(site, 1)
    assert (await site.head()).holdback.reference == 1 == site.node.live.served.reference.version_id
    request = next(f"r{i}" for i in range(31, 99) if half(f"r{i}", site.config.holdback_share) < 0)
    await site.visit(int(request[1:]) - site.lists)
    impression = await site.node.impression(request)
    assert (impression.version_id, impression.explore) == (1, False)


async def test_a_reference_whose_weights_are_gone_holds_nobody_back(site: Any) -> None:
    await learn(site, 2)
    await rewrite(site, "holdback", reference=1, **LOST)
    async with writing(site.engine) as connection:
        await connection.execute(text(DROP_WEIGHTS))
    site.node.live.served = None
    await site.node.follower.catch_up()
    assert site.node.live.version_id == 3
    assert site.node.live.served.reference is None
    with pytest.raises(WeightsPruned):
        await site.run(GUARD)
    assert (await site.runs("guard"))[0].outcome == "failed"


async def test_the_references_weights_are_kept(site: Any) -> None:
    await learn(site, 4)
    await rewrite(site, "holdback", reference=3)
    later = site.clock.now
    async with writing(site.engine) as connection:
        assert await prune(connection, later, 1, later) > 0
    async with reading(site.engine) as connection:
        assert (await load(connection, 3, memory=False)).id == 3
        with pytest.raises(WeightsPruned):
            await load(connection, 4, memory=False)


async def test_unequal_chances_are_a_fault_of_the_machine_and_no_verdict(site: Any) -> None:
    await learn(site, 2)
    await rewrite(site, "duel", chance_total=400.0, chance_squares=1_000.0)
    with pytest.raises(UnequalChances, match="equal chances"):
        await site.run(GUARD)
    row = (await site.runs("guard"))[0]
    assert (row.outcome, row.version_id) == ("failed", None)
    assert "no duel is to be believed" in row.detail["reason"]
    site.node.live.served = None
    await site.node.follower.catch_up()
    assert "drn_unequal_chances 1.0" in site.node.metrics.exposition().decode()


async def test_a_line_from_before_begins_its_hold_back(site: Any) -> None:
    async with writing(site.engine) as connection:
        await connection.execute(text("UPDATE model_versions SET holdback = '{}'::jsonb"))
    assert (await site.head()).holdback == HoldbackState()
    await learn(site, 2)
    assert (await site.head()).holdback.reference == 3


async def test_the_command_tells_how_the_comparison_stands(site: Any, python: Callable[..., Any]) -> None:
    await learn(site, 2)
    output, _ = (command := python("-m", "jobs", "guard")).communicate(timeout=60)
    assert command.returncode == 0, output
    assert "reference 3, lists 0" in output
