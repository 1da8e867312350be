import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drn.evaluation import auc, evaluate, mrr, ndcg, precision


@st.composite
def graded_lists(draw):
    """Scores without ties, and grades with at least one hit and one miss."""
    n = draw(st.integers(2, 20))
    grades = np.array(draw(st.permutations([0, 1, *draw(st.lists(st.integers(0, 4), min_size=n - 2, max_size=n - 2))])))
    return np.array(draw(st.permutations(range(n))), np.float32), grades


@given(graded_lists(), st.integers(1, 25))
def test_metrics_lie_between_0_and_1_and_the_ideal_ranking_reaches_1(one, k):
    scores, grades = one
    for metric in (auc, mrr, lambda s, g: ndcg(s, g, k), lambda s, g: precision(s, g, k)):
        assert 0 <= metric(scores, grades) <= 1
    ideal = grades.astype(np.float32)
    assert auc(ideal, grades) == mrr(ideal, grades) == 1
    assert ndcg(ideal, grades, k) == pytest.approx(1)


@given(graded_lists())
def test_only_the_order_of_scores_matters(one):
    scores, grades = one
    assert evaluate([(scores, grades)]) == evaluate([(np.exp(scores / 4) * 7, grades)])


@given(graded_lists())
def test_auc_counts_pairs_in_order(one):
    scores, grades = one
    above = scores[grades > 0][:, None] > scores[grades == 0][None, :]
    assert auc(scores, grades) == pytest.approx(above.mean())
    assert auc(-scores, grades) == pytest.approx(1 - auc(scores, grades))


@given(graded_lists(), st.integers(1, 25), st.data())
def test_lifting_a_better_article_over_its_neighbour_never_lowers_ndcg(one, k, data):
    scores, grades = one
    order = np.argsort(-scores)
    place = data.draw(st.integers(1, len(order) - 1))
    upper, lower = order[place - 1], order[place]
    swapped = scores.copy()
    swapped[[upper, lower]] = scores[[lower, upper]]
    better = ndcg(swapped, grades, k) - ndcg(scores, grades, k)
    assert better >= -1e-12 if grades[lower] >= grades[upper] else better <= 1e-12
