"""What a duel's outcomes prove, by inference that stays valid while somebody watches: look after every reader, stop at will.

Units lie in [−1, 1]; above 0 one spoke for explore. Everything here assumes only that units are bounded and, under the
null, have the tested mean given the past; no normality, no fixed sample size, and units of one reader may resemble each other.

Two forms: over all units so far (`confidence_sequence`, for pictures), and from two running sums, Σx and Σx² (`evidence`,
`radius`), which is all that a version needs to carry for a test that never ends.

Sources: Waudby-Smith & Ramdas, JRSS-B 2023 (empirical Bernstein); Howard, Ramdas, McAuliffe & Sekhon, Ann. Stat. 2021;
Fan, Grama & Liu, EJP 2015 (the inequality behind the sums).
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

# λ of the mixture. 2^−10 still notices a mean of a thousandth of the range; beyond ½ the price of a unit outgrows its worth.
STAKES = 0.5 ** np.arange(1, 11)
PRICES = -np.log1p(-STAKES) - STAKES  # ψ(λ), per unit of Σx²
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


def evidence(total: ArrayLike, squares: ArrayLike) -> Doubles:
    """log of the evidence that units are above 0 on average, from their running sums; `-total` asks whether they are below.

        log mean_λ exp(λ·Σx − ψ(λ)·Σx²),    ψ(λ) = −log(1 − λ) − λ

    exp(λx − ψ(λ)x²) ≤ 1 + λx for x ≥ −1 (Fan, Grama & Liu 2015, Lemma 4.1), so while E[x | past] ≤ 0 each term, and their
    mean, is a supermartingale that starts at 1: the chance that it ever reaches 1/α is at most α (Ville).

    Args:
        total, squares: Σx and Σx² of units in [−1, 1]; of any one shape

    Returns:
        of the same shape
    """
    sums, spread = (np.asarray(values, np.float64)[..., None] for values in (total, squares))
    wealth = STAKES * sums - PRICES * spread  # (..., stakes)
    return np.asarray(np.logaddexp.reduce(wealth, axis=-1) - np.log(len(STAKES)))


def evidence_of_difference(total: ArrayLike, squares: ArrayLike) -> Doubles:
    """log of the evidence that units are not 0 on average: the mean of the evidence for above and for below."""
    above, below = evidence(total, squares), evidence(-np.asarray(total, np.float64), squares)
    return np.asarray(np.logaddexp(above, below) - np.log(2))


def radius(squares: ArrayLike, alpha: float) -> Doubles:
    """r with |Σx − ΣE[x | past]| < r at every look, with probability 1 − α; the expectations may drift.

        min_λ (log(2·stakes/α) + ψ(λ)·Σx²/4) · 2/λ     (Howard et al. 2021, Theorem 4, with x̂ = 0 and a range of 2)

    Args:
        squares: Σx² of units in [−1, 1]
    """
    spread = np.asarray(squares, np.float64)[..., None]
    bounds = (np.log(2 * len(STAKES) / alpha) + PRICES * spread / 4) * 2 / STAKES  # (..., stakes)
    return np.asarray(bounds.min(axis=-1))


def e_process(units: ArrayLike, alternative: Alternative = "different") -> Doubles:
    """`evidence` after each of the units.  (t,)

    Args:
        units: (t,) in [−1, 1]

    Raises:
        InvalidInput: a unit outside its bounds.
    """
    x = _bounded(units, -1.0, 1.0)
    total, squares = np.cumsum(x), np.cumsum(x**2)
    if alternative == "different":
        return evidence_of_difference(total, squares)
    return evidence(total if alternative == "greater" else -total, squares)


def units_to_alarm(mean: float, square: float, alpha: float) -> float:
    """Bound on the expected number of units until `evidence` reaches 1/α, for units of this mean (> 0) and mean square.

        min_λ (log(stakes/α) + λ) / (λ·mean − ψ(λ)·square)     (Wald; the last unit overshoots by at most λ)

    inf where no stake gains, which needs a mean below a thousandth of the mean square.
    """
    gain = STAKES * mean - PRICES * square
    needed = (np.log(len(STAKES) / alpha) + STAKES) / np.where(gain > 0, gain, np.nan)
    return float(np.nanmin(needed)) if (gain > 0).any() else float("inf")


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


def chances(interleaving: Interleaving) -> Doubles:
    """2q − 1 of every slot that was drawn, clicked or not: what the list itself offered explore.  (m,)

    Given the slots above it, its expectation is 0 for any two rankers and any readers: Σ_d ½(P_c + P_e)·(P_e − P_c)/(P_e + P_c).
    So the sums over slots are a check that both networks had equal chances: an alarm is a fault of the machine (a biased coin,
    lost impressions), not a verdict.
    """
    return 2 * interleaving.credit[~interleaving.pinned].astype(np.float64) - 1


def reader_units(users: Sequence[str | None], clicks: Sequence[int], outcomes: Sequence[float]) -> Doubles:
    """Σ outcomes / Σ clicks of each reader who clicked, in the order of their first impression.  (t,) in [−1, 1]

    One reader's impressions become one unit, whatever they clicked: who reads all day is no crowd. A reader without an id
    is another one each time.

    Args:
        users, clicks, outcomes: (m,) of impressions
    """
    names = [i if user is None else user for i, user in enumerate(users)]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    reader = np.array([places[name] for name in names], np.intp)
    count = np.bincount(reader, clicks, minlength=len(places))
    total = np.bincount(reader, outcomes, minlength=len(places))
    return np.clip(total[count > 0] / count[count > 0], -1.0, 1.0)


def _bounded(units: ArrayLike, low: float, high: float) -> Doubles:
    x = np.asarray(units, np.float64)
    if x.ndim != 1 or not ((x >= low) & (x <= high)).all():
        raise InvalidInput(f"units must be one row of numbers between {low} and {high}")
    return x
