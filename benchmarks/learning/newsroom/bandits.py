"""The peers that explore by confidence bounds and learn from every closed list: LinUCB and HLinUCB."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.newsroom.peer import Shown, looked_at
from drn.config import Config
from drn.features import dense_names
from drn.types import Inputs

Doubles = NDArray[np.float64]


class LinUCB:
    """θ = A⁻¹b, A = λI + Σ x xᵀ, b = Σ r x; a list by θ·x + α·√(xᵀA⁻¹x). [Li et al. 2010, Algorithm 1, one model for all arms]

    An arm of its own for each article would know nothing about a new one, and news are new; so articles share θ and x
    describes them. x is a 1 and the dense inputs.
    """

    def __init__(self, size: int, alpha: float, ridge: float = 1.0, slots: str = "shown") -> None:
        self._alpha, self._slots = alpha, slots
        self._moment, self._reward = ridge * np.eye(size), np.zeros(size)  # A (d, d), b (d,)
        self._inverse = np.eye(size) / ridge
        self.theta = np.zeros(size)

    def scores(self, user_id: str | None, article_ids: Sequence[str], inputs: Inputs) -> tuple[Doubles, Doubles]:  # noqa: ARG002
        x = described(inputs)  # (n, d)
        mean = x @ self.theta
        return mean + self._alpha * widths(x, self._inverse), mean

    def minor(self, closed: Sequence[Shown]) -> None:
        lessons = [
            (described(one.inputs)[at], one.clicked[at]) for one in closed if len(at := looked_at(one.clicked, self._slots))
        ]
        if lessons:
            self.learn(np.concatenate([x for x, _ in lessons]), np.concatenate([r for _, r in lessons]).astype(np.float64))

    def learn(self, x: Doubles, reward: Doubles) -> None:
        """(m, d), (m,)"""
        self._moment += x.T @ x
        self._reward += x.T @ reward
        self._inverse = np.linalg.inv(self._moment)
        self.theta = self._inverse @ self._reward

    def major(self, closed: Sequence[Shown]) -> None:
        """Has learned already."""


@dataclass(slots=True)
class Ridge:
    """One ridge regression that is learned step by step: A⁻¹ and b of (λI + Σ x xᵀ) θ = Σ r x."""

    size: int
    ridge: float
    start: Doubles | None = None  # θ before anything was learned; 0 unless given
    inverse: Doubles = field(init=False)
    reward: Doubles = field(init=False)
    theta: Doubles = field(init=False)

    def __post_init__(self) -> None:
        self.inverse = np.eye(self.size) / self.ridge
        self.theta = np.zeros(self.size) if self.start is None else self.start.copy()
        self.reward = self.ridge * self.theta

    def learn(self, x: Doubles, reward: float) -> None:
        """One observation, by Sherman & Morrison.  (d,)"""
        gain = self.inverse @ x
        self.inverse -= np.outer(gain, gain) / (1 + x @ gain)
        self.reward += reward * x
        self.theta = self.inverse @ self.reward


class HLinUCB:
    """Readers and articles with hidden features: r = θ_u·(x, v_a), learned by turns. [Wang, Wu & Wang, CIKM 2016, Algorithm 1]

    θ_u of each reader is a ridge regression on (x, v_a); v_a of each article one on the hidden part of θ_u, with what x explains
    taken off. A list by the mean + α_u·√((x, v)ᵀ A_u⁻¹ (x, v)) + α_a·√(θᵛᵀ C_a⁻¹ θᵛ). x is a 1 and those dense inputs that are
    relative to the list or about this reader and this article, so that a reader's own regression stays small.
    """

    def __init__(self, columns: NDArray[np.intp], rng: np.random.Generator, setting: "HiddenSetting") -> None:
        self._columns, self._setting = columns, setting
        self._visible = len(columns) + 1
        size = self._visible + setting.hidden
        self._rng = rng
        self._readers: dict[str, Ridge] = defaultdict(lambda: Ridge(size, setting.ridge, self._drawn(size)))
        self._articles: dict[str, Ridge] = defaultdict(
            lambda: Ridge(setting.hidden, setting.ridge, 0.1 * self._rng.standard_normal(setting.hidden))
        )

    def scores(self, user_id: str | None, article_ids: Sequence[str], inputs: Inputs) -> tuple[Doubles, Doubles]:
        s = self._setting
        reader, articles = self._readers[user_id or ""], [self._articles[one] for one in article_ids]
        hidden = np.stack([article.theta for article in articles])  # (n, l)
        x = np.hstack([self._described(inputs), hidden])  # (n, d + l)
        mean = x @ reader.theta
        taste = reader.theta[self._visible :]  # (l,)
        of_articles = np.einsum("nij,i,j->n", np.stack([article.inverse for article in articles]), taste, taste)
        return mean + s.alpha * widths(x, reader.inverse) + s.alpha_article * np.sqrt(np.maximum(of_articles, 0)), mean

    def minor(self, closed: Sequence[Shown]) -> None:
        for one in closed:
            x, reader = self._described(one.inputs), self._readers[one.user_id or ""]
            for slot in looked_at(one.clicked, self._setting.slots).tolist():
                article = self._articles[one.article_ids[slot]]
                reward = float(one.clicked[slot])
                reader.learn(np.concatenate([x[slot], article.theta]), reward)
                visible, taste = reader.theta[: self._visible], reader.theta[self._visible :]
                article.learn(taste, reward - float(x[slot] @ visible))

    def major(self, closed: Sequence[Shown]) -> None:
        """Has learned already."""

    def _described(self, inputs: Inputs) -> Doubles:
        return np.hstack([np.ones((len(inputs.dense), 1)), inputs.dense[:, self._columns]]).astype(np.float64)

    def _drawn(self, size: int) -> Doubles:
        """Hidden parts start at random, as both being 0 would never leave it."""
        start = np.zeros(size)
        start[self._visible :] = 0.1 * self._rng.standard_normal(size - self._visible)
        return start


@dataclass(frozen=True, slots=True)
class HiddenSetting:
    """Of HLinUCB."""

    hidden: int = 5  # l; the paper's data sets do best with 5 to 10
    alpha: float = 0.1
    alpha_article: float = 0.1
    ridge: float = 1.0
    slots: str = "shown"


def described(inputs: Inputs) -> Doubles:
    """A 1 and the dense inputs.  (n, 1 + D)"""
    return np.hstack([np.ones((len(inputs.dense), 1)), inputs.dense])


def widths(x: Doubles, inverse: Doubles) -> Doubles:
    """√(xᵀA⁻¹x) of each row.  (n, d) → (n,)"""
    return np.asarray(np.sqrt(np.maximum(np.einsum("nd,nd->n", x @ inverse, x), 0)))


def relative_columns(config: Config) -> NDArray[np.intp]:
    """Dense inputs that HLinUCB sees: click rates and age against the list, and the reader's interests and memory."""
    wanted = [
        i
        for i, name in enumerate(dense_names(config))
        if (name.startswith(("rate_", "age", "category_rate")) and name.endswith("_z"))
        or name.startswith(("shown_before", "already_read"))
        or (name.startswith("interest_") and name.endswith(("_1w", "_1y")))
    ]
    return np.array(wanted, np.intp)
