"""Error rates and speed of the verdicts, over whole simulated duels drawn from the exact distribution of lists."""

import numpy as np
import pytest

from benchmarks.learning.watching.duels import Duel, null_duels, slightly_worse
from benchmarks.learning.watching.halves import lists_to_rollback, rollbacks
from benchmarks.learning.watching.harm import until_reset
from benchmarks.learning.watching.table import impressions_to_alarm
from drn.config import Config
from drn.statistics import (
    PRICES,
    STAKES,
    Doubles,
    confidence_sequence,
    e_process,
    evidence_of_difference,
    first_alarm,
    units_to_alarm,
)

CONFIG = Config()


@pytest.fixture(scope="module")
def null_units() -> list[Doubles]:
    """1,000 duels of different rankers before readers who click by place alone."""
    rng = np.random.default_rng(20260101)
    pairs = null_duels(rng, 20)
    return [pairs[i % 20].watch(rng, 2_000)[0] for i in range(1_000)]


@pytest.mark.parametrize("alternative", ["different", "greater", "less"])
def test_at_most_five_percent_of_null_duels_watched_continuously_raise_an_alarm(null_units, alternative):
    alarms = sum(first_alarm(e_process(units, alternative=alternative), alpha=0.05) is not None for units in null_units)
    print(f"{alternative}: {alarms} false alarms in {len(null_units)} null duels")
    assert alarms <= 50


def test_the_band_leaves_the_truth_in_at_most_five_percent_of_null_duels(null_units):
    bands = [confidence_sequence(units, alpha=0.05) for units in null_units]
    missed = sum(bool(((band.lower > 0) | (band.upper < 0)).any()) for band in bands)
    print(f"{missed} bands left the truth in {len(bands)} null duels")
    assert missed <= 50


def test_naive_looks_would_have_raised_many(null_units):
    """The duels are hard enough: a z-test looked at after every reader errs far more often than its 5 %."""
    naive = 0
    for units in null_units:
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


def test_scores_reversed_cost_less_than_the_bounds_before_explore_is_reset():
    """On every path the credit lost stays under its bound; on average the readers needed do, and the clicks that they lose."""
    rng = np.random.default_rng(1)
    resets = [until_reset(rng, CONFIG) for _ in range(100)]
    for one in resets:
        before = -one.duel.unit_total - 1  # the last unit, which told, was worth 1 at most
        assert before < np.min((np.log(10 / 0.05) + PRICES * one.duel.unit_squares) / STAKES)
    mean, square = (np.mean([getattr(one, name) for one in resets]) for name in ("mean", "square"))
    bound = units_to_alarm(-mean, square, CONFIG.duel_harm_alpha)
    readers = np.array([one.duel.units for one in resets])
    impressions = np.array([one.impressions for one in resets])
    print(f"reset after {readers.mean():.1f} readers (bound {bound:.1f}), {impressions.mean():.1f} impressions on average")
    assert readers.mean() <= bound <= 30
    assert impressions.max() < CONFIG.duel_window / 2  # well before the window would have asked
    clicks_per_reader = np.mean([one.lost / one.duel.units for one in resets])
    assert np.mean([one.lost for one in resets]) <= 1.05 * bound * clicks_per_reader


def test_a_network_with_two_percent_fewer_clicks_is_caught_within_20000_impressions():
    needed = impressions_to_alarm(slightly_worse(0.02), 40, 40_000)
    print(f"2 % fewer clicks: caught after {np.median(needed):,.0f} impressions (median), {max(needed):,} at most")
    assert None not in needed
    assert np.quantile(needed, 0.95) <= 20_000


@pytest.mark.parametrize(("coin", "fair"), [(0.5, True), (0.6, False)])
def test_a_biased_coin_is_noticed_and_a_fair_one_is_not(coin, fair):
    """Lists are reweighted as if explore had placed each slot with probability `coin`; every slot is looked at."""
    rng = np.random.default_rng(3)
    duel, alarms = Duel(np.arange(6.0), np.arange(6.0)[::-1], np.ones(6)), 0
    for _ in range(200):
        drawn = duel.draw(rng, 4_000)
        tilt = np.prod(2 * (coin * (1 + duel.says[drawn]) / 2 + (1 - coin) * (1 - duel.says[drawn]) / 2), axis=1)
        offered = duel.says[drawn[rng.random(len(drawn)) < tilt / tilt.max()]].ravel()
        looks = evidence_of_difference(np.cumsum(offered), np.cumsum(offered**2))
        alarms += first_alarm(looks, alpha=0.001) is not None
    assert alarms <= 1 if fair else alarms == 200


def test_at_most_one_percent_of_harmless_periods_end_in_a_rollback():
    alarms = rollbacks(np.random.default_rng(5), 1_000, 2_000, CONFIG.rollback_alpha)
    print(f"{alarms} false rollbacks in 1,000 periods")
    assert alarms <= 10


def test_to_hold_back_readers_would_roll_back_in_vain():
    """Why each list has a coin of its own: two halves of 200 readers differ, whatever serves them."""
    assert rollbacks(np.random.default_rng(6), 200, 5_000, CONFIG.rollback_alpha, by_reader=True) > 10


def test_a_current_network_that_loses_a_fifth_of_the_lists_is_rolled_back_within_10000_held_back_lists():
    needed = lists_to_rollback(np.random.default_rng(7), 100, 12_000, CONFIG.rollback_alpha, 0.2)
    print(f"rolled back after {np.median(needed):,.0f} held-back lists (median), {max(needed):,} at most")
    assert max(needed) <= 10_000
