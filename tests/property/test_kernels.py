"""The compiled loops against the plainest numpy that says the same."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from drn import feature_rows, folding, ids, interleaving, kernels, observation_rows, readers, scoring
from drn.feature_rows import moments, places, standardise, z_scores
from drn.kernels import sorted_keys
from drn.observation_rows import counts_of, likeness, mean_of_halves, products

# Few different values, so that many are equal.
FEATURES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.sampled_from([-0.0, 0.0, 1.0, -1.0, 1e-30, -2.5, 3.75, 1000.0]) | st.floats(-100, 100, width=32),
)


@given(FEATURES)
def test_places_count_smaller_values(features: np.ndarray) -> None:
    found = np.empty_like(features)
    places(sorted_keys(features), found)
    smaller = (features[:, None, :] < features[:, :, None]).mean(axis=2)
    np.testing.assert_allclose(found, 2 * smaller - 1, atol=1e-6)


@given(FEATURES)
def test_keys_sort_as_the_stable_order(features: np.ndarray) -> None:
    order = sorted_keys(features) & np.uint64(2**32 - 1)
    np.testing.assert_array_equal(order, np.argsort(features, axis=1, kind="stable"))


@given(FEATURES)
def test_z_scores_are_standard_deviations_from_the_mean(features: np.ndarray) -> None:
    found = np.empty_like(features)
    mean, scale = np.empty(len(features)), np.empty(len(features))
    moments(features, mean, scale)
    z_scores(features, mean, scale, found)
    exact = features.astype(np.float64)
    spread = exact.std(axis=1, keepdims=True)
    expected = np.where(spread > 1e-4, (exact - exact.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-4), 0)
    np.testing.assert_allclose(found, np.clip(expected, -5, 5), atol=1e-6)


@given(FEATURES)
def test_standardised_features_are_centred_and_scaled(features: np.ndarray) -> None:
    centre, spread = (np.linspace(low, high, len(features), dtype=np.float32) for low, high in ((-2, 2), (0.5, 2)))
    found = np.empty_like(features)
    standardise(features, centre, spread, found)
    np.testing.assert_allclose(found, (features - centre[:, None]) / spread[:, None], rtol=1e-6)


@given(st.lists(st.integers(0, 65_535).filter(lambda bits: bits & 0x7C00 != 0x7C00), min_size=1, max_size=40))
def test_halves_are_widened_exactly(bits: list[int]) -> None:
    """Every finite number of 16 bits, the smallest among them."""
    halves = np.array(bits, np.uint16)
    mean = np.empty(len(bits), np.float32)
    mean_of_halves(halves[None], np.zeros(1, np.int32), mean)
    np.testing.assert_array_equal(mean, halves.view(np.float16).astype(np.float32))


@given(
    halves=st.lists(st.lists(st.floats(-2, 2, width=16), min_size=3, max_size=3), min_size=1, max_size=20),
    weights=st.lists(st.floats(-2, 2, width=16), min_size=3, max_size=3),
)
def test_products_of_halves(halves: list[list[float]], weights: list[float]) -> None:
    out = np.zeros(len(halves), np.float32)
    assert products(np.array(halves, np.float16).view(np.uint16), np.array(weights, np.float32), out) == any(weights)
    np.testing.assert_allclose(out, np.array(halves) @ np.array(weights), atol=1e-5)


@given(
    articles=st.lists(st.sets(st.sampled_from([1, 2, 3, 64, 65_535]), max_size=4), min_size=1, max_size=12),
    clicks=st.lists(st.integers(0, 11), max_size=8),
)
def test_likeness_is_the_cosine_of_sets(articles: list[set[int]], clicks: list[int]) -> None:
    stems = np.array([[*words, 0, 0, 0, 0][:4] for words in articles], np.uint16)
    rows, clicked = np.arange(len(articles), dtype=np.int32), np.array([click % len(articles) for click in clicks], np.int32)
    found = np.full((len(articles), 2), 9, np.uint16)
    likeness(stems, rows, clicked, 0, 1, found)
    for words, (last, best) in zip(articles, found.tolist(), strict=True):
        alike = [
            int(1_000 * len(words & articles[row]) / np.sqrt(max(len(words) * len(articles[row]), 1))) for row in clicked.tolist()
        ]
        assert (last, best) == (alike[-1], max(alike)) if alike else (last, best) == (0, 0)


@given(
    known=st.sets(st.integers(0, 2**31 - 1) | st.integers(0, 40), max_size=60),
    rows=st.lists(st.integers(-1, 40) | st.integers(0, 2**31 - 1), max_size=60),
)
def test_counts_are_those_of_a_dictionary(known: set[int], rows: list[int]) -> None:
    """Rows may repeat, and −1 is never known."""
    counts = {row: 1 + place for place, row in enumerate(sorted(known))}
    found = np.full((len(rows), 2), 9, np.uint16)
    counts_of(np.array(sorted(known), np.int32), np.array([*counts.values()], np.uint16), np.array(rows, np.int32), 1, found)
    assert found[:, 1].tolist() == [counts.get(row, 0) for row in rows]
    assert (found[:, 0] == 9).all()


@pytest.mark.parametrize("module", [feature_rows, folding, ids, interleaving, kernels, observation_rows, readers, scoring])
def test_a_kernel_calls_none_of_another_module(module: ModuleType) -> None:
    """Its machine code is kept until its own file changes, with that of whatever it calls inside."""
    compiled = [each.py_func for each in vars(module).values() if hasattr(each, "py_func")]
    for formula in compiled:
        called = {name: formula.__globals__.get(name) for name in formula.__code__.co_names}
        strangers = [name for name, each in called.items() if getattr(each, "py_func", formula).__module__ != formula.__module__]
        assert not strangers, f"{formula.__name__} calls {strangers}"
