import numpy as np
import pytest

from drn.errors import InvalidInput
from drn.interleaving import interleave
from drn.statistics import chance, closed_sessions, confidence_sequence, difference, e_process, first_alarm, sessions


def test_a_session_is_worth_its_outcome_per_click():
    values = sessions(["u", "u", "v"], [0, 10, 20], [2, 1, 1], [0.5, 1.0, -0.4], gap=100, now=1_000)
    assert values == pytest.approx([0.5, -0.4])


def test_a_pause_longer_than_the_gap_begins_another_session():
    assert sessions(["u", "u", "u"], [0, 100, 201], [1, 1, 1], [1.0, 0.0, -1.0], gap=100, now=1_000) == pytest.approx([0.5, -1.0])


def test_sessions_come_in_the_order_in_which_they_closed():
    assert sessions(["u", "v", "u"], [0, 10, 90], [1, 1, 0], [0.1, 0.2, 0.0], gap=100, now=1_000) == pytest.approx([0.2, 0.1])


def test_a_session_closes_a_gap_after_its_last_impression():
    at, values = closed_sessions(["u", "v", "u"], [0, 10, 90], [1, 1, 0], [0.1, 0.2, 0.0], gap=100, now=1_000)
    assert at.tolist() == [110.0, 190.0]
    assert values == pytest.approx([0.2, 0.1])


def test_open_and_silent_sessions_say_nothing_yet():
    users, seconds, clicks, outcomes = ["u", "v", "w"], [0, 0, 50], [1, 0, 1], [0.5, 0.0, 0.7]
    assert len(sessions(users, seconds, clicks, outcomes, gap=100, now=100)) == 0
    assert sessions(users, seconds, clicks, outcomes, gap=100, now=101) == pytest.approx([0.5])


def test_readers_without_an_id_are_a_session_each():
    assert sessions([None, None], [0, 1], [1, 1], [0.5, -0.5], gap=100, now=1_000) == pytest.approx([0.5, -0.5])


@pytest.mark.parametrize(
    ("users", "seconds", "clicks", "outcomes"),
    [(["u"], [0, 1], [1, 1], [0, 0]), (["u", "u"], [1, 0], [1, 1], [0, 0]), (["u"], [0], [1], [1.5]), (["u"], [0], [0], [-0.5])],
)
def test_impossible_outcomes_are_refused(users, seconds, clicks, outcomes):
    with pytest.raises(InvalidInput):
        sessions(users, seconds, clicks, outcomes, gap=100, now=1_000)


def test_wealth_by_hand():
    stakes = 0.5 ** np.arange(1, 11)
    expected = np.mean((1 + stakes) * (1 - 0.5 * stakes))
    assert np.exp(e_process([1.0, -0.5], alternative="greater")[-1]) == pytest.approx(expected)
    mirrored = np.mean(np.concatenate([(1 + stakes) * (1 - 0.5 * stakes), (1 - stakes) * (1 + 0.5 * stakes)]))
    assert np.exp(e_process([1.0, -0.5])[-1]) == pytest.approx(mirrored)


def test_an_alarm_is_counted_in_units():
    assert first_alarm(np.array([0.0, 2.9, 3.0, 0.0]), alpha=0.05) == 3  # log 20 = 2.9957
    assert first_alarm(np.array([0.0, 2.9])) is None
    assert first_alarm(np.zeros(0)) is None


def test_ties_prove_nothing():
    assert e_process(np.zeros(500)) == pytest.approx(0)


def test_nothing_seen_is_no_evidence_and_no_bound():
    assert len(e_process([])) == len(confidence_sequence([]).mean) == 0
    assert difference([], []) == (-1.0, 1.0)


def test_a_worse_arm_has_a_difference_below_zero():
    rng = np.random.default_rng(5)
    worse, better = (rng.random((2, 4_000)) < [[0.10], [0.25]]).astype(float)
    low, high = difference(worse, better)
    assert low < -0.15 < high < 0
    assert difference(better, worse) == pytest.approx((-high, -low))


@pytest.mark.parametrize("units", [[1.5], [-1.5], [np.nan], [[0.0]]])
def test_units_outside_their_bounds_are_refused(units):
    with pytest.raises(InvalidInput):
        e_process(units)
    with pytest.raises(InvalidInput):
        confidence_sequence(units)


def test_impossible_questions_are_refused():
    with pytest.raises(InvalidInput):
        e_process([0.0], mean=1.0)
    with pytest.raises(InvalidInput):
        confidence_sequence([0.0], alpha=0.0)


def test_both_networks_have_equal_chances_on_average():
    rng = np.random.default_rng(9)
    current, explore = rng.standard_normal((2, 8)).astype(np.float32)
    chances = [chance(interleave(current, explore, 4, 3.0, rng, {1: 5})) for _ in range(2_000)]
    assert np.mean(chances) == pytest.approx(0, abs=4 * np.std(chances) / np.sqrt(2_000))
    assert chance(interleave(current, explore, 1, 3.0, rng, {0: 5})) == 0.0
