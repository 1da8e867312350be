"""A harmful explore network on whole front pages: how many lists until it is reset, and what it costs until then."""

from dataclasses import dataclass

import numpy as np

from drn.config import Config
from drn.interleaving import interleave, outcome
from drn.statistics import chances, reader_units
from drn.types import DuelState, Floats
from drn.verdicts import harmful, watch

CANDIDATES, SHOWN, UPDATE, READERS = 100, 10, 1, 200
MOST = 5_000  # impressions after which a duel is given up
PATIENCE = 0.85 ** np.arange(SHOWN)  # chance to look at a slot


@dataclass(frozen=True, slots=True)
class Reset:
    """One duel of a harmful explore network, from its opening to its reset."""

    duel: DuelState
    impressions: int
    lost: float  # clicks, expected, that current alone would have got besides
    mean: float  # of the units
    square: float  # mean of the units' squares


def appeals(rng: np.random.Generator) -> Floats:
    """(CANDIDATES,) chances of a click on what is looked at: a few articles that many want to read, many that few want."""
    return np.sort(rng.beta(0.6, 6.0, CANDIDATES))[::-1].astype(np.float32)


def until_reset(rng: np.random.Generator, config: Config) -> Reset:
    """Explore scores everything the wrong way round; readers are asked for a verdict after every UPDATE impressions."""
    appeal = appeals(rng)
    duel, impressions, lost = DuelState(1), 0, 0.0
    best = float((PATIENCE * appeal[:SHOWN]).sum())
    while not harmful(duel, config) and impressions < MOST:
        users, clicks, outcomes, offered = [], [], [], []
        for _ in range(UPDATE):
            merged = interleave(appeal, -appeal, SHOWN, config.tau, rng)
            wanted = PATIENCE * appeal[merged.shown]
            clicked = rng.random(SHOWN) < wanted
            users.append(f"u{rng.integers(READERS)}")
            clicks.append(int(clicked.sum()))
            outcomes.append(outcome(merged.credit, clicked))
            offered.append(chances(merged))
            lost += best - float(wanted.sum())
        impressions += UPDATE
        duel = watch(duel, reader_units(users, clicks, outcomes), np.concatenate(offered))
    return Reset(duel, impressions, lost, duel.unit_total / duel.units, duel.unit_squares / duel.units)
