import math

import numpy as np
import pytest

from drn.activeness import Hazard, activeness, constant, expected_life, fit_hazard, survival, trajectory
from drn.errors import InvalidInput


def test_survival_of_pieces_multiplies():
    hazard = Hazard((0.0, 10.0, 30.0), (0.1, 0.0, 0.2))
    assert hazard.cumulative(35.0) == pytest.approx(0.1 * 10 + 0.2 * 5)
    assert survival([0.0, 10.0, 20.0, 35.0], hazard) == pytest.approx(np.exp([0.0, -1.0, -1.0, -2.0]))


def test_a_reader_who_may_never_return_has_no_finite_expectation():
    assert expected_life(Hazard((0.0, 5.0), (1.0, 0.0))) == math.inf
    assert expected_life(Hazard((0.0, 5.0), (0.0, 0.5))) == pytest.approx(5 + 2)
    assert Hazard((0.0, 5.0), (0.5, 0.0)).cumulative(math.inf) == 2.5


def test_visits_after_the_asked_time_do_not_count():
    assert activeness([0.0, 50.0], 10.0, constant(0.01), 0.5, 0.32) == pytest.approx(0.5 * np.exp(-0.1))


def test_activeness_never_exceeds_one():
    assert activeness([0.0, 1.0, 2.0, 3.0, 4.0], 4.0, constant(1e-9), 0.5, 0.32) == 1.0


def test_fit_is_returns_over_time_at_risk():
    hazard = fit_hazard([5.0, 15.0, 20.0, 30.0], [True, True, False, False], starts=[0.0, 10.0, 25.0, 40.0])
    assert hazard.rates == pytest.approx((1 / 35, 1 / 30, 0.0, 0.0))


def test_fit_finds_the_hazard_that_made_the_returns():
    rng = np.random.default_rng(11)
    returns = rng.exponential(4_000.0, 20_000)
    watched = rng.uniform(0.0, 6_000.0, 20_000)
    hazard = fit_hazard(np.minimum(returns, watched), returns <= watched, starts=[0.0, 1_000.0, 3_000.0])
    assert hazard.rates == pytest.approx([1 / 4_000] * 3, rel=0.05)


@pytest.mark.parametrize(
    ("starts", "rates"),
    [((), ()), ((1.0,), (1.0,)), ((0.0, 0.0), (1.0, 1.0)), ((0.0,), (1.0, 2.0)), ((0.0,), (-1.0,)), ((0.0,), (math.nan,))],
)
def test_impossible_hazards_are_refused(starts, rates):
    with pytest.raises(InvalidInput):
        Hazard(starts, rates)


@pytest.mark.parametrize(
    ("seconds", "returned"),
    [([], []), ([0.0], [True]), ([1.0], [True, False]), ([-1.0, 2.0], [True, True]), ([math.inf], [False])],
)
def test_nothing_can_be_fitted_to_impossible_times(seconds, returned):
    with pytest.raises(InvalidInput):
        fit_hazard(seconds, returned)


@pytest.mark.parametrize(("visits", "times"), [([], [1.0]), ([2.0, 1.0], [3.0]), ([2.0], [1.0]), ([0.0], [2.0, 1.0])])
def test_impossible_histories_are_refused(visits, times):
    with pytest.raises(InvalidInput):
        trajectory(visits, times, constant(0.1), 0.5, 0.32)


def test_a_time_before_the_first_visit_is_refused():
    with pytest.raises(InvalidInput):
        activeness([5.0], 1.0, constant(0.1), 0.5, 0.32)
