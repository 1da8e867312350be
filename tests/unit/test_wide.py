from dataclasses import replace

import numpy as np
import pytest

from drn.checkpoint import digest
from drn.config import Config
from drn.exploration import perturb
from drn.guidance import guided_steps
from drn.model import InputShape, initial_weights
from drn.scoring import Scorer
from drn.transitions import Experience
from drn.types import Inputs, Model, Weights
from drn.wide import BASE, COVARIANCE, SLOT_LOGITS, Lesson, has_wide, informed, wide_steps, wide_weights, with_wide

NAMES = ("rate_1w_z", "age_z", "other", "interest_category_1w_z")
SHAPE = InputShape(reader=3, content=5, dense=len(NAMES))
CONFIG = Config(advantage_layers=(8, 4), value_layers=(4,), guided_batch=4, wide_precision=50.0)
K = 6


def start(config: Config = CONFIG) -> Weights:
    return informed(initial_weights(SHAPE, config, np.random.default_rng(0)), NAMES, config)


def scores(weights: Weights, inputs: Inputs) -> np.ndarray:
    return Scorer(Model(weights, weights), CONFIG).scores(inputs)[0]


def inputs_like(rng: np.random.Generator, n: int = K) -> Inputs:
    return Inputs(
        rng.standard_normal(SHAPE.reader).astype(np.float32),
        rng.integers(0, SHAPE.content + 1, (n, 2)).astype(np.uint16),
        rng.standard_normal((n, SHAPE.dense)).astype(np.float32),
    )


def clicked_by(taste: np.ndarray, count: int, seed: int = 0) -> list[Experience]:
    """Lists of six in chance order, clicked with σ(taste·x − 1), of which the reader looks at all."""
    rng, off, made = np.random.default_rng(seed), np.zeros(K, np.bool_), []
    for at in range(count):
        inputs = inputs_like(rng)
        clicks = rng.random(K) < 1 / (1 + np.exp(1 - inputs.dense @ taste))
        flat = np.zeros(K, np.float32)
        made.append(Experience(inputs, float(at), np.arange(K, dtype=np.int32), clicks, ~off, off, flat, flat, flat))
    return made


def test_the_wide_path_adds_its_sum_to_the_score_and_nothing_else():
    weights, rng = start(), np.random.default_rng(1)
    inputs, moved = inputs_like(rng), rng.standard_normal(SHAPE.dense)
    gained = scores(with_wide(weights, moved), inputs) - scores(with_wide(weights, np.zeros(SHAPE.dense)), inputs)
    assert gained == pytest.approx(inputs.dense @ moved, abs=1e-5)


def test_beliefs_are_found_by_name():
    assert wide_weights(start()).tolist() == [0.5, -0.25, 0.0, 0.25]


@pytest.mark.parametrize(
    "change",
    [{"wide_precision": 0.0}, {"activation": "sigmoid"}, {"advantage_layers": (8, 2)}],
    ids=["off", "sigmoid", "no room"],
)
def test_some_networks_have_none(change):
    config = replace(CONFIG, **change)
    plain = initial_weights(SHAPE, config, np.random.default_rng(0))
    assert digest(start(config)) == digest(plain)
    assert not has_wide(plain)


def test_whoever_touches_the_path_ends_it():
    assert has_wide(start())
    assert not has_wide(perturb(start(), 0.1, np.random.default_rng(0)))


def test_one_step_by_hand():
    """One input x = 2, one slot, prior N(0, 1/50), base logit 0 with no say: the Kalman gain is P·x / (xᵀP·x + 1/p(1 − p))."""
    known = {COVARIANCE: np.diag([0.02] + [0.0] * 10).astype(np.float32), SLOT_LOGITS: np.zeros(10, np.float32)}
    lesson = Lesson(np.array([[2.0]], np.float32), np.zeros(1, np.float32), np.array([0]), np.array([True]))
    wide, after = wide_steps(np.zeros(1), known, [lesson], CONFIG)
    gain = 0.02 * 2 / (0.08 + 4)
    assert wide == pytest.approx([gain * 4 * 0.5])
    assert after[COVARIANCE][0, 0] == pytest.approx(0.02 - gain * 2 * 0.02)


def test_what_readers_like_is_found_with_few_lists():
    taste = np.array([0.0, 0.8, -0.8, 0.4])
    after, memory = guided_steps(start(), {}, clicked_by(taste, 400), CONFIG)
    assert has_wide(after)
    assert wide_weights(after) == pytest.approx(taste, abs=0.25)
    assert np.linalg.eigvalsh(memory[COVARIANCE].astype(np.float64)).min() > 0


def test_two_updates_are_one_when_the_memory_goes_along():
    lists = clicked_by(np.array([1.0, 0.0, 0.0, 0.0]), 64)
    whole = guided_steps(start(), {}, lists, replace(CONFIG, guided_rate=0.0))
    parts = start(), {}
    for begin in range(0, 64, 16):
        parts = guided_steps(*parts, lists[begin : begin + 16], replace(CONFIG, guided_rate=0.0))
    assert wide_weights(parts[0]) == pytest.approx(wide_weights(whole[0]), abs=1e-4)
    assert parts[1][COVARIANCE] == pytest.approx(whole[1][COVARIANCE], abs=1e-5)


def test_slots_that_nobody_looked_at_and_pins_teach_nothing():
    off = np.zeros(K, np.bool_)
    for change in ({"exposed": off}, {"pinned": ~off}):
        lists = [replace(one, clicked=off, **change) for one in clicked_by(np.zeros(4), 8)]
        after, memory = guided_steps(start(), {}, lists, CONFIG)
        assert digest(after) == digest(start())
        assert memory[SLOT_LOGITS].tolist() == [BASE] * 10


def test_clicks_by_position_alone_are_put_down_to_the_slots():
    """Slot 0 is clicked whatever it holds, and always holds what scores highest on the third input."""
    lists, rng = [], np.random.default_rng(3)
    for one in clicked_by(np.zeros(4), 600):
        order = np.argsort(-one.features.dense[:, 2])
        inputs = replace(one.features, dense=one.features.dense[order])
        lists.append(replace(one, features=inputs, clicked=rng.random(K) < np.array([0.5, 0.2, 0.1, 0.05, 0.02, 0.02])))
    after, memory = guided_steps(start(), {}, lists, replace(CONFIG, guided_rate=0.0))
    assert abs(wide_weights(after)[2]) < 0.15
    assert memory[SLOT_LOGITS][0] > memory[SLOT_LOGITS][1] > memory[SLOT_LOGITS][3]
