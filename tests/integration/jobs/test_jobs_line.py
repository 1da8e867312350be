"""What a learner may go on from, what it does otherwise, and whose hyper-parameters a command takes."""

import asyncio
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from drn.config import Config
from drn.errors import SchemaMismatch
from drn.features import schema_digest
from drn.types import VersionKind
from jobs import runner
from jobs.line import configuration
from jobs.minor_update import MINOR
from jobs.runner import Published
from jobs.scheduler import Learner
from jobs.settings import LearnerSettings
from jobs.upkeep import NEW_LINE
from service.node import open_node
from service.settings import Settings
from service.store import versions
from service.store.engine import reading


@pytest.mark.parametrize(
    ("others", "difference"),
    [
        ({"category_slots": 30}, "version 1 was made for features"),
        ({"advantage_layers": (16,)}, r"advantage_layers of version 1 is \(8,\), the configured one is \(16,\)"),
        ({"value_layers": (4,)}, "value_layers of version 1 is"),
        ({"activation": "sigmoid"}, "activation of version 1 is hardswish"),
    ],
)
async def test_a_learner_of_other_features_or_layers_refuses_to_begin(site: Any, others: dict[str, Any], difference: str) -> None:
    other = Config.profile("default", **{**asdict(site.config), **others})
    with pytest.raises(SchemaMismatch, match=f"{difference}.*migrate --new-line"):
        await Learner(site.engine, other, LearnerSettings(), site.clock).begin()
    with pytest.raises(SchemaMismatch, match=difference):
        await runner.run(site.engine, MINOR, other, site.clock)
    assert (await site.head()).id == 1


async def test_other_rates_and_periods_are_no_other_network(site: Any) -> None:
    other = Config.profile("default", **{**asdict(site.config), "gamma": 0.1, "minor_period": 5.0, "direction": "random"})
    await Learner(site.engine, other, LearnerSettings(), site.clock).begin()


async def test_a_new_line_goes_on_with_other_features(site: Any, settings: Settings) -> None:
    """What was served before it belongs to other features and is stepped over, what is served after it is learned."""
    await site.visit(3)
    changed = settings.model_copy(update={"changes": settings.changes | {"category_slots": 30, "advantage_layers": [4]}})
    config = changed.config()
    assert await runner.run(site.engine, NEW_LINE, config, site.clock) == Published(2)
    head = await site.head()
    assert (head.id, head.parent_id, head.kind, head.watermark) == (2, 1, VersionKind.INITIAL, 0)
    assert (head.schema, head.duel.id) == (schema_digest(config), 2)
    await Learner(site.engine, config, LearnerSettings(), site.clock).begin()
    async with open_node(changed, site.clock) as node:
        site.node = node
        await site.visit(2)
    await site.close()
    outcome = await runner.run(site.engine, MINOR, config, site.clock)
    assert (outcome.version_id, outcome.detail["impressions"], outcome.detail["undecodable"]) == (3, 2.0, 3.0)
    assert (await site.head()).watermark == 5
    async with reading(site.engine) as connection:
        assert (await versions.load(connection, 1)).schema == schema_digest(site.config)


async def test_a_command_takes_the_heads_hyper_parameters_unless_some_are_set(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = site.node.settings.database_url
    for name in ("DRN_PROFILE", "DRN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert await configuration(site.engine, Settings(database_url=url)) == site.config
    monkeypatch.setenv("DRN_PROFILE", "paper")
    assert await configuration(site.engine, Settings(database_url=url)) == Config.profile("paper")
    monkeypatch.setenv("DRN_CONFIG", '{"gamma": 0.1}')
    monkeypatch.delenv("DRN_PROFILE")
    assert await configuration(site.engine, Settings(database_url=url)) == Config.profile("default", gamma=0.1)


async def run_command(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "jobs", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return str(done.stdout + done.stderr).strip()


async def test_the_command_extends_the_line_as_it_is(site: Any, environment: dict[str, str]) -> None:
    await site.visit(3)
    bare = {name: value for name, value in environment.items() if name not in ("DRN_PROFILE", "DRN_CONFIG")}
    assert await run_command(bare, "minor-update") == "published version 2"
    assert (await site.head()).config == site.config


async def test_the_learner_says_what_to_do_and_that_helps(site: Any, environment: dict[str, str]) -> None:
    other = environment | {"DRN_CONFIG": '{"category_slots": 30}'}
    assert "jobs migrate --new-line" in await run_command(other, "schedule")
    assert await run_command(other, "migrate", "--new-line") == "published version 2"
    assert (await site.head()).config.category_slots == 30
    assert (await site.runs("new_line"))[0].outcome == "published"
