"""LinUCB with one ridge regression for all articles. (Li et al., WWW 2010, Algorithm 1 with shared features)"""

import numpy as np

from benchmarks.learning.ebnerd.lists import Doubles, JudgedList
from drn.types import Floats


class LinUcb:
    """score = θᵀx + α·√(xᵀA⁻¹x), with A = λI + Σ xxᵀ and θ = A⁻¹ Σ r·x over every shown article; x = (1, dense inputs).

    A⁻¹ is kept by the Woodbury identity, one list at a time.
    """

    def __init__(self, alpha: float = 0.0, ridge: float = 1.0) -> None:
        self.alpha, self.ridge = alpha, ridge
        self.inverse: Doubles = np.zeros((0, 0))  # A⁻¹
        self.rewarded: Doubles = np.zeros(0)  # Σ r·x

    def scores(self, one: JudgedList) -> Floats:
        x = self.features(one)
        expected = x @ (self.inverse @ self.rewarded)
        spread = np.sqrt(np.einsum("nd,de,ne->n", x, self.inverse, x, optimize=True)) if self.alpha else 0.0
        return np.asarray(expected + self.alpha * spread, np.float32)

    def learn(self, one: JudgedList) -> None:
        """A⁻¹ ← A⁻¹ − A⁻¹Xᵀ (I + X A⁻¹ Xᵀ)⁻¹ X A⁻¹"""
        x = self.features(one)
        projected = x @ self.inverse  # (n, d)
        self.inverse -= projected.T @ np.linalg.solve(np.eye(len(x)) + projected @ x.T, projected)
        self.rewarded += x.T @ one.clicked

    def features(self, one: JudgedList) -> Doubles:
        """(n, 1 + D)"""
        dense = one.inputs.dense.astype(np.float64)
        if not len(self.rewarded):
            self.rewarded = np.zeros(1 + dense.shape[1])
            self.inverse = np.eye(1 + dense.shape[1]) / self.ridge
        return np.hstack([np.ones((len(dense), 1)), dense])
