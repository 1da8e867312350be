import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from drn.targets import double_q_values, td_targets

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    online, target = (torch.from_numpy(rng.standard_normal(sum(lengths)).astype(np.float32)) for _ in range(2))
    return online, target, torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))


@given(LENGTHS, SEEDS)
def test_it_is_the_definition_request_by_request(lengths, seed):
    online, target, owner = drawn(lengths, seed)
    expected = [target[owner == b][online[owner == b].argmax()] for b in range(len(lengths))]
    assert double_q_values(online, target, owner, len(lengths)).tolist() == torch.stack(expected).tolist()


@given(LENGTHS, SEEDS)
def test_one_network_is_plain_q_learning_and_two_never_value_more(lengths, seed):
    online, target, owner = drawn(lengths, seed)
    best = torch.stack([target[owner == b].max() for b in range(len(lengths))])
    assert torch.equal(double_q_values(target, target, owner, len(lengths)), best)
    assert (double_q_values(online, target, owner, len(lengths)) <= best).all()


@given(SEEDS)
def test_without_a_future_the_target_is_the_reward(seed):
    reward, following, _ = drawn([4], seed)
    assert torch.equal(td_targets(reward, 0.0, following), reward)
