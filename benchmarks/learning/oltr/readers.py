"""Simulated readers who scan a list from the top, click by grade, and after a click stop by grade: the cascade model.

Probabilities by grade as published (Oosterhuis & de Rijke, CIKM 2018, Table 2; Hofmann et al. 2013; Guo et al. 2009).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.oltr.letor import DataError
from drn.types import Bools

NAMES = ("perfect", "navigational", "informational")

CLICK = {
    "perfect": {1: (0.0, 1.0), 2: (0.0, 0.5, 1.0), 4: (0.0, 0.2, 0.4, 0.8, 1.0)},
    "navigational": {1: (0.05, 0.95), 2: (0.05, 0.5, 0.95), 4: (0.05, 0.3, 0.5, 0.7, 0.95)},
    "informational": {1: (0.4, 0.9), 2: (0.4, 0.7, 0.9), 4: (0.4, 0.6, 0.7, 0.8, 0.9)},
}
STOP = {
    "perfect": {1: (0.0, 0.0), 2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0, 0.0, 0.0)},
    "navigational": {1: (0.2, 0.9), 2: (0.2, 0.5, 0.9), 4: (0.2, 0.3, 0.5, 0.7, 0.9)},
    "informational": {1: (0.1, 0.5), 2: (0.1, 0.3, 0.5), 4: (0.1, 0.2, 0.3, 0.4, 0.5)},
}


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    name: str
    click: NDArray[np.float64]  # (grades,)
    stop: NDArray[np.float64]  # (grades,): after a click

    @classmethod
    def named(cls, name: str, highest: int) -> "Reader":
        """The published reader for a set whose highest grade is `highest`.

        Raises:
            DataError: nothing was published for so many grades.
        """
        published = [top for top in CLICK[name] if top >= highest]
        if not published:
            raise DataError(f"grades up to {highest} were found; the click models are published for grades up to 4")
        return cls(name, np.array(CLICK[name][published[0]]), np.array(STOP[name][published[0]]))

    def clicks(self, grades: NDArray[np.integer[Any]], rng: np.random.Generator) -> Bools:
        """What is clicked of a list with these grades, from the top.  (k,) → (k,)"""
        click, stop = rng.random((2, len(grades)))
        clicked: Bools = click < self.click[grades]
        stopped = np.flatnonzero(clicked & (stop < self.stop[grades]))
        if len(stopped):
            clicked[stopped[0] + 1 :] = False
        return clicked


def examined(clicked: Bools) -> Bools:
    """Up to one below the last click; nothing without a click. The product's own rule (`drn.rewards.examined`).  (k,) → (k,)"""
    last = int(np.flatnonzero(clicked)[-1]) if clicked.any() else -2
    return np.arange(len(clicked)) <= last + 1
