import numpy as np
import pytest

from drn.errors import InvalidInput
from drn.interleaving import interleave, outcome, ranked_alone, ranks, slot_shares, swap_ratios


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_equal_scores_rank_by_index():
    assert ranks(scores(1, 2, 1, 2)).tolist() == [3, 1, 4, 2]


def test_outcome_sums_what_clicked_slots_say():
    assert outcome(scores(0.9, 0.2, 0.5), np.array([True, True, True])) == pytest.approx(0.8 - 0.6 + 0.0)
    assert outcome(scores(0.9, 0.2), np.array([False, False])) == 0.0


def test_a_pin_keeps_its_place_and_leaves_the_pool(rng):
    merged = interleave(scores(5, 4, 3, 2), scores(2, 3, 4, 5), 3, 3.0, rng, {1: 0})
    assert merged.shown[1] == 0
    assert merged.pinned.tolist() == [False, True, False]
    assert (merged.credit[1], merged.propensity[1]) == (0.5, 1.0)


def test_pins_beyond_a_short_list_move_up_in_their_order(rng):
    merged = interleave(scores(3, 2, 1), scores(3, 2, 1), 10, 3.0, rng, {6: 0, 9: 1})
    assert merged.shown.tolist() == [2, 0, 1]
    assert ranked_alone(scores(3, 2, 1), 10, {6: 0, 9: 1}).shown.tolist() == [2, 0, 1]


def test_every_slot_may_be_pinned(rng):
    merged = interleave(scores(3, 2, 1), scores(1, 2, 3), 2, 3.0, rng, {0: 2, 1: 0})
    assert merged.shown.tolist() == [2, 0]
    assert merged.pinned.all()


def test_no_candidates_give_an_empty_list(rng):
    empty = np.zeros(0, np.float32)
    assert len(interleave(empty, empty, 5, 3.0, rng).shown) == len(ranked_alone(empty, 5).shown) == 0


def test_what_comes_back_is_read_only(rng):
    with pytest.raises(ValueError, match="read-only"):
        interleave(scores(1, 2), scores(2, 1), 2, 3.0, rng).credit[0] = 1


@pytest.mark.parametrize(
    ("current", "explore", "k", "tau", "pinned"),
    [
        (scores(1, 2), scores(1, 2, 3), 2, 3.0, {}),
        (scores(1, np.nan), scores(1, 2), 2, 3.0, {}),
        (scores(1, 2), scores(1, np.inf), 2, 3.0, {}),
        (scores(1, 2), scores(1, 2), 0, 3.0, {}),
        (scores(1, 2), scores(1, 2), 2, -1.0, {}),
        (scores(1, 2), scores(1, 2), 2, 3.0, {0: 1, 1: 1}),
        (scores(1, 2), scores(1, 2), 2, 3.0, {0: 2}),
        (scores(1, 2), scores(1, 2), 2, 3.0, {0: -1}),
        (scores(1, 2), scores(1, 2), 1, 3.0, {1: 0}),
    ],
)
def test_impossible_input_is_refused(rng, current, explore, k, tau, pinned):
    with pytest.raises(InvalidInput):
        interleave(current, explore, k, tau, rng, pinned)


def test_a_pinned_slot_cannot_be_swapped():
    with pytest.raises(InvalidInput, match="pinned"):
        swap_ratios(ranks(scores(2, 1)), ranks(scores(1, 2)), np.array([0, 1]), [[0, 1]], 3.0, np.array([True, False]))


def test_swap_ratios_skip_pinned_slots():
    current, explore = ranks(scores(9, 5, 4, 3)), ranks(scores(1, 3, 5, 4))
    with_pin = swap_ratios(current, explore, np.array([1, 0, 3]), [[0, 2]], 3.0, np.array([False, True, False]))
    without = swap_ratios(ranks(scores(5, 4, 3)), ranks(scores(3, 5, 4)), np.array([0, 2]), [[0, 1]], 3.0)
    assert with_pin == pytest.approx(without)


@pytest.mark.parametrize("tau", [0.0, 3.0, 500.0])
def test_ten_thousand_candidates_are_sound_at_any_tau(rng, tau):
    current = rng.standard_normal(10_000).astype(np.float32).round(2)  # rounded, so that many scores tie
    explore = (current + rng.standard_normal(10_000)).astype(np.float32).round(2)
    merged = interleave(current, explore, 20, tau, rng)
    credit, propensity = slot_shares(ranks(current), ranks(explore), merged.shown, merged.pinned, tau)
    np.testing.assert_array_equal(merged.credit, credit)  # ranks counted for the few shown = ranks of a full sort
    np.testing.assert_array_equal(merged.propensity, propensity)
    assert len(set(merged.shown.tolist())) == 20
    assert np.isfinite(swap_ratios(ranks(current), ranks(explore), merged.shown, [[0, 19], [3, 4]], tau)).all()
    if tau == 0:
        np.testing.assert_allclose(merged.propensity, 1 / (10_000 - np.arange(20)), rtol=1e-6)


def test_a_huge_tau_takes_turns_from_the_top(rng):
    merged = interleave(scores(3, 2, 1), scores(3, 2, 1), 3, 1_000.0, rng)
    assert merged.shown.tolist() == [0, 1, 2]
    assert merged.propensity == pytest.approx([1, 1, 1])
