"""The hold-back watched list by list: false rollbacks, also of the rule that holds back readers, and how soon harm is found."""

import numpy as np
from numpy.typing import NDArray

from drn.statistics import Doubles, e_process, first_alarm

READERS = 200  # a small site: the fewer there are, the more a crowd differs from another


def crowd(rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Each reader's chance to click a list, and share of the lists: some do either ten times as readily as others."""
    often = rng.lognormal(0.0, 1.0, READERS)
    return rng.beta(1.2, 2.0, READERS), often / often.sum()


def units(side: NDArray[np.int64], clicked: NDArray[np.bool_]) -> Doubles:
    """What `drn.holdback.add` adds, list by list.  (t,)"""
    before: NDArray[np.int64] = np.cumsum(clicked) - clicked
    expected = (before + 0.5) / np.arange(1, len(clicked) + 1)
    return np.asarray(side * (clicked - expected))


def comparison(rng: np.random.Generator, lists: int, loss: float = 0.0, by_reader: bool = False) -> Doubles:
    """The units of one hold-back.

    Args:
        lists: that were held back, in both halves
        loss: share of the lists with a click that current costs
        by_reader: a reader belongs to one half for good, instead of each list by a coin of its own
    """
    keen, share = crowd(rng)
    reader = rng.choice(READERS, lists, p=share)
    coin = rng.integers(2, size=READERS)[reader] if by_reader else rng.integers(2, size=lists)
    side = 2 * coin - 1
    clicked = rng.random(lists) < keen[reader] * np.where(side > 0, 1 - loss, 1.0)
    return units(side, clicked)


def rollbacks(rng: np.random.Generator, number: int, lists: int, alpha: float, by_reader: bool = False) -> int:
    """How many of these hold-backs, in which current is as good as the reference, end in a rollback."""
    found = (comparison(rng, lists, by_reader=by_reader) for _ in range(number))
    return sum(first_alarm(e_process(one, "less"), alpha) is not None for one in found)


def lists_to_rollback(rng: np.random.Generator, number: int, most: int, alpha: float, loss: float) -> list[int | None]:
    """After how many held-back lists each of these hold-backs rolls a worse current network back."""
    return [first_alarm(e_process(comparison(rng, most, loss), "less"), alpha) for _ in range(number)]
