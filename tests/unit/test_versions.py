from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.checkpoint import digest
from drn.config import Config
from drn.errors import SchemaMismatch
from drn.features import input_shape
from drn.model import check_shapes, initial_weights
from drn.types import DuelState, Model, VersionKind
from drn.versions import RETRAINED_ON, Version, initial_version, rollback

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SMALL = Config(
    provider_slots=2, category_slots=3, topic_slots=2, entity_slots=2, word_slots=2, advantage_layers=(4,), value_layers=(3,)
)


def learned(version: Version, version_id: int) -> Version:
    """A later version of the line with other weights."""
    weights = initial_weights(input_shape(SMALL), SMALL, np.random.default_rng(version_id))
    return replace(
        version,
        id=version_id,
        parent_id=version_id - 1,
        kind=VersionKind.MINOR,
        model=Model(weights, weights, {"step": np.ones(1, np.float32)}),
        watermark=10 * version_id,
        duel=DuelState(id=2, impressions=3),
    )


def test_the_line_begins_with_one_guided_duel_of_equals():
    version = initial_version(SMALL, NOON)
    check_shapes(version.model.current, input_shape(SMALL), SMALL)
    assert (version.id, version.parent_id, version.kind, version.watermark) == (1, None, VersionKind.INITIAL, 0)
    assert version.duel == DuelState(id=1)
    assert digest(version.model.current) == digest(version.model.explore)


@pytest.mark.parametrize("direction", ["random", "es"])
def test_other_directions_begin_with_something_to_try(direction):
    version = initial_version(replace(SMALL, direction=direction), NOON)
    assert digest(version.model.current) == digest(initial_version(SMALL, NOON).model.current)
    assert digest(version.model.current) != digest(version.model.explore)


def test_the_first_version_depends_on_seed_and_config_alone():
    version = initial_version(SMALL, NOON)
    assert version.digest == initial_version(SMALL, NOON + timedelta(days=3)).digest
    assert version.digest != initial_version(replace(SMALL, root_seed=1), NOON).digest


@pytest.mark.parametrize(
    "change",
    [
        {"id": 3},
        {"kind": VersionKind.MAJOR},
        {"watermark": 5},
        {"duel": DuelState(id=1, wins=1)},
        {"config": replace(SMALL, gamma=0.3)},
        {"schema": "other"},
    ],
)
def test_the_digest_covers_what_is_served_and_learned_next(change):
    version = initial_version(SMALL, NOON)
    assert replace(version, **change).digest != version.digest


@pytest.mark.parametrize("network", ["current", "explore", "memory"])
def test_the_digest_covers_every_tensor(network):
    version = initial_version(SMALL, NOON)
    other = replace(version.model, **{network: {"advantage.bias": np.ones(4, np.float32)}})
    assert replace(version, model=other).digest != version.digest


def test_a_rollback_is_a_new_version_with_old_weights_that_learns_nothing_twice():
    first = initial_version(SMALL, NOON)
    target, head = learned(first, 2), learned(first, 3)
    back = rollback(head, target, NOON)
    assert (back.id, back.parent_id, back.kind, back.watermark) == (4, 3, VersionKind.ROLLBACK, 30)
    assert digest(back.model.current) == digest(target.model.current)
    assert digest(back.model.explore) == digest(target.model.current)
    assert back.duel == DuelState(id=4)
    assert not back.model.memory
    assert back.metrics == {"target": 2.0, "retrained_on": 0.0, "new_share": 1.0}


def test_weights_of_other_features_or_layers_do_not_come_back():
    head = initial_version(SMALL, NOON)
    with pytest.raises(SchemaMismatch, match="made for features"):
        rollback(head, replace(head, schema="older"), NOON)
    with pytest.raises(SchemaMismatch, match="other layers"):
        rollback(head, initial_version(replace(SMALL, advantage_layers=(5,)), NOON), NOON)


def test_a_new_beginning_follows_the_line_and_learns_nothing_twice():
    version = initial_version(SMALL, NOON, parent_id=6, watermark=77)
    assert (version.id, version.parent_id, version.kind, version.watermark) == (7, 6, VersionKind.INITIAL, 77)
    assert version.duel == DuelState(id=7)
    assert digest(version.model.current) != digest(initial_version(SMALL, NOON).model.current)


def test_weights_of_another_activation_do_not_come_back():
    first = initial_version(replace(SMALL, activation="sigmoid"), NOON)
    with pytest.raises(SchemaMismatch, match="sigmoid, not hardswish"):
        rollback(initial_version(SMALL, NOON, parent_id=1), first, NOON)


def test_lists_are_drawn_with_less_chance_the_more_the_network_was_retrained_on():
    version = initial_version(replace(SMALL, tau=3.0, tau_trained=8.0, tau_halfway=400), NOON)
    assert version.tau == 3.0
    assert [replace(version, metrics={RETRAINED_ON: lists}).tau for lists in (400, 1_600)] == [5.5, 7.0]


def test_a_version_that_kept_no_share_was_retrained_on_all_the_same():
    version = initial_version(SMALL, NOON)
    assert version.new_share == 1.0
    assert replace(version, metrics={RETRAINED_ON: 600}).new_share == 0.25


@pytest.mark.parametrize("change", [{"tau": 9.0}, {"tau": 3.0, "gate": "duel"}])
def test_chance_stays_as_it_is_where_it_is_less_already_or_readers_have_not_decided(change):
    config = replace(SMALL, tau_trained=8.0, **change)
    assert replace(initial_version(config, NOON), metrics={RETRAINED_ON: 10_000}).tau == config.tau
