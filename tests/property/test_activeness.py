import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drn.activeness import Hazard, activeness, constant, expected_life, survival, trajectory

TIMES = st.lists(st.floats(0, 1e6), min_size=1, max_size=8).map(sorted)
HAZARDS = st.lists(st.floats(1e-7, 1e-3), min_size=1, max_size=4).map(
    lambda rates: Hazard(tuple(3_600.0 * i for i in range(len(rates))), tuple(rates))
)


@given(TIMES, HAZARDS)
def test_survival_starts_at_one_and_only_falls(times, hazard):
    alive = survival([0.0, *times], hazard)
    assert alive[0] == 1
    assert (np.diff(alive) <= 0).all()
    assert (alive >= 0).all()


@given(HAZARDS)
def test_expected_life_is_the_area_under_survival(hazard):
    grid = np.concatenate([np.linspace(0, 4 * 3_600, 501), np.geomspace(4 * 3_600, 1e9, 501)[1:]])
    area = np.trapezoid(survival(grid, hazard), grid)
    assert expected_life(hazard) == pytest.approx(area, rel=1e-2)


@given(TIMES, TIMES, HAZARDS, st.floats(0, 1), st.floats(0, 1))
def test_activeness_stays_between_zero_and_one(visits, later, hazard, initial, per_return):
    times = [visits[0] + time for time in later]
    levels = trajectory(visits, times, hazard, initial, per_return)
    assert ((levels >= 0) & (levels <= 1)).all()
    assert levels.tolist() == [activeness(visits, time, hazard, initial, per_return) for time in times]


@given(TIMES, TIMES, st.floats(1e-7, 1e-3), st.floats(0, 1), st.floats(0, 1))
def test_a_visit_never_lowers_activeness_under_a_constant_hazard(visits, later, rate, initial, per_return):
    times = [visits[0] + time for time in later]
    levels = trajectory(visits, times, constant(rate), initial, per_return)
    assert (levels >= trajectory(visits[:-1] or visits, times, constant(rate), initial, per_return) - 1e-12).all()
