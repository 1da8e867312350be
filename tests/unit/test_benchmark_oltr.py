"""The published learners and readers of the learning-to-rank benchmark, on hand-made lists and tiny synthetic queries."""

from itertools import permutations
from math import exp, log2

import numpy as np
import pytest

from benchmarks.learning.oltr.letor import DataError, Fold, Query
from benchmarks.learning.oltr.product import Product
from benchmarks.learning.oltr.readers import NAMES, Reader, examined
from benchmarks.learning.oltr.references import (
    DuelingBandit,
    Network,
    PairwiseGradient,
    pair_shares,
    swap_ratios,
)
from benchmarks.learning.oltr.simulation import Judge, marks, run
from drn.config import Config
from drn.evaluation import ndcg

FEATURES = 5


def queries(count, seed):
    """Documents whose grade follows their first feature."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        features = rng.random((12, FEATURES)).astype(np.float32)
        made.append(Query(features, np.digitize(features[:, 0], [0.6, 0.85]).astype(np.int32)))
    return tuple(made)


@pytest.fixture(scope="module")
def fold():
    return Fold(1, queries(60, 1), queries(30, 2))


def test_a_perfect_reader_clicks_by_grade_and_never_stops():
    clicks = Reader.named("perfect", 2).clicks(np.array([2, 0, 2, 0] * 10), np.random.default_rng(0))
    assert clicks.tolist() == [True, False, True, False] * 10


def test_a_reader_stops_only_after_a_click():
    reader = Reader("sure", np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert reader.clicks(np.array([0, 0, 1, 1]), np.random.default_rng(0)).tolist() == [False, False, True, False]


@pytest.mark.parametrize(("name", "highest", "first"), [("navigational", 2, 0.5), ("informational", 4, 0.6), ("perfect", 1, 1.0)])
def test_first_slots_are_clicked_as_published(name, highest, first):
    reader, rng = Reader.named(name, highest), np.random.default_rng(0)
    rate = np.mean([reader.clicks(np.array([1, 0]), rng)[0] for _ in range(4_000)])
    assert rate == pytest.approx(first, abs=0.025)


def test_after_a_click_reading_goes_on_as_often_as_published():
    """P(click on the second | click on the first) = P(click)·(1 − P(stop)) for two documents of grade 2."""
    reader, rng = Reader.named("informational", 2), np.random.default_rng(0)
    both = np.array([reader.clicks(np.array([2, 2]), rng) for _ in range(6_000)])
    assert both[both[:, 0], 1].mean() == pytest.approx(0.9 * 0.5, abs=0.02)


def test_three_grades_above_zero_use_the_model_for_five_grades():
    assert len(Reader.named("perfect", 3).click) == 5
    with pytest.raises(DataError, match="grades up to 7"):
        Reader.named("perfect", 7)


@pytest.mark.parametrize(("clicked", "looked"), [([0, 1, 0, 0], [1, 1, 1, 0]), ([0, 0, 0, 1], [1, 1, 1, 1]), ([0] * 4, [0] * 4)])
def test_examined_is_up_to_one_below_the_last_click(clicked, looked):
    assert examined(np.array(clicked, bool)).tolist() == [bool(one) for one in looked]


def plackett_luce(scores, order):
    probability, left = 1.0, list(range(len(scores)))
    for document in order:
        probability *= exp(scores[document]) / sum(exp(scores[other]) for other in left)
        left.remove(document)
    return probability


def test_swap_ratios_are_those_of_the_whole_lists():
    scores = np.array([0.3, -1.2, 2.0, 0.7, -0.1])
    for shown in list(permutations(range(5), 4))[::7]:
        pairs = np.array([(i, j) for i in range(4) for j in range(4) if i != j])
        expected = []
        for i, j in pairs:
            other = list(shown)
            other[i], other[j] = other[j], other[i]
            swapped = plackett_luce(scores, other)
            expected.append(swapped / (swapped + plackett_luce(scores, shown)))
        np.testing.assert_allclose(swap_ratios(scores, np.array(shown), pairs), expected, rtol=1e-9)


def test_the_share_of_a_pair_by_hand():
    """Two documents with scores 0 and ln 3, shown in that order: ρ = (3/4) / (1/4 + 3/4), σ(Δ)·σ(−Δ) = 1/4 · 3/4."""
    share = pair_shares(np.array([0.0, np.log(3)]), np.array([0, 1]), np.array([[0, 1]]))
    np.testing.assert_allclose(share, [0.75 * 3 / 16, -0.75 * 3 / 16])


@pytest.mark.parametrize("hidden", [0, 7])
def test_the_slope_of_a_network_is_that_of_its_scores(hidden):
    rng = np.random.default_rng(0)
    network = Network(FEATURES, hidden)
    theta, features, share = rng.standard_normal(network.size), rng.random((4, FEATURES)), rng.standard_normal(4)
    steps = 1e-6 * np.eye(network.size)
    numeric = [share @ (network.scores(theta + step, features) - network.scores(theta - step, features)) / 2e-6 for step in steps]
    np.testing.assert_allclose(network.slope(theta, features, share), numeric, atol=1e-7)


def test_plackett_luce_lists_are_drawn_by_score():
    learner = PairwiseGradient(Network(1, 0), np.random.default_rng(0))
    learner.theta = np.array([np.log(3)])
    query = Query(np.array([[0.0], [1.0]], np.float32), np.array([0, 1], np.int32))
    assert np.mean([learner.rank(query)[0] == 1 for _ in range(4_000)]) == pytest.approx(0.75, abs=0.02)


def test_a_pairwise_step_by_hand():
    """Equal scores: ρ = ½ and σ(Δ)·σ(−Δ) = ¼, so θ moves by η·⅛ of the features' difference."""
    learner = PairwiseGradient(Network(2, 0), np.random.default_rng(0), eta=0.1)
    query = Query(np.eye(2, dtype=np.float32), np.array([0, 1], np.int32))
    shown = learner.rank(query)
    learner.learn(np.array([True, False]))
    expected = 0.1 / 8 * (query.features[shown[0]] - query.features[shown[1]])
    np.testing.assert_allclose(learner.theta, expected)


