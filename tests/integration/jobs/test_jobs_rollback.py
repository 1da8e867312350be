"""Going back to an older version, and how soon it is served."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from drn.checkpoint import digest
from drn.errors import SchemaMismatch
from jobs.minor_update import MINOR
from jobs.rollback import rollback_to
from jobs.runner import Published, Skipped
from service.store.engine import reading, writing
from service.store.errors import NoSuchVersion, WeightsPruned
from service.store.versions import load

DROP_WEIGHTS = """
UPDATE weights SET data = NULL, pruned_at = now() FROM model_versions WHERE id = 2 AND weights.digest = model_versions.{}
"""


async def learn(site: Any, updates: int) -> None:
    for _ in range(updates):
        await site.visit(5)
        await site.close()
        assert isinstance(await site.run(MINOR), Published)


async def test_an_older_network_is_served_again_as_a_new_version(site: Any) -> None:
    await learn(site, 2)
    before = await site.head()
    assert await site.run(rollback_to(1)) == Published(4, {"target": 1})
    head = await site.head()
    async with reading(site.engine) as connection:
        target = await load(connection, 1)
    assert (head.id, head.parent_id, head.kind) == (4, 3, "rollback")
    assert digest(head.model.current) == digest(target.model.current)
    assert head.watermark == before.watermark  # what was consumed is not learned again
    await site.visit(5)
    await site.close()
    assert (await site.run(MINOR)).version_id == 5


async def test_a_rollback_is_served_within_a_second(site: Any) -> None:
    await learn(site, 1)
    await site.run(rollback_to(1))
    committed = time.monotonic()
    while site.node.live.version_id != 3:
        assert time.monotonic() - committed < 1.0
        await asyncio.sleep(0.005)
    await site.visit(1)
    assert (await site.node.impression("r6")).version_id == 3


async def test_there_is_no_way_back_to_what_never_was(site: Any) -> None:
    with pytest.raises(NoSuchVersion):
        await site.run(rollback_to(7))
    assert (await site.head()).id == 1
    assert await site.run(rollback_to(1)) == Skipped("version 1 is the one being served")


async def test_weights_that_are_gone_or_made_for_other_features_do_not_come_back(site: Any) -> None:
    await learn(site, 2)
    async with writing(site.engine) as connection:
        await connection.execute(text(DROP_WEIGHTS.format("explore_digest")))
        await connection.execute(text("UPDATE model_versions SET schema = 'another' WHERE id = 1"))
    with pytest.raises(WeightsPruned, match="the weights of version 2 were dropped to save space"):
        await site.run(rollback_to(2))
    with pytest.raises(SchemaMismatch, match="version 1 was made for features another, version 3 serves"):
        await site.run(rollback_to(1))
    assert (await site.head()).id == 3
    assert [row.outcome for row in await site.runs("rollback")] == ["failed", "failed"]


async def test_a_learners_old_memory_is_not_needed(site: Any) -> None:
    await learn(site, 2)
    async with writing(site.engine) as connection:
        await connection.execute(text(DROP_WEIGHTS.format("memory_digest")))
    assert await site.run(rollback_to(2)) == Published(4, {"target": 2})


async def test_the_command_tells_what_it_did(site: Any, python: Callable[..., Any]) -> None:
    await learn(site, 1)
    output, _ = (command := python("-m", "jobs", "rollback", "--to", "1")).communicate(timeout=60)
    assert (command.returncode, output.strip()) == (0, "published version 3")
    output, _ = (command := python("-m", "jobs", "rollback", "--to", "9")).communicate(timeout=60)
    assert command.returncode == 1
    assert "there is no version 9" in output
