"""What every peer gets to see of a list, and the figures of a method: one row of quality per list."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drn.evaluation import auc, mrr, ndcg
from drn.types import Bools, Floats, Inputs, Observation

DAY = 86_400.0  # seconds
METRICS = ("AUC", "MRR", "nDCG@5", "nDCG@10")
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedList:
    """One list as the product logged it when it decided, and what its reader clicked then.

    `inputs` is `drn.features.encode` of the logged observation: what the product's networks saw, and nothing later.
    """

    at: float  # seconds since the epoch
    user_id: str | None
    observation: Observation
    inputs: Inputs
    clicked: Bools  # (n,)


class Peer(Protocol):
    """A ranker that is asked for scores first and is told the clicks right afterwards."""

    def scores(self, one: JudgedList) -> Floats:
        """(n,): the higher, the better. Must not look at `one.clicked`."""
        ...

    def learn(self, one: JudgedList) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Quality of one method's list after list; a row of NaN where a list has no hit or no miss."""

    at: Doubles  # (N,): seconds since the epoch
    users: tuple[str | None, ...]  # N
    quality: Doubles  # (N, 4): METRICS

    def where(self, mask: NDArray[np.bool_]) -> "Judged":
        users = tuple(user for user, chosen in zip(self.users, mask, strict=True) if chosen)
        return Judged(self.at[mask], users, self.quality[mask])

    def days(self) -> NDArray[np.int64]:
        """The day of each list, counted from the first list's second: 1, 2, …  (N,)"""
        return np.asarray((self.at - self.at[0]) // DAY + 1, np.int64)


def quality(scores: Floats, clicked: Bools) -> tuple[float, float, float, float]:
    """METRICS of one list, NaN unless it has a hit and a miss."""
    if clicked.all() or not clicked.any():
        return (float("nan"),) * 4
    return auc(scores, clicked), mrr(scores, clicked), ndcg(scores, clicked, 5), ndcg(scores, clicked, 10)


class Marks:
    """The quality of list after list, as they are ranked."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._users: list[str | None] = []
        self._rows: list[tuple[float, ...]] = []

    def add(self, at: float, user_id: str | None, scores: Floats, clicked: Bools) -> None:
        self._at.append(at)
        self._users.append(user_id)
        self._rows.append(quality(scores, clicked))

    def judged(self) -> Judged:
        return Judged(np.array(self._at, np.float64), tuple(self._users), np.array(self._rows).reshape(-1, len(METRICS)))
