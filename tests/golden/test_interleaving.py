"""Interleaving against exact enumeration of every list, and against numbers worked out by hand."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from drn.interleaving import interleave, outcome, ranks, slot_shares, swap_ratios

TAU = 3


def rank_of(ranking: list[int]) -> dict[int, int]:
    return {candidate: place for place, candidate in enumerate(ranking, start=1)}


def draw(rank: dict[int, int], candidate: int, above: tuple[int, ...], tau: int) -> Fraction:
    """P(candidate in the next slot) under one ranker, in exact fractions."""
    return Fraction(1, rank[candidate] ** tau) / sum(Fraction(1, r**tau) for c, r in rank.items() if c not in above)


def every_list(
    current: list[int], explore: list[int], k: int, tau: int = TAU
) -> Iterator[tuple[tuple[int, ...], Fraction, list[Fraction]]]:
    """All lists of k candidates with their probability and the credit of their slots."""
    c, e = rank_of(current), rank_of(explore)
    for shown in permutations(sorted(c), k):
        probability, credit = Fraction(1), []
        for slot, candidate in enumerate(shown):
            p_c, p_e = draw(c, candidate, shown[:slot], tau), draw(e, candidate, shown[:slot], tau)
            probability *= (p_c + p_e) / 2
            credit.append(p_e / (p_c + p_e))
        yield shown, probability, credit


def scores_of(ranking: list[int]) -> np.ndarray:
    """Scores of candidates 0, 1, … that put the 1-based candidates of `ranking` in its order."""
    scores = np.empty(len(ranking), np.float32)
    scores[np.array(ranking) - 1] = -np.arange(len(ranking))
    return scores


def expected_outcome(current: list[int], explore: list[int], clicked: int) -> tuple[float, float]:
    """E of the outcome over all lists: in fractions, and with the product's credit on the same lists."""
    ranked = ranks(scores_of(current)), ranks(scores_of(explore))
    unpinned = np.zeros(len(current), bool)
    by_hand, by_product = 0.0, 0.0
    for shown, probability, credit in every_list(current, explore, len(current)):
        indices = np.array(shown, np.int32) - 1
        by_hand += float(probability * (2 * credit[shown.index(clicked)] - 1))
        shares, _ = slot_shares(*ranked, indices, unpinned, TAU)
        by_product += float(probability) * outcome(shares, indices == clicked - 1)
    return by_hand, by_product


@pytest.mark.parametrize(
    ("current", "explore", "clicked", "expected"),
    [([1, 2, 3], [2, 3, 1], 3, 0.189709), ([1, 2, 3, 4], [2, 1, 3, 4], 1, -0.454246)],
)
def test_expected_outcome_is_the_one_worked_out_by_hand(current, explore, clicked, expected):
    by_hand, by_product = expected_outcome(current, explore, clicked)
    assert by_hand == pytest.approx(expected, abs=5e-7)
    assert by_product == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("tau", [0, 1, 3])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_credit_and_propensity_equal_exact_fractions(k, tau):
    current, explore = [2, 1, 4, 3], [4, 3, 2, 1]
    ranked = ranks(scores_of(current)), ranks(scores_of(explore))
    total = 0.0
    for shown, probability, credit in every_list(current, explore, k, tau):
        shares, propensity = slot_shares(*ranked, np.array(shown, np.int32) - 1, np.zeros(k, bool), tau)
        np.testing.assert_allclose(shares, np.array(credit, float), rtol=1e-6)
        assert propensity.astype(float).prod() == pytest.approx(float(probability), rel=1e-6)
        total += propensity.astype(float).prod()
    assert total == pytest.approx(1)


def test_swap_ratios_equal_exact_fractions():
    current, explore = [1, 2, 3, 4, 5], [5, 1, 4, 2, 3]
    ranked = ranks(scores_of(current)), ranks(scores_of(explore))
    probability = {shown: p for shown, p, _ in every_list(current, explore, 4)}
    pairs = np.array([(i, j) for i in range(4) for j in range(4) if i != j])
    for shown, p in probability.items():
        expected = []
        for i, j in pairs:
            other = list(shown)
            other[i], other[j] = other[j], other[i]
            expected.append(float(probability[tuple(other)] / (p + probability[tuple(other)])))
        ratios = swap_ratios(*ranked, np.array(shown, np.int32) - 1, pairs, TAU)
        np.testing.assert_allclose(ratios, expected, rtol=1e-9)


# Upper 0.1 % points of χ² with 23 and 59 degrees of freedom. The seeds are fixed, so the test never flickers.
@pytest.mark.parametrize(("n", "k", "limit"), [(4, 4, 49.728), (5, 3, 98.324)])
def test_lists_are_drawn_with_their_exact_probability(n, k, limit):
    current, explore = list(range(1, n + 1)), [3, 1, *range(n, 3, -1), 2]
    scores, rng, draws = (scores_of(current), scores_of(explore)), np.random.default_rng(20180423), 20_000
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(draws):
        shown = tuple((interleave(*scores, k, 1.0, rng).shown + 1).tolist())
        seen[shown] = seen.get(shown, 0) + 1
    expected = {shown: float(p) * draws for shown, p, _ in every_list(current, explore, k, tau=1)}
    assert set(seen) <= set(expected)
    assert sum((seen.get(shown, 0) - e) ** 2 / e for shown, e in expected.items()) < limit
