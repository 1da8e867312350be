"""Error rates and speed of the verdicts, over whole simulated duels drawn from the exact distribution of lists."""

from itertools import permutations

import numpy as np
import pytest

from drn.interleaving import ranks, slot_shares
from drn.statistics import confidence_sequence, e_process, first_alarm, sessions

N, K, TAU = 5, 3, 3.0
LISTS = np.array(list(permutations(range(N), K)), np.int32)


class Duel:
    """Two fixed rankers, and readers whose clicks are a matter of chance: rank only, or what they want to read."""

    def __init__(self, current: np.ndarray, explore: np.ndarray):
        shares = [slot_shares(ranks(current), ranks(explore), shown, np.zeros(K, bool), TAU) for shown in LISTS]
        self.says = 2 * np.array([credit for credit, _ in shares], float) - 1  # (lists, K)
        self.cumulative = np.cumsum([propensity.astype(float).prod() for _, propensity in shares])

    def lists(self, rng: np.random.Generator, impressions: int) -> np.ndarray:
        return np.searchsorted(self.cumulative, rng.random(impressions) * self.cumulative[-1])

    def units(self, rng: np.random.Generator, impressions: int, taste: np.ndarray) -> np.ndarray:
        """Session values of readers who examine the slots with falling attention and then click as they like."""
        drawn = self.lists(rng, impressions)
        clicked = rng.random((impressions, K)) < np.array([0.8, 0.5, 0.3]) * taste[LISTS[drawn]]
        users = [f"u{u}" for u in rng.integers(0, 1 + impressions // 4, impressions)]
        seconds = np.cumsum(rng.exponential(20.0, impressions))
        return sessions(users, seconds, clicked.sum(1), (self.says[drawn] * clicked).sum(1), 1_800.0, np.inf)


@pytest.fixture(scope="module")
def null_duels() -> list[np.ndarray]:
    """1,000 duels of different rankers before readers who click by rank alone."""
    rng = np.random.default_rng(20260101)
    pairs = [Duel(rng.standard_normal(N).astype(np.float32), rng.standard_normal(N).astype(np.float32)) for _ in range(20)]
    return [pairs[i % 20].units(rng, 2_000, np.full(N, 0.7)) for i in range(1_000)]


@pytest.mark.parametrize("alternative", ["different", "greater", "less"])
def test_at_most_five_percent_of_null_duels_watched_continuously_raise_an_alarm(null_duels, alternative):
    alarms = sum(first_alarm(e_process(units, alternative=alternative), alpha=0.05) is not None for units in null_duels)
    print(f"{alternative}: {alarms} false alarms in {len(null_duels)} null duels")
    assert alarms <= 50


def test_the_band_leaves_the_truth_in_at_most_five_percent_of_null_duels(null_duels):
    bands = [confidence_sequence(units, alpha=0.05) for units in null_duels]
    missed = sum(bool(((band.lower > 0) | (band.upper < 0)).any()) for band in bands)
    print(f"{missed} bands left the truth in {len(bands)} null duels")
    assert missed <= 50


def test_naive_looks_would_have_raised_many(null_duels):
    """The duels are hard enough: a z-test looked at after every reader errs far more often than its 5 %."""
    naive = 0
    for units in null_duels:
        t = np.arange(1, len(units) + 1)[20:]
        mean, square = (np.cumsum(x)[20:] / t for x in (units, units**2))
        naive += bool((np.abs(mean) > 1.96 * np.sqrt((square - mean**2) / t)).any())
    assert naive > 200


def test_the_band_is_theorem_2_of_waudby_smith_and_ramdas():
    """Their recursion, one unit at a time."""
    units, alpha = np.random.default_rng(4).beta(2, 3, 300), 0.1
    band = confidence_sequence(units, alpha, low=0.0, high=1.0)
    mean, variance, total, squares = 0.5, 0.25, 0.5, 0.25
    weight = weighted = penalty = 0.0
    for t, x in enumerate(units, start=1):
        lam = min(0.5, np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(1 + t))))
        weight, weighted = weight + lam, weighted + lam * x
        penalty += 4 * (x - mean) ** 2 * (-np.log(1 - lam) - lam) / 4
        radius = (np.log(2 / alpha) + penalty) / weight
        assert band.mean[t - 1] == pytest.approx(weighted / weight)
        assert band.lower[t - 1] == pytest.approx(max(0.0, weighted / weight - radius))
        assert band.upper[t - 1] == pytest.approx(min(1.0, weighted / weight + radius))
        total += x
        mean = total / (t + 1)
        squares += (x - mean) ** 2
        variance = squares / (t + 1)
    assert band.upper[-1] - band.lower[-1] < 0.2


TASTE = np.array([1.0, 0.8, 0.5, 0.2, 0.05])
GOOD = np.array([5, 4, 3, 2, 1], np.float32)


def test_a_reversed_explore_network_is_caught_within_60_sessions():
    duel, rng = Duel(GOOD, GOOD[::-1].copy()), np.random.default_rng(1)
    needed = [first_alarm(e_process(duel.units(rng, 800, TASTE), alternative="less")) for _ in range(100)]
    print(f"reversed scores: caught after {np.median(needed):.0f} sessions (median), {max(needed)} at most")
    assert max(needed) <= 60


def test_a_slightly_worse_network_is_caught_within_10000_sessions():
    """Explore costs 2 % of the clicks' credit: sessions with mean −0.02 and the spread of real ones."""
    rng, needed = np.random.default_rng(2), []
    for _ in range(40):
        units = np.clip(rng.choice([-0.45, 0.0, 0.45], 40_000) - 0.02, -1, 1)
        needed.append(first_alarm(e_process(units, alternative="less")))
    assert all(sessions_needed is not None for sessions_needed in needed)
    print(f"2 % worse: caught after {np.median(needed):.0f} sessions (median), {max(needed)} at most")
    assert np.quantile(needed, 0.95) <= 10_000


@pytest.mark.parametrize(("coin", "fair"), [(0.5, True), (0.6, False)])
def test_a_biased_coin_is_noticed_and_a_fair_one_is_not(coin, fair):
    """Lists are reweighted as if explore had placed each slot with probability `coin`."""
    duel, rng = Duel(GOOD, GOOD[::-1].copy()), np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        drawn = duel.lists(rng, 4_000)
        tilt = np.prod(2 * (coin * (1 + duel.says[drawn]) / 2 + (1 - coin) * (1 - duel.says[drawn]) / 2), axis=1)
        kept = drawn[rng.random(len(drawn)) < tilt / tilt.max()]
        alarms += first_alarm(e_process(duel.says[kept].mean(axis=1))) is not None
    assert alarms <= 10 if fair else alarms >= 190
