"""The published learners, as their papers have them: dueling bandits (DBGD) and pairwise differentiable gradient descent (PDGD).

They share nothing with the product's learner but interleaving, which DBGD takes as it was published.

Shapes: n documents, D features, H hidden units, k shown slots, P pairs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.oltr.letor import Query
from benchmarks.learning.oltr.readers import examined
from drn.interleaving import interleave, outcome
from drn.types import Bools, Floats, Interleaving, Ints

SHOWN = 10  # k in all published tables
TAU = 3.0  # Hofmann et al., CIKM 2011
HIDDEN = 64  # Oosterhuis & de Rijke 2018, §5.4: one hidden layer of 64 sigmoid units

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Network:
    """f(x) = v·σ(xW + b), or w·x without hidden units, its parameters laid end to end in one vector θ."""

    inputs: int
    hidden: int

    @property
    def size(self) -> int:
        return self.hidden * (self.inputs + 2) if self.hidden else self.inputs

    def initial(self, rng: np.random.Generator) -> Vector:
        """As published: N(0, 1 / fan-in) by layer, and zeros for the linear one."""
        if not self.hidden:
            return np.zeros(self.inputs)
        first = rng.standard_normal(self.hidden * (self.inputs + 1)) / self.inputs
        return np.concatenate([first, rng.standard_normal(self.hidden) / self.hidden])

    def parts(self, theta: Vector) -> tuple[Vector, Vector, Vector]:
        """W (D, H), b (H,) and v (H,)."""
        split = self.inputs * self.hidden
        return theta[:split].reshape(self.inputs, self.hidden), theta[split : split + self.hidden], theta[split + self.hidden :]

    def scores(self, theta: Vector, features: Floats) -> Vector:
        """(n, D) → (n,)"""
        if not self.hidden:
            return np.asarray(features @ theta)
        weight, bias, out = self.parts(theta)
        return np.asarray(sigmoid(features @ weight + bias) @ out)

    def slope(self, theta: Vector, features: Floats, share: Vector) -> Vector:
        """Σ_i share_i · ∂f(x_i)/∂θ.  (n, D), (n,) → (|θ|,)"""
        if not self.hidden:
            return np.asarray(share @ features)
        weight, bias, out = self.parts(theta)
        active = sigmoid(features @ weight + bias)  # (n, H)
        back = share[:, None] * out * active * (1 - active)  # (n, H)
        return np.concatenate([(features.T @ back).ravel(), back.sum(axis=0), share @ active])


def sigmoid(x: Vector) -> Vector:
    result: Vector = 0.5 + 0.5 * np.tanh(0.5 * x)
    return result


class DuelingBandit:
    """DBGD: θ ← θ + η·u where a list interleaved with θ + δ·u wins, u drawn from the unit sphere. [Yue & Joachims 2009]

    Probabilistic interleaving with marginalised credit judges each impression by itself. (Hofmann et al. 2013)
    """

    def __init__(self, network: Network, rng: np.random.Generator, delta: float = 1.0, eta: float = 0.01) -> None:
        self._network, self._rng, self._delta, self._eta = network, rng, delta, eta
        self.theta = network.initial(rng)
        self._direction = np.zeros(network.size)
        self._list: Interleaving | None = None

    def rank(self, query: Query) -> Ints:
        drawn = self._rng.standard_normal(self._network.size)
        self._direction = drawn / np.linalg.norm(drawn)
        current = self._network.scores(self.theta, query.features)
        candidate = self._network.scores(self.theta + self._delta * self._direction, query.features)
        self._list = interleave(current.astype(np.float32), candidate.astype(np.float32), SHOWN, TAU, self._rng)
        return self._list.shown

    def learn(self, clicked: Bools) -> None:
        if self._list is not None and outcome(self._list.credit, clicked) > 0:
            self.theta = self.theta + self._eta * self._direction

    def scores(self, features: Floats) -> Vector:
        return self._network.scores(self.theta, features)


class PairwiseGradient:
    """PDGD: lists from a Plackett-Luce model, θ ← θ + η·Σ ρ·σ(Δ)·σ(−Δ)·(f'_i − f'_j). [Oosterhuis & de Rijke 2018, Eq. 7-9]"""

    def __init__(self, network: Network, rng: np.random.Generator, eta: float = 0.1) -> None:
        self._network, self._rng, self._eta = network, rng, eta
        self.theta = network.initial(rng)
        self._features: Floats = np.zeros((0, network.inputs), np.float32)
        self._scores: Vector = np.zeros(0)
        self._shown: Ints = np.zeros(0, np.int32)

    def rank(self, query: Query) -> Ints:
        self._features = query.features
        self._scores = self._network.scores(self.theta, query.features)
        noisy = self._scores + self._rng.gumbel(size=len(self._scores))  # its order is a draw from Plackett-Luce
        self._shown = np.argsort(-noisy)[:SHOWN].astype(np.int32)
        return self._shown

    def learn(self, clicked: Bools) -> None:
        winners, losers = np.flatnonzero(clicked), np.flatnonzero(examined(clicked) & ~clicked)
        if not len(winners) or not len(losers):
            return
        pairs = np.stack([np.repeat(winners, len(losers)), np.tile(losers, len(winners))], axis=1)  # (P, 2)
        share = pair_shares(self._scores, self._shown, pairs)
        step = self._network.slope(self.theta, self._features[self._shown], share)
        self.theta = self.theta + self._eta * step

    def scores(self, features: Floats) -> Vector:
        return self._network.scores(self.theta, features)


def pair_shares(scores: Vector, shown: Ints, pairs: NDArray[np.integer[Any]]) -> Vector:
    """Each slot's part in the gradient: +ρ·σ(Δ)·σ(−Δ) as the preferred of a pair, − as the other.  (k,)"""
    margin = scores[shown][pairs[:, 0]] - scores[shown][pairs[:, 1]]  # (P,)
    weight = swap_ratios(scores, shown, pairs) * sigmoid(margin) * sigmoid(-margin)  # (P,)
    preferred, other = (np.bincount(side, weight, len(shown)) for side in pairs.T)
    return np.asarray(preferred - other, np.float64)


def swap_ratios(scores: Vector, shown: Ints, pairs: NDArray[np.integer[Any]]) -> Vector:
    """ρ = P(R*) / (P(R) + P(R*)) under one Plackett-Luce ranker, R* being the list with the two slots swapped.  (P,)

    P(R) = Π e_i / Z_i, with Z_i over what slots i … and the rest hold. A swap of a < b leaves the numerators as they are
    and puts Z_i + e_a − e_b in the place of Z_i for a < i ≤ b.
    """
    strength = np.exp(scores - scores.max())  # (n,)
    drawn = strength[shown]  # (k,)
    unseen = strength.sum() - drawn.sum()
    left = np.maximum(unseen, 0) + np.cumsum(drawn[::-1])[::-1]  # (k,): Z
    above, below = pairs.min(axis=1)[:, None], pairs.max(axis=1)[:, None]  # (P, 1)
    slots = np.arange(len(shown))
    between = (slots > above) & (slots <= below)  # (P, k)
    swapped = left + np.where(between, drawn[above] - drawn[below], 0.0)  # (P, k)
    ratio = (np.log(left) - np.log(np.maximum(swapped, 1e-300))).sum(axis=1)  # (P,): log P(R*) / P(R)
    return sigmoid(ratio)
