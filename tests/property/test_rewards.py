"""The activeness increment is fair: under the hazard that it expects it is 0 on average, whenever one looks."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drn.activeness import Hazard, survival
from drn.config import Config
from drn.rewards import active_reward

START = datetime(2026, 1, 1, tzinfo=UTC)
RATES = st.floats(1e-7, 1e-4)


@given(st.floats(0, 1e6), st.lists(RATES, min_size=1, max_size=4))
def test_increment_is_zero_on_average(watched, rates):
    """E over the return time, integrated on a grid of its own survival function."""
    hazard = Hazard(tuple(20_000.0 * i for i in range(len(rates))), tuple(rates))
    config = Config()
    edges = np.linspace(0, 86_400, 400)
    alive = survival(edges, hazard)
    now = START + timedelta(seconds=watched)
    middle = (edges[1:] + edges[:-1]) / 2
    back = [active_reward(START, START + timedelta(seconds=float(t)), now, config, hazard) for t in middle]
    expected = np.dot(alive[:-1] - alive[1:], back) + alive[-1] * active_reward(START, None, now, config, hazard)
    assert expected == pytest.approx(0, abs=0.32 * 1e-2)  # one cell of the grid is at most 1 % of probability


@given(st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1e6), RATES, st.sampled_from(["increment", "level", "off"]))
def test_nothing_later_than_now_is_used(away, watched, rate, mode):
    config = Config(activeness=mode, return_hazard=rate)
    now = START + timedelta(seconds=watched)
    returned = None if away is None else START + timedelta(seconds=away)
    known = returned if returned is not None and returned <= now else None
    assert active_reward(START, returned, now, config) == active_reward(START, known, now, config)


@given(st.floats(0, 86_400), st.floats(0, 86_400), st.sampled_from(["increment", "level"]))
def test_an_earlier_return_is_never_worth_less(one, other, mode):
    sooner, later = sorted((one, other))
    now, config = START + timedelta(days=3), Config(activeness=mode)
    rewards = [active_reward(START, START + timedelta(seconds=away), now, config) for away in (sooner, later)]
    assert rewards[0] >= rewards[1] > active_reward(START, None, now, config)
