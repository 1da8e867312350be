from dataclasses import replace

import numpy as np
import pytest

from drn.beliefs import informed
from drn.checkpoint import digest
from drn.config import Config
from drn.guidance import guided_steps
from drn.model import InputShape, freeze, initial_weights
from drn.scoring import Scorer
from drn.transitions import Experience
from drn.types import Inputs, Model, Weights

NAMES = ("rate_1w_z", "age_z", "other", "interest_category_1w_z")
BELIEVED = [0.5, -0.25, 0.0, 0.25]
SHAPE = InputShape(reader=3, content=5, dense=len(NAMES))
CONFIG = Config(advantage_layers=(8, 4), value_layers=(4,), guided_batch=4)
K = 6


def start(config: Config = CONFIG) -> Weights:
    return informed(initial_weights(SHAPE, config, np.random.default_rng(0)), NAMES, config)


def inputs_like(rng: np.random.Generator) -> Inputs:
    return Inputs(
        rng.standard_normal(SHAPE.reader).astype(np.float32),
        rng.integers(0, SHAPE.content + 1, (K, 2)).astype(np.uint16),
        rng.standard_normal((K, SHAPE.dense)).astype(np.float32),
    )


def test_the_start_adds_the_beliefs_to_the_score_and_nothing_else():
    weights, inputs = start(), inputs_like(np.random.default_rng(1))
    silent = freeze({**weights, "advantage.out.weight": np.concatenate([[0, 0], weights["advantage.out.weight"][2:]])})
    with_beliefs, without = (Scorer(Model(w, w), CONFIG).scores(inputs)[0] for w in (weights, silent))
    assert with_beliefs - without == pytest.approx(inputs.dense @ BELIEVED, abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"start": "chance"}, {"features": "paper"}, {"activation": "sigmoid"}, {"advantage_layers": (8, 2)}],
    ids=["off", "blank", "sigmoid", "no room"],
)
def test_some_networks_start_by_chance_alone(change):
    config = replace(CONFIG, **change)
    assert digest(start(config)) == digest(initial_weights(SHAPE, config, np.random.default_rng(0)))


def test_beliefs_that_are_wrong_are_unlearned():
    """Readers here click what is old and seldom clicked."""
    rng, off, flat = np.random.default_rng(0), np.zeros(K, np.bool_), np.zeros(K, np.float32)
    lists = []
    for at in range(400):
        inputs = inputs_like(rng)
        clicks = rng.random(K) < 1 / (1 + np.exp(1 - inputs.dense @ [-1, 1, 0, 0]))
        lists.append(Experience(inputs, float(at), np.arange(K, dtype=np.int32), clicks, ~off, off, flat, flat, flat))
    after, _ = guided_steps(start(), {}, lists, replace(CONFIG, guided_rate=0.01))
    inputs = replace_dense(inputs_like(rng), np.eye(4)[[0, 1]])
    rate, age = Scorer(Model(after, after), CONFIG).scores(inputs)[0]
    assert age > rate


def replace_dense(inputs: Inputs, dense: np.ndarray) -> Inputs:
    return Inputs(inputs.reader, inputs.content[: len(dense)], dense.astype(np.float32))
