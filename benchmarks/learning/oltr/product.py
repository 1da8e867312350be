"""The product's learner in the simulation: `drn.updates.learn` on what `drn.interleaving` showed, and nothing of its own."""

import numpy as np

from benchmarks.learning.oltr.letor import Query
from benchmarks.learning.oltr.readers import examined
from drn.config import Config
from drn.exploration import open_explore, version_rng
from drn.interleaving import interleave, outcome
from drn.model import InputShape, initial_weights
from drn.scoring import Scorer
from drn.statistics import Doubles, chances, reader_units
from drn.transitions import Experience
from drn.types import Bools, DuelState, Floats, Inputs, Interleaving, Ints, Model
from drn.updates import learn
from drn.verdicts import watch

SHOWN = 10


class Product:
    """Serves both networks' interleaving and makes a minor update of every `every` impressions."""

    def __init__(self, features: int, config: Config, rng: np.random.Generator, every: int) -> None:
        self._config, self._rng, self._every = config, rng, every
        start = version_rng(config, 1)
        current = initial_weights(InputShape(0, 0, features), config, start)
        self.model = Model(current, open_explore(current, config, start))
        self.duel = DuelState(1)
        self._version = 1
        self._scorer = Scorer(self.model, config)
        self._served: tuple[Inputs, Floats, Interleaving] | None = None
        self._closed: list[tuple[Experience, float, Doubles]] = []

    def rank(self, query: Query) -> Ints:
        inputs = inputs_of(query.features)
        scores = self._scorer.scores(inputs)
        merged = interleave(scores[0], scores[1], SHOWN, self._config.tau, self._rng)
        self._served = inputs, scores, merged
        return merged.shown

    def learn(self, clicked: Bools) -> None:
        if self._served is None:
            return
        inputs, scores, merged = self._served
        at = float(self._version * self._every + len(self._closed))
        reward = clicked.astype(np.float32)
        one = Experience(inputs, at, merged.shown, clicked, examined(clicked), merged.pinned, reward, scores[0], scores[1])
        self._closed.append((one, outcome(merged.credit, clicked), chances(merged)))
        if len(self._closed) >= self._every:
            self._update()

    def _update(self) -> None:
        experiences, outcomes, offered = zip(*self._closed, strict=True)
        clicks = [int(one.clicked.sum()) for one in experiences]
        duel = watch(self.duel, reader_units([None] * len(clicks), clicks, outcomes), np.concatenate(offered))
        self._version += 1
        step = learn(self.model, duel, experiences, outcomes, self._config, self._version)
        self.model, self.duel = step.model, step.duel
        self._scorer = Scorer(self.model, self._config)
        self._closed = []

    def scores(self, features: Floats) -> Floats:
        return np.asarray(self._scorer.scores(inputs_of(features))[0])


def inputs_of(features: Floats) -> Inputs:
    """Dense inputs alone: a query has neither a reader nor one-hot content."""
    return Inputs(np.zeros(0, np.float32), np.zeros((len(features), 0), np.uint16), features)
