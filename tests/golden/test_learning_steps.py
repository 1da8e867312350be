"""Numbers that a version line depends on: the same seed must propose the same network, the same feedback the same step."""

import numpy as np

from drn.config import Config
from drn.exploration import perturb, spread, version_rng
from drn.guidance import guided_steps
from drn.transitions import Experience
from drn.types import Inputs

WEIGHTS = {"b": np.array([1.0, -2.0], np.float32), "a": np.array([[0.5, 4.0]], np.float32)}


def test_the_paper_direction_of_version_2():
    proposed = perturb(WEIGHTS, 0.1, version_rng(Config(root_seed=7), 2))
    np.testing.assert_allclose(proposed["a"], [[0.477797, 3.956122]], rtol=1e-5)
    np.testing.assert_allclose(proposed["b"], [1.086748, -2.073137], rtol=1e-5)


def test_the_antithetic_direction_of_version_2():
    proposed = spread(WEIGHTS, 0.02, version_rng(Config(root_seed=7), 2))
    np.testing.assert_allclose(proposed["a"], [[0.5044034, 3.991802]], rtol=1e-5)
    np.testing.assert_allclose(proposed["b"], [0.997218, -1.992937], rtol=1e-5)


def test_three_guided_steps():
    """A one-layer sigmoid network, three times the same list: the second of three candidates was clicked."""
    start = {
        "advantage.dense": np.array([[0.5, -0.5], [0.25, 1.0]], np.float32),
        "advantage.bias": np.zeros(2, np.float32),
        "advantage.out.weight": np.array([1.0, -0.5], np.float32),
        "advantage.out.bias": np.zeros(1, np.float32),
    }
    dense = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32)
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], np.float32)
    off = np.zeros(3, np.bool_)
    one = Experience(
        features=Inputs(np.zeros(0, np.float32), np.zeros((3, 0), np.uint16), dense),
        at=0.0,
        shown=np.array([0, 1, 2], np.int32),
        clicked=np.array([False, True, False]),
        examined=~off,
        pinned=off,
        reward=np.array([0.0, 1.0, 0.0], np.float32),
        current_scores=scores[0],
        explore_scores=scores[1],
    )
    config = Config(activation="sigmoid", guided_batch=1, guided_rate=0.01, tau=3.0)
    weights, memory = guided_steps(start, {}, [one] * 3, config)
    np.testing.assert_allclose(weights["advantage.dense"], [[0.470012, -0.4700211], [0.27999, 0.9700026]], rtol=1e-5)
    np.testing.assert_allclose(weights["advantage.out.weight"], [0.9700369, -0.4700169], rtol=1e-5)
    assert memory["step"] == 3
