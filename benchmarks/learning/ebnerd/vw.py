"""Vowpal Wabbit's contextual bandit with action-dependent features, learning list by list."""

import numpy as np
import vowpalwabbit

from benchmarks.learning.ebnerd.lists import JudgedList
from drn.types import Floats

PROPERTIES = 20  # the reader's strongest ones are crossed with the article's
SETTINGS = "--cb_explore_adf --cb_type ips --softmax --lambda 1 --interactions rc --learning_rate 0.5 --bit_precision 20"


class Bandit:
    """`cb_explore_adf` on the dense inputs `d`, the article's content slots `c` and their crosses with the reader's own `r`.

    The log's policy is unknown, so the logged probability is the honest 1/n; every click is one cost of −1.
    """

    def __init__(self, settings: str = SETTINGS) -> None:
        self._workspace = vowpalwabbit.Workspace(f"{settings} --quiet")
        self._lines: tuple[JudgedList, list[str]] | None = None

    def scores(self, one: JudgedList) -> Floats:
        """Probabilities under a softmax of the predicted costs, which keeps their order."""
        return np.array(self._workspace.predict(self._described(one)), np.float32)

    def learn(self, one: JudgedList) -> None:
        shared, *actions = self._described(one)
        for chosen in np.flatnonzero(one.clicked):
            label = f"0:-1:{1 / len(actions):.6f} "
            self._workspace.learn([shared, *actions[:chosen], label + actions[chosen], *actions[chosen + 1 :]])

    def _described(self, one: JudgedList) -> list[str]:
        if self._lines is None or self._lines[0] is not one:
            self._lines = one, describe(one)
        return self._lines[1]


def describe(one: JudgedList) -> list[str]:
    """The list in VW's text format: the reader, then a line per article."""
    slots = one.observation.reader.shape[1]
    liked = one.observation.reader[-1].astype(np.float64)
    strongest = [slot for slot in np.argsort(-liked, kind="stable")[:PROPERTIES] if liked[slot]]
    share = liked / max(1.0, float(one.observation.reader_totals[-1]))
    shared = "shared |r " + " ".join(f"{slot}:{share[slot]:.4g}" for slot in strongest)
    dense = "|d " + " ".join(f"{i}:%.4g" for i in range(one.inputs.dense.shape[1]))
    contents = [" ".join(map(str, row[row < slots].tolist())) for row in one.inputs.content]
    return [shared, *(f"{dense % tuple(row)} |c {own}" for row, own in zip(one.inputs.dense.tolist(), contents, strict=True))]
