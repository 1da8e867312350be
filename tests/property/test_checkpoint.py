import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from drn.checkpoint import digest, dump, load

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
