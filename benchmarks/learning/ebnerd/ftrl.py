"""Logistic regression by FTRL-Proximal, as news and ad services run it. (McMahan et al., KDD 2013, Algorithm 1)"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.ebnerd.lists import Doubles, JudgedList
from drn.types import Floats


class FtrlProximal:
    """Sparse logistic regression with a learning rate per coordinate.

    w_i = 0 if |z_i| ≤ λ1, else −(z_i − sgn(z_i)·λ1) / ((β + √n_i)/α + λ2)
    g_i = (p − y)·x_i,   σ_i = (√(n_i + g_i²) − √n_i)/α,   z_i += g_i − σ_i·w_i,   n_i += g_i²
    """

    def __init__(self, size: int, alpha: float, beta: float, l1: float, l2: float) -> None:
        self.alpha, self.beta, self.l1, self.l2 = alpha, beta, l1, l2
        self.z = np.zeros(size)
        self.n = np.zeros(size)

    def weights(self, indices: NDArray[np.intp]) -> Doubles:
        """w at these coordinates."""
        z = self.z[indices]
        rate = (self.beta + np.sqrt(self.n[indices])) / self.alpha + self.l2
        return np.where(np.abs(z) <= self.l1, 0.0, -(z - np.sign(z) * self.l1) / rate)

    def step(self, indices: NDArray[np.intp], values: Doubles, label: float) -> None:
        """Learns one example, its coordinates distinct."""
        w = self.weights(indices)
        p = 1 / (1 + np.exp(-np.clip(w @ values, -35, 35)))
        g = (p - label) * values
        n = self.n[indices]
        sigma = (np.sqrt(n + g * g) - np.sqrt(n)) / self.alpha
        self.z[indices] += g - sigma * w
        self.n[indices] = n + g * g


class LogisticRegression:
    """FTRL over a bias, the dense inputs and the article's content slots; every shown article is an example."""

    def __init__(self, alpha: float = 0.02, beta: float = 1.0, l1: float = 0.0, l2: float = 1.0) -> None:
        self._settings = alpha, beta, l1, l2
        self._model: FtrlProximal | None = None

    def scores(self, one: JudgedList) -> Floats:
        if self._model is None:
            return np.zeros(len(one.clicked), np.float32)
        width = one.inputs.dense.shape[1] + 1
        dense = self._model.weights(np.arange(width))
        content = self._model.weights(width + one.inputs.content.astype(np.intp))  # (n, M); what is never learned weighs 0
        return np.asarray(one.inputs.dense @ dense[1:] + content.sum(axis=1), np.float32)

    def learn(self, one: JudgedList) -> None:
        width = one.inputs.dense.shape[1] + 1
        if self._model is None:
            self._model = FtrlProximal(width + slots(one) + 1, *self._settings)  # the last one stands for empty columns
        always, ones = np.arange(width), np.ones(1)
        for dense, content, label in zip(one.inputs.dense, one.inputs.content, one.clicked, strict=True):
            found = np.unique(content[content < slots(one)])
            values = np.concatenate([ones, dense, np.ones(len(found))])
            self._model.step(np.concatenate([always, width + found]), values, float(label))


def slots(one: JudgedList) -> int:
    """C: how many content slots there are; a column that holds C is empty."""
    return int(one.observation.reader.shape[1])
