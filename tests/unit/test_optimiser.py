import numpy as np
import pytest
import torch

from drn.checkpoint import digest, dump, load
from drn.network import to_weights
from drn.optimiser import Adam


def gradients(count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [{"w": torch.randn(4, generator=generator)} for _ in range(count)]


def test_the_first_step_has_the_size_of_the_rate():
    """m̂ = g and v̂ = g², so Δ = −rate · g / (|g| + ε)."""
    params = {"w": torch.tensor([1.0, 1.0, 1.0])}
    Adam(params, 0.1, {}).step({"w": torch.tensor([5.0, -0.01, 0.0])})
    np.testing.assert_allclose(params["w"], [0.9, 1.1, 1.0], atol=1e-6)


def test_it_is_the_adam_of_torch():
    ours, theirs = {"w": torch.ones(4)}, torch.ones(4)
    mine, reference = Adam(ours, 0.01, {}), torch.optim.Adam([theirs], lr=0.01)
    for gradient in gradients(20):
        mine.step(gradient)
        theirs.grad = gradient["w"]
        reference.step()
    np.testing.assert_allclose(ours["w"], theirs, atol=1e-6)


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_stopping_and_going_on_from_stored_memory_changes_nothing(cut):
    whole, parts = {"w": torch.ones(4)}, {"w": torch.ones(4)}
    unbroken, first = Adam(whole, 0.01, {}), Adam(parts, 0.01, {})
    for gradient in gradients(20):
        unbroken.step(gradient)
    for gradient in gradients(20)[:cut]:
        first.step(gradient)
    second = Adam(parts, 0.01, load(dump(first.memory())))
    for gradient in gradients(20)[cut:]:
        second.step(gradient)
    assert digest(to_weights(parts)) == digest(to_weights(whole))
    assert digest(second.memory()) == digest(unbroken.memory())


def test_a_share_of_the_rate_and_what_is_left_of_it_shorten_the_step():
    """The first step of Adam is as long as the rate, .1: by weight it has a half and a whole of it, with .4 left."""
    params = {"w": torch.zeros(2, 1)}
    Adam(params, 0.1, {}, {"w": torch.tensor([[0.5], [1.0]])}).step({"w": torch.tensor([[3.0], [-7.0]])}, left=0.4)
    np.testing.assert_allclose(params["w"].numpy(), [[-0.02], [0.04]], rtol=1e-5)
