import math

import numpy as np
import pytest

from drn.errors import InvalidInput
from drn.evaluation import auc, evaluate, intra_list_similarity, mrr, ndcg, precision


def test_undefined_metrics_are_nan():
    scores, none, all_hit = np.array([1.0, 2.0]), np.array([0, 0]), np.array([1, 1])
    assert math.isnan(auc(scores, none))
    assert math.isnan(auc(scores, all_hit))
    assert math.isnan(mrr(scores, none))
    assert math.isnan(ndcg(scores, none, 5))
    assert math.isnan(precision(np.zeros(0), np.zeros(0), 5))


def test_lists_without_a_hit_or_a_miss_are_left_out():
    scores = np.array([2.0, 1.0])
    quality = evaluate([(scores, np.array([1, 0])), (scores, np.array([1, 1])), (scores, np.array([0, 0]))])
    assert (quality.auc, quality.mrr, quality.ndcg5, quality.ndcg10, quality.lists) == (1, 1, 1, 1, 1)


def test_no_list_at_all_has_no_quality():
    quality = evaluate([])
    assert quality.lists == 0
    assert math.isnan(quality.auc)


def test_clicks_may_be_booleans():
    assert auc(np.array([1.0, 2.0]), np.array([False, True])) == 1


def test_similarity_is_the_mean_cosine_of_pairs():
    assert intra_list_similarity(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])) == pytest.approx(1 / 3)
    assert intra_list_similarity(np.array([[1.0, 0.0], [0.0, 0.0]])) == 0
    assert math.isnan(intra_list_similarity(np.array([[1.0, 0.0]])))


def test_one_grade_per_score():
    with pytest.raises(InvalidInput):
        auc(np.array([1.0, 2.0]), np.array([1]))
