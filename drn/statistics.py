"""What a duel's outcomes prove, by inference that stays valid while somebody watches: look after every reader, stop at will.

The unit is a reader's session, in [−1, 1]: above 0 it spoke for explore. Everything here assumes only that units are
bounded and, under the null, have the tested mean given the past; no normality, no fixed sample size.

Sources: Waudby-Smith & Ramdas, JRSS-B 2023 (betting, empirical Bernstein); Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 2021.
Shapes: t units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drn.errors import InvalidInput
from drn.types import Interleaving

Doubles: TypeAlias = NDArray[np.float64]
Alternative: TypeAlias = Literal["different", "greater", "less"]

# Stakes as shares of the largest safe one. 2^−10 still notices a mean of a thousandth of the range; ½ cannot go bankrupt.
STAKES = 0.5 ** np.arange(1, 11)
# Largest λ of the empirical-Bernstein sequence; Waudby-Smith & Ramdas recommend ½ or ¾.
LARGEST_LAMBDA = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A confidence sequence: with probability 1 − α the true mean lies in [lower, upper] at every one of the t looks."""

    mean: Doubles  # (t,): the (weighted) mean so far
    lower: Doubles  # (t,)
    upper: Doubles  # (t,)


def sessions(
    users: Sequence[str | None],
    seconds: ArrayLike,
    clicks: ArrayLike,
    outcomes: ArrayLike,
    gap: float,
    now: float,
) -> Doubles:
    """The values alone of `closed_sessions`."""
    return closed_sessions(users, seconds, clicks, outcomes, gap, now)[1]


def closed_sessions(
    users: Sequence[str | None],
    seconds: ArrayLike,
    clicks: ArrayLike,
    outcomes: ArrayLike,
    gap: float,
    now: float,
) -> tuple[Doubles, Doubles]:
    """When each session that clicked closed, and its value Σ outcomes / Σ clicks; in the order in which they closed.

    A session is a reader's impressions with pauses of at most `gap`; it is closed when `gap` has passed by `now`. A
    closed one never changes, so a later call only appends: that is what lets a test be watched. An outcome is at
    most its number of clicks, which keeps the values in [−1, 1]. A reader without an id is a session each time.

    Args:
        users: (m,)
        seconds: (m,) of the impressions, ascending
        clicks: (m,)
        outcomes: (m,), as `interleaving.outcome`
        gap, now: seconds

    Returns:
        (t,) seconds, ascending; (t,) values

    Raises:
        InvalidInput: different lengths, times that do not ascend, or an outcome larger than its clicks.
    """
    at, clicked, outcome = (np.asarray(values, np.float64) for values in (seconds, clicks, outcomes))
    if not len(users) == len(at) == len(clicked) == len(outcome) or (np.diff(at) < 0).any():
        raise InvalidInput("every impression needs a reader, a time (ascending), clicks and an outcome")
    if (np.abs(outcome) > clicked + 1e-5).any():  # credits are stored as float32
        raise InvalidInput("an outcome cannot be larger than its clicks")
    open_until: dict[str, tuple[int, float]] = {}  # by reader: which session, and its last impression
    last: list[float] = []
    session = np.empty(len(users), np.intp)
    for i, (user, time) in enumerate(zip(users, at.tolist(), strict=True)):
        known = open_until.get(user) if user is not None else None
        if known is None or time - known[1] > gap:
            known = (len(last), time)
            last.append(time)
        session[i] = known[0]
        last[known[0]] = time
        if user is not None:
            open_until[user] = (known[0], time)
    total = np.bincount(session, outcome, minlength=len(last))
    count = np.bincount(session, clicked, minlength=len(last))
    closed_at = np.asarray(last, np.float64) + gap
    closing = np.argsort(closed_at, kind="stable")
    spoke = closing[(closed_at[closing] < now) & (count[closing] > 0)]
    return closed_at[spoke], np.clip(total[spoke] / count[spoke], -1.0, 1.0)


