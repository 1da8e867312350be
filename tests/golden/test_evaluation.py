"""Metrics against hand arithmetic, and against the definition that the published tables were made with."""

import numpy as np
import pytest

from drn.evaluation import auc, evaluate, mrr, ndcg, precision

SCORES = np.array([0.1, 0.9, 0.5, 0.5, 0.3], np.float32)
GRADES = np.array([1, 0, 0, 1, 0])  # ranked: 0 0 1 0 1


def test_a_list_worked_out_by_hand():
    assert auc(SCORES, GRADES) == pytest.approx(1 / 6)  # 1 of 6 (hit, miss) pairs is in order
    assert mrr(SCORES, GRADES) == pytest.approx(1 / 3)
    assert ndcg(SCORES, GRADES, 5) == pytest.approx((1 / 2 + 1 / np.log2(6)) / (1 + 1 / np.log2(3)))
    assert ndcg(SCORES, GRADES, 3) == pytest.approx((1 / 2) / (1 + 1 / np.log2(3)))
    assert precision(SCORES, GRADES, 5) == pytest.approx(2 / 5)
    assert precision(SCORES, GRADES, 2) == 0


def test_graded_gain_is_two_to_the_grade_minus_one():
    graded = ndcg(np.array([3.0, 2.0, 1.0]), np.array([1, 0, 2]), 10)
    assert graded == pytest.approx((1 + 3 / 2) / (3 + 1 / np.log2(3)))


def as_published(score, label):
    """One list of the EB-NeRD peer table, by the formulas that made it."""
    positives, n = int(label.sum()), len(label)
    order = np.argsort(-score, kind="stable")
    rank = np.empty(n)
    rank[order] = np.arange(1, n + 1)
    area = 1 - (rank[label > 0].sum() - positives * (positives + 1) / 2) / (positives * (n - positives))
    gain, discount = label[order], 1 / np.log2(np.arange(2, n + 2))
    at = [(gain[:k] * discount[:k]).sum() / discount[: min(positives, k)].sum() for k in (5, 10)]
    return area, 1 / (np.argmax(gain > 0) + 1), *at


def test_means_equal_the_definition_behind_the_published_rows():
    rng = np.random.default_rng(3)
    lists = []
    for _ in range(200):
        n = int(rng.integers(1, 30))
        lists.append((rng.integers(0, 6, n).astype(np.float32), (rng.random(n) < 0.2).astype(np.int8)))
    usable = [(scores, label) for scores, label in lists if 0 < label.sum() < len(label)]
    quality = evaluate(lists)
    assert quality.lists == len(usable) < len(lists)
    expected = np.mean([as_published(*one) for one in usable], axis=0)
    assert (quality.auc, quality.mrr, quality.ndcg5, quality.ndcg10) == pytest.approx(tuple(expected), rel=1e-12)
