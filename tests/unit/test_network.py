import numpy as np
import pytest
import torch

from drn.config import Config
from drn.errors import InvalidInput
from drn.model import InputShape, initial_weights
from drn.network import ACTIVATIONS, collate, forward, q_values, to_tensors, to_weights
from drn.types import Floats, Inputs, Weights

CONFIG = Config(advantage_layers=(5, 3), value_layers=(4,))
SHAPE = InputShape(reader=3, content=6, dense=2)


def request(n: int, shape: InputShape = SHAPE, columns: int = 4, seed: int = 1) -> Inputs:
    rng = np.random.default_rng(seed)
    return Inputs(
        rng.standard_normal(shape.reader).astype(np.float32),
        rng.integers(0, shape.content + 1, (n, columns)).astype(np.uint16),
        rng.standard_normal((n, shape.dense)).astype(np.float32),
    )


def by_hand(w: Weights, inputs: Inputs) -> Floats:
    """The network of CONFIG written out with relu and one-hot content."""
    one_hot = np.zeros((len(inputs.dense), SHAPE.content + 1), np.float32)
    for row, slots in zip(one_hot, inputs.content, strict=True):
        np.add.at(row, slots, 1)
    first = inputs.reader @ w["advantage.reader"] + one_hot[:, :-1] @ w["advantage.content"] + inputs.dense @ w["advantage.dense"]
    first = np.maximum(first + w["advantage.bias"], 0)
    of_list = first.mean(axis=0) @ w["advantage.list"]
    hidden = np.maximum(first @ w["advantage.1.weight"] + w["advantage.1.bias"] + of_list, 0)
    value = np.maximum(inputs.reader @ w["value.reader"] + w["value.bias"], 0) @ w["value.out.weight"] + w["value.out.bias"]
    return np.asarray(hidden @ w["advantage.out.weight"] + w["advantage.out.bias"] + value)


def test_requests_of_different_lengths_are_scored_as_each_alone():
    rng = np.random.default_rng(0)
    weights = {**initial_weights(SHAPE, CONFIG, rng), "advantage.list": rng.standard_normal((5, 3)).astype(np.float32)}
    requests = [request(3, seed=1), request(1, seed=2), request(7, seed=3)]
    q = q_values(to_tensors(weights), collate(requests), "relu").numpy()
    np.testing.assert_allclose(q, np.concatenate([by_hand(weights, one) for one in requests]), atol=1e-5)


def test_dense_inputs_alone_make_a_network_without_a_value_tower():
    shape = InputShape(0, 0, 2)
    params = to_tensors(initial_weights(shape, CONFIG, np.random.default_rng(0)))
    names = ("dense", "bias", "list", "1.weight", "1.bias", "out.weight", "out.bias")
    assert set(params) == {f"advantage.{name}" for name in names}
    value, advantage = forward(params, collate([request(3, shape, 0), request(2, shape, 0)]), "sigmoid")
    assert value.tolist() == [0.0, 0.0]
    assert advantage.shape == (5,)
    torch.testing.assert_close(advantage[3:], advantage[:2])  # the second request's candidates are the first two of the first


def test_hardswish_by_hand():
    """x·min(max(x + 3, 0), 6) / 6 of −4, −1.5, 0, 1.5 and 4; f(x) − f(−x) is x, which the start relies on."""
    x = torch.tensor([-4.0, -1.5, 0.0, 1.5, 4.0])
    squash = ACTIVATIONS["hardswish"]
    assert squash(x).tolist() == [0.0, -0.375, 0.0, 1.125, 4.0]
    torch.testing.assert_close(squash(x) - squash(-x), x)


def test_the_same_candidate_is_worth_something_else_in_another_list():
    rng = np.random.default_rng(0)
    params = to_tensors({**initial_weights(SHAPE, CONFIG, rng), "advantage.list": np.ones((5, 3), np.float32)})
    long = request(6)
    short = Inputs(long.reader, long.content[:3], long.dense[:3])
    assert not torch.allclose(q_values(params, collate([long]), "relu")[:3], q_values(params, collate([short]), "relu"))


def test_a_candidate_stands_for_others_by_its_share():
    """A list of six, the last four of them alike, is as good as a list of three whose last counts four times."""
    rng = np.random.default_rng(0)
    params = to_tensors({**initial_weights(SHAPE, CONFIG, rng), "advantage.list": np.ones((5, 3), np.float32)})
    short = request(3)
    alike = np.array([0, 1, 2, 2, 2, 2])
    long = Inputs(short.reader, short.content[alike], short.dense[alike])
    shares = np.array([1, 1, 4], np.float32) / 6
    found = q_values(params, collate([short], [shares]), "hardswish")
    torch.testing.assert_close(found, q_values(params, collate([long]), "hardswish")[:3])


def test_empty_columns_add_nothing():
    weights = initial_weights(SHAPE, CONFIG, np.random.default_rng(0))
    full = request(2)
    wider = Inputs(full.reader, np.hstack([full.content, np.full((2, 3), SHAPE.content, np.uint16)]), full.dense)
    params = to_tensors(weights)
    torch.testing.assert_close(q_values(params, collate([full]), "relu"), q_values(params, collate([wider]), "relu"))


def test_training_does_not_write_into_the_weights_it_came_from():
    weights = initial_weights(SHAPE, CONFIG, np.random.default_rng(0))
    params = to_tensors(weights)
    params["advantage.bias"].add_(1)
    assert not weights["advantage.bias"].any()
    kept = to_weights(params)
    params["advantage.bias"].add_(1)
    assert (kept["advantage.bias"] == 1).all()
    assert not kept["advantage.bias"].flags.writeable


def test_a_batch_must_be_of_one_kind():
    with pytest.raises(InvalidInput, match="at least one"):
        collate([])
    with pytest.raises(InvalidInput, match="different columns"):
        collate([request(2, columns=3), request(2, columns=4)])