def e_process(
    units: ArrayLike, mean: float = 0.0, alternative: Alternative = "different", low: float = -1.0, high: float = 1.0
) -> Doubles:
    """log of the evidence against the null after each unit: the wealth of a gambler who bets on it with several stakes.

    Wealth = mean over stakes λ of Π_i (1 + λ (x_i − mean)). Under the null it is a martingale that starts at 1, so the
    chance that it ever reaches 1/α is at most α (Ville). The mixture over stakes loses at most log(stakes) to the best of them.

    Args:
        units: (t,) in [low, high]
        mean: the null's; with "greater" the null is "at most this", with "less" "at least this"
        low, high: bounds of a unit

    Returns:
        (t,)

    Raises:
        InvalidInput: a unit outside its bounds, or a null mean on or beyond them.
    """
    x = _bounded(units, low, high)
    if not low < mean < high:
        raise InvalidInput("the null mean must lie between the bounds")
    up, down = STAKES / (mean - low), -STAKES / (high - mean)
    stakes = {"greater": up, "less": down, "different": np.concatenate([up, down])}[alternative]
    wealth = np.cumsum(np.log1p(np.outer(x - mean, stakes)), axis=0)  # (t, stakes), logarithms
    evidence: Doubles = np.logaddexp.reduce(wealth, axis=1) - np.log(len(stakes))
    return evidence


def first_alarm(log_evidence: Doubles, alpha: float = 0.05) -> int | None:
    """How many units it took until the evidence reached 1/α; None if it never did. False in at most α of all null duels."""
    reached = log_evidence >= -np.log(alpha)
    return int(np.argmax(reached)) + 1 if reached.any() else None


def confidence_sequence(units: ArrayLike, alpha: float = 0.05, low: float = -1.0, high: float = 1.0) -> Band:
    """The predictable plug-in empirical-Bernstein sequence (Waudby-Smith & Ramdas 2023, Theorem 2), as wide as the data vary.

        Σλx/Σλ ± (log(2/α) + Σ 4(x_i − μ̂_{i−1})² ψ(λ_i)) / Σλ,    ψ(λ) = (−log(1 − λ) − λ)/4, x scaled to [0, 1]

    Looks are not intersected: where the mean drifts, each look covers the λ-weighted mean so far instead of nothing.

    Args:
        units: (t,) in [low, high]
        low, high: bounds of a unit

    Raises:
        InvalidInput: a unit outside its bounds, or α outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise InvalidInput("alpha must lie between 0 and 1")
    x = (_bounded(units, low, high) - low) / (high - low)  # (t,)
    i = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (i + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (i + 1)
    mean_before, variance_before = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    lam = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (variance_before * i * np.log1p(i))), LARGEST_LAMBDA)
    weight = np.cumsum(lam)
    centre = np.cumsum(lam * x) / weight
    psi = (-np.log1p(-lam) - lam) / 4
    radius = (np.log(2 / alpha) + np.cumsum(4 * (x - mean_before) ** 2 * psi)) / weight
    lower, upper = np.maximum(centre - radius, 0.0), np.minimum(centre + radius, 1.0)
    return Band(*(low + (high - low) * side for side in (centre, lower, upper)))


def difference(
    treated: ArrayLike, reference: ArrayLike, alpha: float = 0.05, low: float = 0.0, high: float = 1.0
) -> tuple[float, float]:
    """Bounds of mean(treated) − mean(reference) that hold at every look: two sequences at α/2 each.

    For the hold-back bucket: readers of the frozen reference against all others; an upper bound below 0 is harm.

    Args:
        treated, reference: (t,), (s,) in [low, high]
    """
    (a, b), (c, d) = (_last(confidence_sequence(units, alpha / 2, low, high), low, high) for units in (treated, reference))
    return a - d, b - c


def chance(interleaving: Interleaving) -> float:
    """Mean of 2q − 1 over all slots that were drawn, clicked or not: what the list itself offered explore.

    Its expectation is 0 for any two rankers and any readers, so `e_process` over impressions is the check that both
    networks had equal chances: an alarm is a fault of the machine (a biased coin, lost impressions), not a verdict.
    """
    credit = interleaving.credit[~interleaving.pinned].astype(np.float64)
    return float((2 * credit - 1).mean()) if len(credit) else 0.0


def _bounded(units: ArrayLike, low: float, high: float) -> Doubles:
    x = np.asarray(units, np.float64)
    if x.ndim != 1 or not ((x >= low) & (x <= high)).all():
        raise InvalidInput(f"units must be one row of numbers between {low} and {high}")
    return x


def _last(band: Band, low: float, high: float) -> tuple[float, float]:
    return (float(band.lower[-1]), float(band.upper[-1])) if len(band.mean) else (low, high)
