"""What the log keeps of an observation is all of it, and damage to it is found and said."""

from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from drn import packing
from drn.errors import CorruptCheckpoint, InvalidInput, SchemaMismatch
from drn.packing import HEAD, filled_slots, known, pack, profile, squeeze_column, stretch, unpack
from drn.types import Observation

# Around where a number takes another byte: by itself, as the greatest distance, and as the highest number of its column.
NUMBERS = st.sampled_from([0, 1, 2, 253, 254, 255, 256, 412, 65_533, 65_534, 65_535, 65_536, 2**31, 2**32 - 1])
COLUMNS = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=30), elements=NUMBERS | st.integers(0, 300))
PROFILES = arrays(np.uint16, (5, 40), elements=st.sampled_from([0, 0, 0, 1, 2, 300, 65_535]))


def observation(n: int, seed: int) -> Observation:
    """Numbers of any length."""
    rng = np.random.default_rng(seed)

    def of(kind: str, *shape: int) -> NDArray[Any]:
        bits = np.dtype(kind).itemsize * 8
        return (rng.integers(2**bits, size=shape, dtype=np.uint64) >> rng.integers(bits, size=shape, dtype=np.uint64)).astype(
            kind
        )

    return Observation(
        reader=rng.binomial(3, 0.1, (5, 40)).astype(np.uint16),
        reader_totals=of("u2", 5),
        context=of("u1", 4),
        content=of("u2", n, 24),
        counts=of("u4", n, 12),
        category_counts=of("u4", n, 2),
        seen=of("u2", n, 7),
        age=of("i4", n),
        embedding=rng.normal(size=(n, 16)).astype(np.float16),
        reader_embedding=rng.normal(size=16).astype(np.float16),
    )


def squeezed(columns: np.ndarray) -> np.ndarray:
    out = np.empty(HEAD * len(columns) + 4 * columns.size, np.uint8)
    at = 0
    for column in columns:
        at = squeeze_column(column, out, at)
    return out[:at]


@given(COLUMNS)
def test_columns_come_back_as_they_went(columns: np.ndarray) -> None:
    data = squeezed(columns)
    back = np.zeros_like(columns)
    assert stretch(data, 0, back) == len(data)
    np.testing.assert_array_equal(back, columns)


@given(COLUMNS)
def test_a_column_of_small_distances_takes_a_byte_a_number(columns: np.ndarray) -> None:
    small = columns % 255
    assert len(squeezed(small)) <= len(small) * HEAD + small.size


@given(PROFILES)
def test_a_readers_counts_come_back_as_they_went(counts: np.ndarray) -> None:
    filled = np.empty((2, counts.size), np.uint32)
    found = filled_slots(counts, filled)
    assert found == np.count_nonzero(counts)
    np.testing.assert_array_equal(profile(filled[:, :found], 40), counts)


@given(st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_an_observation_comes_back_as_it_went(n: int, seed: int) -> None:
    one = observation(n, seed)
    back = unpack(pack(one))
    for field in fields(Observation):
        expected, found = getattr(one, field.name), getattr(back, field.name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    one = observation(5, 0)
    for changes in ({"age": one.age[:4]}, {"seen": one.seen[:, :6]}, {"counts": one.counts[:4]}, {"content": one.content[:4]}):
        with pytest.raises(InvalidInput, match="do not fit"):
            pack(replace(one, **changes))


def test_what_could_not_be_read_again_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = observation(50, 0)
    monkeypatch.setattr(packing, "MOST", 50 * known(24))
    assert len(unpack(pack(one)).age) == 50
    monkeypatch.setattr(packing, "MOST", 50 * known(24) - 1)
    with pytest.raises(InvalidInput, match="50 candidates are too many"):
        pack(one)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
def test_damage_is_found_or_does_no_harm(seed: int, place: float, flipped: int, cut: bool) -> None:
    packed = bytearray(pack(observation(5, seed % 8)))
    at = int(place * len(packed))
    packed[at] ^= flipped
    with suppress(CorruptCheckpoint, SchemaMismatch):
        unpack(bytes(packed[:at] if cut else packed))
