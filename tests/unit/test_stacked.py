from dataclasses import replace

import numpy as np

from drn.config import Config
from drn.network import collate
from drn.stacked import Stacked, spans, starts
from drn.transitions import Experience, inputs_among, pair_weights, preference_pairs, trained_on
from drn.types import Inputs

CONFIG = Config()


def listed(shown: list[int], clicked: list[bool], seed: int) -> Experience:
    rng, k = np.random.default_rng(seed), len(shown)
    inputs = Inputs(rng.random(3, np.float32), rng.integers(0, 9, (5, 2)).astype(np.uint16), rng.random((5, 4), np.float32))
    off, click = np.zeros(k, np.bool_), np.array(clicked)
    scores = rng.random((2, 5), np.float32)
    return Experience(inputs, 0.0, np.array(shown), click, ~off, off, click.astype(np.float32), scores[0], scores[1])


LISTS = [listed([3, 1, 0], [False, True, False], 0), listed([4], [False], 1), listed([2, 0], [True, False], 2)]


def test_runs_by_hand():
    first = starts([3, 1, 2])
    assert first.tolist() == [0, 3, 4, 6]
    places, owner = spans(first, np.array([2, 0, 2]))
    assert places.tolist() == [4, 5, 0, 1, 2, 4, 5]
    assert owner.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_a_batch_is_what_its_lists_collate_to():
    order = np.array([2, 0, 1, 2])
    batch, slots = Stacked.of(LISTS, CONFIG).batch(order)
    plain = collate([inputs_among(LISTS[i], trained_on(LISTS[i], CONFIG)[0], CONFIG) for i in order])
    for name in ("reader", "content", "dense", "owner", "share"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(plain, name))
    assert slots.tolist() == [*range(10, 15), *range(10), *range(10, 15)]


def test_nothing_is_learned_of_what_was_not_shown():
    stacked = Stacked.of(LISTS, CONFIG)
    assert stacked.first.tolist() == [0, 5, 10, 15]
    assert np.flatnonzero(stacked.examined).tolist() == [0, 1, 2, 5, 10, 11]
    assert np.flatnonzero(stacked.reward).tolist() == [1, 10]
    alone = Stacked.of(LISTS, replace(CONFIG, list_pooling="none"))
    assert alone.first.tolist() == [0, 3, 4, 6]
    assert alone.examined.all()


def test_preferences_are_those_of_the_lists_as_slots_of_the_batch():
    pairs, weight = Stacked.of(LISTS, CONFIG).preferences(np.array([2, 1, 0]))
    assert pairs.tolist() == [[0, 1], [11, 10], [11, 12]]
    expected = [pair_weights(one, preference_pairs(one), CONFIG) for one in (LISTS[2], LISTS[0])]
    np.testing.assert_array_equal(weight, np.concatenate(expected))


def test_lists_without_a_preference_have_none():
    silent = replace(LISTS[0], clicked=np.zeros(3, np.bool_))
    pairs, weight = Stacked.of([silent], CONFIG).preferences(np.array([0, 0]))
    assert pairs.shape == (0, 2)
    assert len(weight) == 0