def test_a_list_without_a_preference_teaches_the_pairwise_learner_nothing(fold):
    learner = PairwiseGradient(Network(FEATURES, 3), np.random.default_rng(0))
    before = learner.theta
    for clicked in (np.zeros(10, bool), np.ones(10, bool)):
        learner.rank(fold.train[0])
        learner.learn(clicked)
    assert learner.theta is before


def test_a_dueling_bandit_moves_eta_towards_a_winner_and_stays_otherwise(fold):
    learner = DuelingBandit(Network(FEATURES, 3), np.random.default_rng(0), eta=0.01)
    moved = set()
    for query in fold.train:
        before = learner.theta
        shown = learner.rank(query)
        learner.learn(query.grades[shown] > 0)
        moved.add(round(float(np.linalg.norm(learner.theta - before)), 9))
    assert moved == {0.0, 0.01}


def test_the_judge_agrees_with_the_products_own_measure(fold):
    learner = PairwiseGradient(Network(FEATURES, 4), np.random.default_rng(3))
    barren = Query(np.zeros((3, FEATURES), np.float32), np.zeros(3, np.int32))
    expected = np.mean([ndcg(learner.scores(one.features), one.grades, 10) for one in fold.held_out])
    assert Judge((barren, *fold.held_out)).quality(learner) == pytest.approx(expected, rel=1e-12)


def test_equal_scores_rank_by_index():
    query = Query(np.zeros((3, FEATURES), np.float32), np.array([0, 0, 1], np.int32))
    assert Judge([query]).quality(PairwiseGradient(Network(FEATURES, 0), np.random.default_rng(0))) == pytest.approx(1 / log2(4))


def test_nothing_can_be_measured_without_a_relevant_document():
    with pytest.raises(DataError, match="nothing can be measured"):
        Judge([Query(np.zeros((3, FEATURES), np.float32), np.zeros(3, np.int32))])


def learners(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "pdgd": PairwiseGradient(Network(FEATURES, 0), rng),
        "drn": Product(FEATURES, Config(root_seed=seed, duel_window=40), rng, every=8),
    }


@pytest.mark.parametrize("name", ["pdgd", "drn"])
@pytest.mark.parametrize("reader", NAMES)
def test_learning_raises_held_out_quality(fold, name, reader):
    curve = run(learners()[name], fold, Reader.named(reader, 2), 400, np.random.default_rng(0))
    assert curve.quality[-1] > 0.85


def test_equal_chance_gives_equal_curves(fold):
    first, second = (
        run(learners()["drn"], fold, Reader.named("informational", 2), 100, np.random.default_rng(0)) for _ in range(2)
    )
    assert first == second


def test_the_product_updates_every_so_many_impressions(fold):
    learner = learners()["drn"]
    reader, rng = Reader.named("perfect", 2), np.random.default_rng(0)
    start = learner.model
    for query in fold.train[:7]:
        learner.learn(reader.clicks(query.grades[learner.rank(query)], rng))
    assert learner.model is start
    learner.learn(reader.clicks(fold.train[7].grades[learner.rank(fold.train[7])], rng))
    assert learner.model is not start
    assert learner.duel.impressions == 8


def test_a_curve_goes_from_the_start_to_the_end():
    assert marks(10_000)[:2] == [0, 500]
    assert marks(10_000)[-1] == 10_000
    assert marks(3) == [0, 1, 2, 3]
