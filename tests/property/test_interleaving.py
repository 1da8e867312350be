"""The laws of a fair duel, for any scores, pins, length and τ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from drn.interleaving import interleave, outcome, ranked_alone, ranks, slot_shares, swap_ratios

SCORE = st.floats(-100, 100, width=32)
TAUS = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0, 400.0])


@st.composite
def duels(draw, smallest=1):
    n = draw(st.integers(smallest, 12))
    current, explore = draw(arrays(np.float32, n, elements=SCORE)), draw(arrays(np.float32, n, elements=SCORE))
    return current, explore, draw(st.integers(1, 14)), draw(TAUS), draw(st.integers(0, 2**32))


@st.composite
def pinned_duels(draw):
    current, explore, k, tau, seed = draw(duels())
    positions = draw(st.lists(st.integers(0, k - 1), unique=True, max_size=min(k, len(current))))
    candidates = draw(st.permutations(range(len(current))))[: len(positions)]
    return current, explore, k, tau, seed, dict(zip(positions, candidates, strict=True))


@given(pinned_duels())
def test_a_list_has_min_k_n_different_candidates_and_sound_shares(duel):
    current, explore, k, tau, seed, pinned = duel
    merged = interleave(current, explore, k, tau, np.random.default_rng(seed), pinned)
    assert len(merged.shown) == len(set(merged.shown.tolist())) == min(k, len(current))
    assert ((merged.credit >= 0) & (merged.credit <= 1) & (merged.propensity >= 0) & (merged.propensity <= 1)).all()
    assert set(merged.shown[merged.pinned].tolist()) == set(pinned.values())
    assert (merged.credit[merged.pinned] == 0.5).all()
    assert (merged.propensity[merged.pinned] == 1).all()
    assert all(merged.shown[p] == c for p, c in pinned.items() if max(pinned) < len(merged.shown))


@given(pinned_duels())
def test_shares_derived_from_the_logged_scores_are_the_served_ones(duel):
    current, explore, k, tau, seed, pinned = duel
    merged = interleave(current, explore, k, tau, np.random.default_rng(seed), pinned)
    credit, propensity = slot_shares(ranks(current), ranks(explore), merged.shown, merged.pinned, tau)
    np.testing.assert_array_equal(credit, merged.credit)
    np.testing.assert_array_equal(propensity, merged.propensity)


@given(duels())
def test_the_same_seed_gives_the_same_list(duel):
    current, explore, k, tau, seed = duel
    once, again = (interleave(current, explore, k, tau, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(once.shown, again.shown)


@given(duels(), st.data())
def test_swapping_the_rankers_flips_the_sign(duel, data):
    current, explore, k, tau, seed = duel
    merged = interleave(current, explore, k, tau, np.random.default_rng(seed))
    mirrored, _ = slot_shares(ranks(explore), ranks(current), merged.shown, merged.pinned, tau)
    clicked = data.draw(arrays(np.bool_, len(merged.shown)))
    assert outcome(mirrored, clicked) == pytest.approx(-outcome(merged.credit, clicked), abs=1e-5)


@given(duels(), st.data())
def test_identical_rankers_tie_exactly(duel, data):
    current, _, k, tau, seed = duel
    merged = interleave(current, current.copy(), k, tau, np.random.default_rng(seed))
    assert outcome(merged.credit, data.draw(arrays(np.bool_, len(merged.shown)))) == 0.0


def expectation(current, explore, k, tau, value, above=()):
    """E of Σ_slots value(slot, candidate) · (2q − 1), by walking every list that the mixture can draw."""
    if len(above) == min(k, len(current)):
        return 0.0
    total = 0.0
    for candidate in set(range(len(current))) - set(above):
        shown = np.array([*above, candidate], np.int32)
        credit, propensity = slot_shares(ranks(current), ranks(explore), shown, np.zeros(len(shown), bool), tau)
        here = value(len(above), candidate) * (2 * float(credit[-1]) - 1)
        total += float(propensity[-1]) * (here + expectation(current, explore, k, tau, value, (*above, candidate)))
    return total


SMALL = arrays(np.float32, st.integers(2, 4), elements=SCORE)


@given(
    SMALL.flatmap(lambda c: st.tuples(st.just(c), arrays(np.float32, len(c), elements=SCORE))), st.sampled_from([0.0, 1.0, 3.0])
)
def test_clicks_that_depend_on_rank_alone_favour_nobody(scores, tau):
    click_rate = (0.9, 0.4, 0.7, 0.1)
    assert expectation(*scores, 4, tau, lambda slot, _: click_rate[slot]) == pytest.approx(0, abs=1e-6)


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(1, 3))
def test_the_ranker_that_lifts_the_clicked_candidate_wins_in_expectation(order, place, by):
    """Pareto dominance: explore moves what readers want up, everything else keeps its order."""
    lifted = list(order)
    wanted = lifted.pop(place)
    lifted.insert(max(0, place - by), wanted)
    current, explore = (-np.argsort(ranking).astype(np.float32) for ranking in (order, lifted))
    value = expectation(current, explore, 4, 3.0, lambda _, candidate: float(candidate == wanted))
    assert value == pytest.approx(0, abs=1e-6) if place == 0 else value > 1e-4


@given(pinned_duels(), st.data())
def test_a_pin_leaves_the_others_to_an_ordinary_duel(duel, data):
    current, explore, k, tau, seed, pinned = duel
    merged = interleave(current, explore, k, tau, np.random.default_rng(seed), pinned)
    pool = np.setdiff1d(np.arange(len(current)), list(pinned.values()))
    among = np.searchsorted(pool, merged.shown[~merged.pinned]).astype(np.int32)
    alone, _ = slot_shares(ranks(current[pool]), ranks(explore[pool]), among, np.zeros(len(among), bool), tau)
    np.testing.assert_allclose(merged.credit[~merged.pinned], alone, atol=1e-6)


@given(duels(smallest=2))
def test_swapping_back_has_the_complementary_ratio(duel):
    current, explore, k, tau, seed = duel
    merged = interleave(current, explore, max(k, 2), tau, np.random.default_rng(seed))
    ranked = ranks(current), ranks(explore)
    pairs = np.array([(i, j) for i in range(len(merged.shown)) for j in range(i)])
    ratios = swap_ratios(*ranked, merged.shown, pairs, tau, merged.pinned)
    for (i, j), ratio in zip(pairs, ratios, strict=True):
        other = merged.shown.copy()
        other[[i, j]] = other[[j, i]]
        assert 0 <= ratio <= 1
        assert swap_ratios(*ranked, other, np.array([[i, j]]), tau)[0] == pytest.approx(1 - ratio, abs=1e-9)


@given(arrays(np.float32, st.integers(1, 30), elements=SCORE), st.integers(1, 30))
def test_ranked_alone_is_the_stable_order(scores, k):
    alone = ranked_alone(scores, k)
    np.testing.assert_array_equal(alone.shown, np.argsort(-scores, kind="stable")[:k])
    assert (alone.credit == 0.5).all()
    assert (alone.propensity == 1).all()


@given(arrays(np.float32, st.integers(1, 30), elements=SCORE))
def test_ranks_invert_the_stable_order(scores):
    np.testing.assert_array_equal(ranks(scores)[np.argsort(-scores, kind="stable")], np.arange(1, len(scores) + 1))
