import numpy as np
import pytest

from drn.errors import InvalidInput
from drn.interleaving import interleave
from drn.statistics import (
    chances,
    closed_sessions,
    confidence_sequence,
    e_process,
    evidence,
    first_alarm,
    radius,
    reader_units,
    sessions,
    units_to_alarm,
)


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


def test_evidence_by_hand():
    """Units 1 and −½: Σx = ½, Σx² = 5/4."""
    stakes = 0.5 ** np.arange(1, 11)
    prices = -np.log(1 - stakes) - stakes
    expected = np.mean(np.exp(stakes * 0.5 - prices * 1.25))
    assert np.exp(e_process([1.0, -0.5], alternative="greater")[-1]) == pytest.approx(expected)
    assert np.exp(evidence(0.5, 1.25)) == pytest.approx(expected)
    below = np.mean(np.exp(-stakes * 0.5 - prices * 1.25))
    assert np.exp(e_process([1.0, -0.5])[-1]) == pytest.approx((expected + below) / 2)


def test_the_radius_by_hand():
    """One unit of 1: the best λ of the ten is ½."""
    assert radius(1.0, 0.05) == pytest.approx((np.log(400) + (np.log(2) - 0.5) / 4) * 4)


def test_the_bound_on_the_units_needed_by_hand():
    """Units of −1 each: λ = ½ gains ½ − (log 2 − ½) a unit."""
    assert units_to_alarm(1.0, 1.0, 0.05) == pytest.approx((np.log(200) + 0.5) / (1 - np.log(2)))
    assert units_to_alarm(0.0, 1.0, 0.05) == float("inf")
    assert first_alarm(e_process([-1.0] * 40, "less")) <= units_to_alarm(1.0, 1.0, 0.05)


def test_readers_are_units_in_the_order_of_their_first_impression():
    units = reader_units(["u", None, "v", "u", None], [2, 1, 0, 2, 1], [1.0, 0.5, 0.0, -0.2, -1.0])
    assert units == pytest.approx([0.2, 0.5, -1.0])
    assert len(reader_units([], [], [])) == 0


def test_an_alarm_is_counted_in_units():
    assert first_alarm(np.array([0.0, 2.9, 3.0, 0.0]), alpha=0.05) == 3  # log 20 = 2.9957
    assert first_alarm(np.array([0.0, 2.9])) is None
    assert first_alarm(np.zeros(0)) is None


def test_ties_prove_nothing():
    assert e_process(np.zeros(500)) == pytest.approx(0)


def test_nothing_seen_is_no_evidence_and_no_bound():
    assert len(e_process([])) == len(confidence_sequence([]).mean) == 0
    assert evidence(0.0, 0.0) == pytest.approx(0)


@pytest.mark.parametrize("units", [[1.5], [-1.5], [np.nan], [[0.0]]])
def test_units_outside_their_bounds_are_refused(units):
    with pytest.raises(InvalidInput):
        e_process(units)
    with pytest.raises(InvalidInput):
        confidence_sequence(units)


def test_impossible_questions_are_refused():
    with pytest.raises(InvalidInput):
        confidence_sequence([0.0], alpha=0.0)


def test_both_networks_have_equal_chances_in_every_slot():
    rng = np.random.default_rng(9)
    current, explore = rng.standard_normal((2, 8)).astype(np.float32)
    offered = np.array([chances(interleave(current, explore, 4, 3.0, rng, {1: 5})) for _ in range(4_000)])
    assert offered.shape == (4_000, 3)  # the pinned slot offers nobody anything
    np.testing.assert_allclose(offered.mean(axis=0), 0, atol=4 * offered.std() / np.sqrt(4_000))
    assert len(chances(interleave(current, explore, 1, 3.0, rng, {0: 5}))) == 0
