import numpy as np
import pytest

from drn.config import Config
from drn.exploration import judge
from drn.statistics import e_process
from drn.types import DuelState, Verdict
from drn.verdicts import follow, harmful, unequal, watch

NOTHING = np.zeros(0)
CONFIG = Config(duel_window=1_000)


def test_the_running_sums_say_what_the_whole_history_says():
    rng = np.random.default_rng(1)
    units, duel = rng.uniform(-1, 0.8, 120), DuelState(1)
    for some in np.split(units, 12):
        duel = watch(duel, some, NOTHING)
        whole = e_process(units[: duel.units], "less")[-1]
        assert harmful(duel, CONFIG) == (whole >= np.log(20))
    assert duel.units == 120
    assert (duel.unit_total, duel.unit_squares) == (pytest.approx(units.sum()), pytest.approx((units**2).sum()))


def test_a_harmful_explore_network_is_reset_before_its_window_is_full():
    duel = watch(DuelState(1), np.full(30, -0.9), NOTHING)
    assert judge(duel, [-0.9] * 30, CONFIG)[1] is Verdict.CURRENT_WON
    assert judge(DuelState(1), [-0.9] * 30, CONFIG)[1] is Verdict.UNDECIDED


def test_harm_is_no_matter_of_the_window_and_benefit_is_none_of_harm():
    better = watch(DuelState(1), np.full(300, 0.9), NOTHING)
    assert not harmful(better, CONFIG)
    assert judge(better, [], CONFIG)[1] is Verdict.UNDECIDED
    worse = watch(DuelState(1), np.full(300, -0.9), NOTHING)  # and the outcomes of its lists say otherwise
    assert judge(worse, [0.5] * 1_000, CONFIG)[1] is Verdict.CURRENT_WON


def test_directions_that_readers_judge_at_once_are_judged_as_before():
    duel = watch(DuelState(1), np.full(30, -0.9), NOTHING)
    assert judge(duel, [0.1], Config(direction="random"))[1] is Verdict.EXPLORE_WON


@pytest.mark.parametrize("side", [-1, 1])
def test_slots_that_favour_one_network_are_a_fault_of_the_machine(side):
    offered = side * np.random.default_rng(2).choice([-0.9, 0.9], 4_000, p=[0.4, 0.6])
    assert unequal(watch(DuelState(1), NOTHING, offered))
    assert not unequal(watch(DuelState(1), NOTHING, np.tile([0.9, -0.9], 2_000)))


def test_the_next_duel_counts_chances_on_and_all_else_anew():
    duel = watch(DuelState(1, impressions=3, wins=2, total=0.5), np.array([-0.5]), np.array([0.25, -0.5]))
    assert follow(duel, 7) == DuelState(7, chance_total=-0.25, chance_squares=0.3125)
