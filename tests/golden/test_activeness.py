"""The constants of Zheng et al., WWW 2018, §4.3 explain one another."""

import numpy as np
import pytest

from drn.activeness import constant, expected_life, survival, trajectory
from drn.config import Config

CONFIG = Config()
DAY = 86_400.0
PAPER = constant(CONFIG.return_hazard)


def test_a_daily_reader_is_expected_back_in_a_day():
    assert expected_life(PAPER) == pytest.approx(CONFIG.return_horizon, rel=0.04)  # λ0 is rounded to 1.2e-5


def test_one_return_a_day_restores_what_a_day_takes():
    lost = CONFIG.initial_activeness * (1 - survival(DAY, PAPER))
    assert lost == pytest.approx(CONFIG.activeness_per_return, abs=0.005)
    daily = trajectory([i * DAY for i in range(30)], [29 * DAY], PAPER, CONFIG.initial_activeness, CONFIG.activeness_per_return)
    assert daily[0] == pytest.approx(CONFIG.initial_activeness, abs=0.01)


def test_a_trajectory_worked_out_by_hand():
    levels = trajectory([0.0, 10.0, 20.0], [0.0, 5.0, 10.0, 20.0, 30.0], constant(0.1), 0.5, 0.32)
    first = 0.5 * np.exp(-1) + 0.32
    second = first * np.exp(-1) + 0.32
    assert levels == pytest.approx([0.5, 0.5 * np.exp(-0.5), first, second, second * np.exp(-1)])
