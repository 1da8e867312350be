import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from drn.checkpoint import digest, dump, load
from drn.errors import InvalidInput

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = st.dictionaries(
    st.text("abcdefgh.123", min_size=1, max_size=8),
    arrays(np.float32, array_shapes(max_dims=2, max_side=4), elements=FINITE),
    max_size=4,
)


@given(WEIGHTS)
def test_every_network_survives_the_journey_bit_by_bit(weights):
    loaded = load(dump(weights), {name: tensor.shape for name, tensor in weights.items()})
    assert loaded.keys() == weights.keys()
    assert all(loaded[name].tobytes() == tensor.tobytes() for name, tensor in weights.items())
    assert digest(loaded) == digest(weights)


def test_what_nobody_could_load_is_not_written() -> None:
    with pytest.raises(InvalidInput, match="tensor w holds"):
        dump({"w": np.array([1.0, np.nan], np.float32)})
