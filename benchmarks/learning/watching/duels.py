"""Duels of two fixed rankers, drawn from the exact distribution of their interleaved lists."""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from drn.interleaving import ranks, slot_shares
from drn.statistics import Doubles, reader_units

N, K, TAU = 6, 4, 3.0
LISTS = np.array(list(permutations(range(N), K)), np.int32)  # (L, K)
ATTENTION = np.array([0.8, 0.6, 0.45, 0.35])  # chance to look at a slot
UPDATE = 50  # impressions per minor update
READERS = 25  # of whom each update hears; the same ones come again


class Duel:
    """Two rankers, and readers who look down the list with falling attention and click as `taste` says.

    Args:
        current, explore: (N,) scores
        taste: (N,) chance of a click on a candidate that is looked at
    """

    def __init__(self, current: Doubles, explore: Doubles, taste: Doubles) -> None:
        rank = [ranks(scores.astype(np.float32)) for scores in (current, explore)]
        shares = [slot_shares(rank[0], rank[1], shown, np.zeros(K, np.bool_), TAU) for shown in LISTS]
        self.says = 2 * np.array([credit for credit, _ in shares], np.float64) - 1  # (L, K)
        chance = np.array([propensity.astype(np.float64).prod() for _, propensity in shares])  # (L,)
        self.chance = chance / chance.sum()
        self.appeal = ATTENTION * taste[LISTS]  # (L, K)

    @property
    def clicks(self) -> float:
        """Expected clicks on one list."""
        return float(self.chance @ self.appeal.sum(axis=1))

    def draw(self, rng: np.random.Generator, impressions: int) -> NDArray[np.int64]:
        return rng.choice(len(LISTS), impressions, p=self.chance)

    def watch(self, rng: np.random.Generator, impressions: int) -> tuple[Doubles, NDArray[np.int64]]:
        """What readers said, and after how many impressions each of them had: the units of a duel in updates of UPDATE lists.

        Readers differ: some click twice as readily as others, and each is a fixed one.
        """
        drawn = self.draw(rng, impressions)
        reader = rng.integers(READERS, size=impressions)
        keen = rng.uniform(0.5, 1.0, READERS)[reader]
        clicked = rng.random((impressions, K)) < self.appeal[drawn] * keen[:, None]
        count, outcome = clicked.sum(axis=1), (self.says[drawn] * clicked).sum(axis=1)
        units, after = [], []
        for start in range(0, impressions, UPDATE):
            some = slice(start, start + UPDATE)
            own = reader_units([str(one) for one in reader[some]], count[some].tolist(), outcome[some].tolist())
            units.append(own)
            after.append(np.full(len(own), min(start + UPDATE, impressions)))
        return np.concatenate(units), np.concatenate(after)


def null_duels(rng: np.random.Generator, number: int) -> list[Duel]:
    """Different rankers before readers who click by place alone: neither is better."""
    return [Duel(rng.standard_normal(N), rng.standard_normal(N), np.full(N, 0.6)) for _ in range(number)]


GOOD = np.arange(N, 0, -1.0)  # the right order
TASTE = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05])


def slightly_worse(share: float = 0.02) -> Duel:
    """Explore has two neighbours the wrong way round, whose taste differs so much that its own lists get `share` fewer clicks."""
    wrong = GOOD[[1, 0, 2, 3, 4, 5]]

    def loss(second: float) -> float:
        taste = np.array([TASTE[0], second, *TASTE[2:]])
        right = Duel(GOOD, GOOD, taste).clicks
        return 1 - Duel(wrong, wrong, taste).clicks / right

    low, high = TASTE[2], TASTE[0]  # of the second's taste: the smaller it is, the more the wrong order costs
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if loss(middle) > share else (low, middle)
    return Duel(GOOD, wrong, np.array([TASTE[0], high, *TASTE[2:]]))
