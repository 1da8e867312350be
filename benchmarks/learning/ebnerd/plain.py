"""The simplest peers: chance, and what everybody clicked within the last 24 hours."""

import numpy as np

from benchmarks.learning.ebnerd.lists import JudgedList
from drn.features import WINDOW_NAMES
from drn.types import Floats


class Random:
    """Chance: what every other row has to be better than."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def scores(self, one: JudgedList) -> Floats:
        return self._rng.random(len(one.clicked), np.float32)

    def learn(self, one: JudgedList) -> None:
        pass


class Popularity:
    """Clicks of the last 24 h, as logged at the second of the decision; ties by chance, as in the reference script."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def scores(self, one: JudgedList) -> Floats:
        clicks = one.observation.counts[:, WINDOW_NAMES.index("24h")]
        return np.asarray(clicks + 0.5 * self._rng.random(len(clicks)), np.float32)

    def learn(self, one: JudgedList) -> None:
        pass
