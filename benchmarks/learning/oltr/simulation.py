"""One run: queries in random order, a simulated reader per query, and the ranker's quality on held-out queries as it learns."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.oltr.letor import DataError, Fold, Query, judged
from benchmarks.learning.oltr.readers import Reader
from drn.types import Bools, Floats, Ints

CUTOFF = 10  # nDCG@10 in all published tables
POINTS = 20  # of a learning curve, from the start to the end


class Learner(Protocol):
    def rank(self, query: Query) -> Ints:
        """The list that is shown."""

    def learn(self, clicked: Bools) -> None:
        """What the reader did with the list shown last."""

    def scores(self, features: Floats) -> NDArray[np.floating[Any]]:
        """What the ranker would rank by if it stopped learning now."""


class Judge:
    """Mean nDCG@10 over held-out queries that have a relevant document, all of them at once.

    Raises DataError where there is none. The same numbers as `drn.evaluation.ndcg` query by query; equal scores rank by index.
    """

    def __init__(self, queries: Iterable[Query]) -> None:
        kept = list(judged(queries))
        if not kept:
            raise DataError("no held-out query has a relevant document, so nothing can be measured")
        lengths = np.array([len(one.grades) for one in kept])
        self.queries = len(kept)
        self._features = np.concatenate([one.features for one in kept])  # (N, D)
        self._owner = np.repeat(np.arange(len(kept)), lengths)  # (N,)
        self._starts = np.cumsum(lengths) - lengths  # (Q,)
        gain = np.exp2(np.concatenate([one.grades for one in kept]).astype(np.float64)) - 1  # (N,)
        self._gain = gain / self._dcg(gain, gain)[self._owner]  # (N,): share of the query's ideal DCG

    def _dcg(self, gain: NDArray[np.float64], scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        order = np.lexsort((-scores, self._owner))  # query by query, best first
        place = np.arange(len(order)) - self._starts[self._owner]
        discount = np.where(place < CUTOFF, 1 / np.log2(place + 2), 0.0)
        return np.asarray(np.bincount(self._owner, gain[order] * discount), np.float64)  # (Q,)

    def quality(self, learner: Learner) -> float:
        return float(self._dcg(self._gain, learner.scores(self._features)).mean())


@dataclass(frozen=True, slots=True)
class Curve:
    """Held-out nDCG@10 after so many impressions; the last point is the result."""

    impressions: tuple[int, ...]
    quality: tuple[float, ...]


def marks(impressions: int) -> list[int]:
    return sorted({round(impressions * i / POINTS) for i in range(POINTS + 1)})


def run(
    learner: Learner,
    fold: Fold,
    reader: Reader,
    impressions: int,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> Curve:
    """Learns from `impressions` lists, drawn with all their chance from `rng`.

    Args:
        progress: called at every point of the curve with the impressions done
    """
    judge, points = Judge(fold.held_out), marks(impressions)
    order = rng.integers(len(fold.train), size=impressions)
    quality = [judge.quality(learner)]
    for done, until in pairwise(points):
        serve(learner, [fold.train[i] for i in order[done:until]], reader, rng)
        quality.append(judge.quality(learner))
        if progress:
            progress(until)
    return Curve(tuple(points), tuple(quality))


def serve(learner: Learner, queries: Sequence[Query], reader: Reader, rng: np.random.Generator) -> None:
    for query in queries:
        learner.learn(reader.clicks(query.grades[learner.rank(query)], rng))
