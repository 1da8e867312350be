"""The compiled loops against the plainest numpy that says the same."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from drn.kernels import shares_below, sorted_keys, standardise, z_scores

# Few different values, so that many are equal.
FEATURES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.sampled_from([-0.0, 0.0, 1.0, -1.0, 1e-30, -2.5, 3.75, 1000.0]) | st.floats(-100, 100, width=32),
)


@given(FEATURES)
def test_shares_below_count_smaller_values(features: np.ndarray) -> None:
    found = np.empty_like(features)
    shares_below(features, found)
    smaller = (features[:, None, :] < features[:, :, None]).mean(axis=2)
    np.testing.assert_allclose(found, 2 * smaller - 1, atol=1e-6)


@given(FEATURES)
def test_keys_sort_as_the_stable_order(features: np.ndarray) -> None:
    order = sorted_keys(features) & np.uint64(2**32 - 1)
    np.testing.assert_array_equal(order, np.argsort(features, axis=1, kind="stable"))


@given(FEATURES)
def test_z_scores_are_standard_deviations_from_the_mean(features: np.ndarray) -> None:
    found = np.empty_like(features)
    z_scores(features, found)
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
