"""Digests are written into version lines and must mean the same for ever."""

import numpy as np

from drn.checkpoint import digest, load

WEIGHTS = {"advantage.bias": np.array([0.5, -1.25], np.float32), "advantage.out.weight": np.array([[2.0], [3.0]], np.float32)}


def test_the_digest_of_known_weights():
    assert digest(WEIGHTS) == "6b3e6bcc51d232aba5946c1b35ac72c29e0144abf9b4ac943db37ae099208a18"


def test_bytes_written_by_the_first_release_still_load():
    header = (
        b'{"advantage.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"advantage.out.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}'
    )
    data = len(header).to_bytes(8, "little") + header + np.array([0.5, -1.25, 2.0, 3.0], "<f4").tobytes()
    assert digest(load(data)) == digest(WEIGHTS)
