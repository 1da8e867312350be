"""The duel: how an explore network is proposed, and how its readers' verdict is found. [DRN §4.4, Eq. 7-8]"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from drn.config import Config
from drn.model import freeze
from drn.types import DuelState, Verdict, Weights
from drn.verdicts import harmful


def version_rng(config: Config, version_id: int) -> np.random.Generator:
    """All chance that went into one version comes from here, so its explore network can be rebuilt from its row."""
    return np.random.default_rng(np.random.SeedSequence([config.root_seed, version_id]))


def perturb(weights: Weights, alpha: float, rng: np.random.Generator) -> Weights:
    """ΔW = α·U(−1, 1)·W, one number per weight. [DRN Eq. 7]

    The paper leaves open what `rand` is drawn for. One number per tensor scales whole layers, which hardly changes
    an order: 64-81 % of the duels end in ties. Names are taken in sorted order, so that a seed means one network.
    """
    return freeze(
        {name: w + np.float32(alpha) * rng.uniform(-1, 1, w.shape).astype(np.float32) * w for name, w in sorted(weights.items())}
    )


def step_towards(current: Weights, explore: Weights, eta: float) -> Weights:
    """W ← W + η·(W̃ − W). [DRN Eq. 8, corrected]

    As printed (W + η·W̃) every win makes the weights 1 + η times larger, whatever the direction was.
    """
    return freeze({name: w + np.float32(eta) * (explore[name] - w) for name, w in current.items()})


def spread(weights: Weights, sigma: float, rng: np.random.Generator) -> Weights:
    """W̃ = W + σ·ε, ε ~ N(0, 1): the first of two antithetic directions. [Salimans et al. 2017]"""
    return freeze({name: w + np.float32(sigma) * rng.standard_normal(w.shape, np.float32) for name, w in sorted(weights.items())})


def mirror(current: Weights, explore: Weights) -> Weights:
    """W − (W̃ − W): the antithetic direction to W̃."""
    return freeze({name: 2 * w - explore[name] for name, w in current.items()})


def es_gradient(current: Weights, second: Weights, outcomes: tuple[float, float], sigma: float) -> Weights:
    """∇ ≈ (r₊ − r₋) / 2σ · ε from the mean outcomes of an antithetic pair; `second` is W − σ·ε. [Salimans et al. 2017]"""
    scale = np.float32((outcomes[0] - outcomes[1]) / (2 * sigma**2))
    return freeze({name: scale * (w - second[name]) for name, w in current.items()})


def open_explore(current: Weights, config: Config, rng: np.random.Generator) -> Weights:
    """The explore network that a new duel begins with: a direction to try, or a copy that readers' feedback will steer."""
    if config.direction == "random":
        return perturb(current, config.alpha, rng)
    if config.direction == "es":
        return spread(current, config.es_sigma, rng)
    if config.guided_noise:
        return perturb(current, config.guided_noise, rng)
    return current


def settle(duel: DuelState, outcomes: Iterable[float]) -> DuelState:
    """Adds impressions' outcomes Σ_clicks (2q − 1) to the score; positive speaks for explore."""
    score = np.fromiter(outcomes, np.float64)
    return replace(
        duel,
        impressions=duel.impressions + len(score),
        wins=duel.wins + int((score > 0).sum()),
        losses=duel.losses + int((score < 0).sum()),
        total=duel.total + float(score.sum()),
        squares=duel.squares + float((score**2).sum()),
    )


def z_score(duel: DuelState) -> float:
    """z = x̄ / (s / √n) of the outcomes; 0 while nothing speaks for either side."""
    n = duel.impressions
    if n < 2 or duel.squares == 0:
        return 0.0
    variance = max(duel.squares - duel.total**2 / n, 0.0) / (n - 1)
    if variance == 0:  # every impression said the same
        return float(np.copysign(np.inf, duel.total))
    return float(duel.total / n / np.sqrt(variance / n))


def judge(duel: DuelState, outcomes: Iterable[float], config: Config) -> tuple[DuelState, Verdict]:
    """The duel with the outcomes settled, and what its readers say.

    guided: after `duel_window` impressions explore becomes current unless it is losing (z < `duel_loss_z`); it is reset as
    soon as it is proven harmful (`drn.verdicts`), whatever the window says.
    random: the sign of the total; a tie leaves it open, and ends for current once the window is full, as a direction
    that changes no list would otherwise be held for ever. es: every settled batch ends it; the sign is for the record.
    """
    duel = settle(duel, outcomes)
    won = duel.total > 0
    full = duel.impressions >= config.duel_window
    if config.direction == "guided":
        harm = harmful(duel, config)
        decided, won = full or harm, not harm and z_score(duel) >= config.duel_loss_z
    elif config.direction == "random":
        decided = full or duel.total != 0
    else:
        decided = duel.impressions > 0
    if not decided:
        return duel, Verdict.UNDECIDED
    return duel, Verdict.EXPLORE_WON if won else Verdict.CURRENT_WON
