import numpy as np
import pytest
from safetensors.numpy import save

from drn.checkpoint import digest, dump, load
from drn.errors import CorruptCheckpoint, SchemaMismatch

WEIGHTS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1.5], np.float32)}


def test_loading_gives_back_what_was_dumped_read_only():
    loaded = load(dump(WEIGHTS), {"a": (1,), "b": (2, 3)})
    assert digest(loaded) == digest(WEIGHTS)
    assert not loaded["a"].flags.writeable


def test_no_weights_at_all_are_a_checkpoint_too():
    assert load(dump({}), {}) == {}


def test_bytes_do_not_depend_on_the_order_of_names():
    assert dump(WEIGHTS) == dump(dict(sorted(WEIGHTS.items())))


def test_views_that_are_not_contiguous_keep_their_values():
    turned = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    np.testing.assert_array_equal(load(dump(turned))["w"], turned["w"])


@pytest.mark.parametrize("change", [{"a": np.array([1.25], np.float32)}, {"c": np.zeros(1, np.float32)}])
def test_the_digest_changes_with_values_and_names(change):
    assert digest(WEIGHTS) != digest(WEIGHTS | change)


def test_the_digest_changes_with_shapes():
    assert digest({"a": np.zeros((2, 3), np.float32)}) != digest({"a": np.zeros((3, 2), np.float32)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a checkpoint",
        dump(WEIGHTS)[:-1],
        save({"a": np.zeros(1, np.float64)}),
        save({"a": np.array([np.nan], np.float32)}),
        save({"a": np.array([np.inf], np.float32)}),
    ],
)
def test_damaged_bytes_are_refused(data):
    with pytest.raises(CorruptCheckpoint):
        load(data)


@pytest.mark.parametrize("shapes", [{"a": (1,)}, {"a": (2,), "b": (2, 3)}, {"a": (1,), "b": (2, 3), "c": (1,)}])
def test_weights_of_another_shape_are_refused_by_name(shapes):
    with pytest.raises(SchemaMismatch, match=r"tensor [abc] is"):
        load(dump(WEIGHTS), shapes)
