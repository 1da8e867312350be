"""Reader activeness: how likely a reader is still with us, from a survival model of returns (Zheng et al., WWW 2018, §4.3).

A hazard is a rate of returning, constant over pieces of the time since the last visit; the paper's λ0 is the hazard
with one piece. Times are seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drn.errors import InvalidInput

Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hazard:
    """λ(t), constant between edges. Piece i covers [starts[i], starts[i + 1]); the last one has no end.

    Raises:
        InvalidInput: the pieces do not start at 0 and ascend, or a rate is negative or not finite.
    """

    starts: tuple[float, ...]
    rates: tuple[float, ...]  # per second

    def __post_init__(self) -> None:
        ascending = self.starts[:1] == (0.0,) and all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False))
        if not ascending or len(self.starts) != len(self.rates):
            raise InvalidInput("a hazard needs one rate per piece, and pieces that start at 0 and ascend")
        if not all(0 <= rate < float("inf") for rate in self.rates):
            raise InvalidInput("a hazard's rates must be finite and not negative")

    def cumulative(self, seconds: float) -> float:
        """∫_0^t λ: the returns expected until then, the exponent of Eq. 4."""
        total, end = 0.0, float("inf")
        for start, rate in zip(reversed(self.starts), reversed(self.rates), strict=True):
            total += rate * max(min(seconds, end) - start, 0.0) if rate else 0.0
            end = start
        return total


@lru_cache(maxsize=8)
def constant(rate: float) -> Hazard:
    """The paper's λ(t) = λ0 (per second)."""
    return Hazard((0.0,), (rate,))


def survival(seconds: ArrayLike, hazard: Hazard) -> Doubles:
    """S(t) = exp(−∫_0^t λ(x) dx), the probability of no return within t. [DRN Eq. 3-4]

    Args:
        seconds: any shape, ≥ 0
    """
    exponent = np.vectorize(hazard.cumulative, otypes=[np.float64])(seconds)
    return np.asarray(np.exp(-exponent), np.float64)


def expected_life(hazard: Hazard) -> float:
    """T0 = ∫_0^∞ S(t) dt, the mean time to a return in seconds. [DRN Eq. 5]  Infinite when the last piece's rate is 0."""
    total = 0.0
    ends = (*hazard.starts[1:], float("inf"))
    for start, end, rate in zip(hazard.starts, ends, hazard.rates, strict=True):
        reached = float(np.exp(-hazard.cumulative(start)))
        total += reached * (end - start if rate == 0 else -np.expm1(-rate * (end - start)) / rate)
    return total


def activeness(visits: Sequence[float], at: float, hazard: Hazard, initial: float, per_return: float) -> float:
    """A reader's level of activeness at a time: decays as S(t), rises by Sa at every return, never above 1. [DRN §4.3]

    Args:
        visits: ascending seconds; the first one starts the reader at `initial`
        at: seconds, not before the first visit; later visits are not looked at
        initial: S0
        per_return: Sa

    Raises:
        InvalidInput: no visit up to `at`, or visits that do not ascend.
    """
    return float(trajectory([visit for visit in visits if visit <= at], [at], hazard, initial, per_return)[0])


def trajectory(visits: Sequence[float], times: Sequence[float], hazard: Hazard, initial: float, per_return: float) -> Doubles:
    """`activeness` at many times in one pass, right after whatever visit falls on the same second.

    Args:
        visits: ascending seconds
        times: ascending seconds, none before the first visit

    Raises:
        InvalidInput: no visits, visits or times that do not ascend, or a time before the first visit.
    """
    if len(visits) == 0 or np.any(np.diff(visits) < 0) or np.any(np.diff(times) < 0) or min(times, default=visits[0]) < visits[0]:
        raise InvalidInput("visits and times must ascend, and no time may lie before the first visit")
    level, last, coming = initial, visits[0], 1
    levels = np.empty(len(times))
    for i, time in enumerate(times):
        while coming < len(visits) and visits[coming] <= time:
            decayed = level * float(survival(visits[coming] - last, hazard))
            level, last, coming = min(1.0, decayed + per_return), visits[coming], coming + 1
        levels[i] = level * float(survival(time - last, hazard))
    return levels  # (len(times),)


def fit_hazard(seconds: ArrayLike, returned: ArrayLike, starts: Sequence[float] = (0.0,)) -> Hazard:
    """The hazard of a site's own returns: maximum likelihood over pieces, rate = returns / time at risk.

    Args:
        seconds: (m,) time from a visit to the return, or for as long as it was watched; > 0 in sum
        returned: (m,) false where the watching ended before a return (censored)
        starts: of the pieces; a piece in which nobody was at risk gets rate 0

    Raises:
        InvalidInput: different lengths, nothing observed, negative or infinite times.
    """
    waited, event = np.asarray(seconds, np.float64), np.asarray(returned, np.bool_)
    if waited.shape != event.shape or waited.ndim != 1 or not np.isfinite(waited).all() or (waited < 0).any() or not waited.any():
        raise InvalidInput("times to return must be finite, not negative, one per visit, and not all zero")
    begin = np.asarray(starts, np.float64)
    end = np.append(begin[1:], np.inf)
    at_risk = np.clip(waited[:, None], begin, end) - begin  # (m, pieces): seconds spent in each piece
    piece = np.searchsorted(begin, waited[event], side="right") - 1
    returns = np.bincount(piece, minlength=len(begin))
    exposure = at_risk.sum(axis=0)
    rates = np.divide(returns, exposure, out=np.zeros(len(begin)), where=exposure > 0)
    return Hazard(tuple(map(float, starts)), tuple(map(float, rates)))
