"""LambdaMART (LightGBM), trained again on everything so far every few hours."""

import lightgbm
import numpy as np

from benchmarks.learning.ebnerd.lists import JudgedList
from drn.features import CONTEXT, V
from drn.types import Floats

CATEGORY = 1  # the content column of the article's category


class LambdaMart:
    """Gradient-boosted trees on NDCG. (Burges 2010)

    Sees the dense inputs and, as a tree can use them, what the product sees as one-hot: the article's category, hour,
    weekday, device and surface, the reader's clicks by window and the list's length.

    Args:
        period: seconds between two trainings
        trees: boosting rounds
        settings: LightGBM's parameters beside the objective
    """

    def __init__(self, period: float, trees: int, settings: dict[str, float]) -> None:
        self.period, self.trees = period, trees
        self.settings = {"objective": "lambdarank", "verbose": -1, "num_threads": 1, "deterministic": True, **settings}
        self._next: float | None = None
        self._model: lightgbm.Booster | None = None
        self._rows: list[Floats] = []
        self._labels: list[Floats] = []

    def scores(self, one: JudgedList) -> Floats:
        if self._next is None:
            self._next = one.at + self.period
        while one.at >= self._next:
            self._next += self.period
            if one.at < self._next:
                self._train()
        if self._model is None:
            return np.zeros(len(one.clicked), np.float32)
        return np.asarray(self._model.predict(features(one)), np.float32)

    def learn(self, one: JudgedList) -> None:
        self._rows.append(features(one))
        self._labels.append(one.clicked.astype(np.float32))

    def _train(self) -> None:
        lengths = [len(labels) for labels in self._labels]
        data = lightgbm.Dataset(np.concatenate(self._rows), np.concatenate(self._labels), group=lengths)
        self._model = lightgbm.train(self.settings, data, self.trees)


def features(one: JudgedList) -> Floats:
    """(n, D + columns of the list and the article's category)"""
    n, first = len(one.clicked), len(one.inputs.reader) - CONTEXT - 1 - V
    of_list = np.concatenate([one.observation.context, one.inputs.reader[first : first + V], [n]], dtype=np.float32)
    category = one.inputs.content[:, [CATEGORY]].astype(np.float32)
    return np.hstack([one.inputs.dense, category, np.broadcast_to(of_list, (n, len(of_list)))])
