"""Upkeep: a start after counting by the hour finds the counts that a process has that was there all the time."""

from typing import Any

import numpy as np

from jobs.runner import Done
from jobs.upkeep import COUNT_LOG
from service.node import open_node
from service.settings import Settings


async def test_a_start_after_counting_finds_the_same_counts(site: Any, settings: Settings) -> None:
    await site.visit(6)
    outcome = await site.run(COUNT_LOG)
    assert isinstance(outcome, Done)
    assert outcome.detail["impressions"] >= 6
    await site.visit(3)  # beyond what was counted
    site.clock.advance(3 * 3600)
    followed = site.node.live.catalogue
    async with open_node(settings, site.clock) as fresh:
        started = fresh.live.catalogue
        for catalogue in (followed, started):
            catalogue.advance(int(site.clock.now.timestamp()))
        rows = [(followed.row(f"a{i}"), started.row(f"a{i}")) for i in range(8)]
        for mine, its in rows:
            np.testing.assert_array_equal(followed.counts[mine], started.counts[its])
    assert followed.counts.sum() > 0
