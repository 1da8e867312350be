"""How good a ranking was: AUC, MRR, nDCG@k, precision@k and intra-list similarity, per list and as means over lists.

Equal scores rank by index, as everywhere in drn. A grade above 0 is a hit; nDCG's gain is 2^grade − 1, so for clicks
(grades 0 and 1) it is the binary one. A list without a hit has no MRR or nDCG, one without a miss no AUC: they are NaN.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.errors import InvalidInput

Scores = NDArray[np.floating[Any]]
Grades = NDArray[Any]  # (n,) bool or numbers ≥ 0


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over the lists that have both a hit and a miss; `lists` of them. NaN when there is none."""

    auc: float
    mrr: float
    ndcg5: float
    ndcg10: float
    lists: int


def auc(scores: Scores, grades: Grades) -> float:
    """P(a hit ranks above a miss), with a list's ties broken by index.

    Args:
        scores, grades: (n,)
    """
    hit = _ranked(scores, grades) > 0
    hits, n = int(hit.sum()), len(hit)
    if hits in (0, n):
        return float("nan")
    return float(1 - (np.flatnonzero(hit).sum() + hits - hits * (hits + 1) / 2) / (hits * (n - hits)))


def mrr(scores: Scores, grades: Grades) -> float:
    """1 / rank of the first hit."""
    hit = _ranked(scores, grades) > 0
    return float(1 / (int(np.argmax(hit)) + 1)) if hit.any() else float("nan")


def ndcg(scores: Scores, grades: Grades, k: int) -> float:
    """DCG@k / ideal DCG@k with gain 2^grade − 1 and discount 1 / log2(rank + 1). (Järvelin & Kekäläinen 2002, Burges 2005)"""
    gain = np.exp2(_ranked(scores, grades).astype(np.float64)) - 1
    discount = 1 / np.log2(np.arange(2, min(k, len(gain)) + 2))
    ideal = float((np.sort(gain)[::-1][:k] * discount).sum())
    return float((gain[:k] * discount).sum()) / ideal if ideal > 0 else float("nan")


def precision(scores: Scores, grades: Grades, k: int) -> float:
    """Share of hits among the first min(k, n)."""
    first = _ranked(scores, grades)[:k]
    return float((first > 0).mean()) if len(first) else float("nan")


def intra_list_similarity(vectors: Scores) -> float:
    """Mean cosine of all pairs of a list: the higher, the less diverse. A zero vector is like nothing. [DRN §5, ILS]

    Args:
        vectors: (k, d)
    """
    if len(vectors) < 2:
        return float("nan")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors, dtype=np.float64), where=length > 0)
    pairs = np.triu_indices(len(unit), k=1)
    return float((unit @ unit.T)[pairs].mean())


def evaluate(lists: Iterable[tuple[Scores, Grades]]) -> Quality:
    """Mean quality over lists of (scores, grades), leaving out those that have no hit or no miss."""
    rows = [
        (auc(scores, grades), mrr(scores, grades), ndcg(scores, grades, 5), ndcg(scores, grades, 10))
        for scores, grades in lists
        if 0 < np.count_nonzero(np.asarray(grades) > 0) < len(grades)
    ]
    nan = float("nan")
    auc_mean, mrr_mean, ndcg5, ndcg10 = map(float, np.mean(rows, axis=0)) if rows else (nan, nan, nan, nan)
    return Quality(auc_mean, mrr_mean, ndcg5, ndcg10, len(rows))


def _ranked(scores: Scores, grades: Grades) -> NDArray[Any]:
    """The grades in the order that the scores rank them."""
    if scores.shape != np.shape(grades) or scores.ndim != 1:
        raise InvalidInput("a list needs one grade per score")
    ranked: NDArray[Any] = np.asarray(grades)[np.argsort(-scores, kind="stable")]
    return ranked
