import pytest
import torch

from drn.errors import InvalidInput
from drn.targets import double_q_values, listwise_loss, td_loss, td_targets


def test_w_chooses_and_the_copy_values():
    """Request 0: W likes a2 best, W' values it .5 (its own best would be .9). Request 1 has one candidate."""
    online = torch.tensor([0.1, 0.3, 0.7, 0.2])
    target = torch.tensor([0.9, 0.8, 0.5, -0.4])
    owner = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(double_q_values(online, target, owner, 2), torch.tensor([0.5, -0.4]))


def test_targets_by_hand():
    """γ = .4: 1 + .4·.5 = 1.2; terminal: 1; 0 + .4·(−.4) = −.16. [DRN Eq. 2]"""
    y = td_targets(torch.tensor([1.0, 1.0, 0.0]), 0.4, torch.tensor([0.5, 0.0, -0.4]))
    torch.testing.assert_close(y, torch.tensor([1.2, 1.0, -0.16]))


def test_negative_scores_do_not_lose_to_padding():
    online = torch.tensor([-5.0, -9.0, -7.0])
    assert double_q_values(online, online, torch.tensor([0, 1, 1]), 2).tolist() == [-5.0, -7.0]


def test_td_loss_by_hand():
    """Errors .5 and 2: (½·.25 + (2 − ½)) / 2 = .8125."""
    assert td_loss(torch.tensor([0.5, 2.0]), torch.zeros(2)).item() == pytest.approx(0.8125)


def test_plain_listwise_loss_is_the_softmax_cross_entropy():
    score = torch.tensor([0.3, -1.0, 2.0])
    loss = listwise_loss(score, torch.tensor([0, 0]), torch.tensor([1, 2]), torch.ones(2))
    torch.testing.assert_close(loss, -torch.log_softmax(score, 0)[0])


def test_rivals_count_by_their_weight():
    """One click at 0, rivals at log 2 and log 3 with weights ½ and 1: −log 1 / (1 + 1 + 3) = log 5."""
    score = torch.tensor([0.0, 2.0, 3.0])
    score[1:] = score[1:].log()
    loss = listwise_loss(score, torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([0.5, 1.0]))
    assert loss.item() == pytest.approx(torch.log(torch.tensor(5.0)).item())


def test_clicks_of_a_batch_are_averaged():
    score = torch.zeros(5)
    loss = listwise_loss(score, torch.tensor([0, 3, 3]), torch.tensor([1, 2, 4]), torch.ones(3))
    assert loss.item() == pytest.approx((torch.log(torch.tensor(2.0)) + torch.log(torch.tensor(3.0))).item() / 2)


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_huge_and_impossible_margins_keep_loss_and_gradient_finite(size):
    score = torch.tensor([0.0, size, 0.0], requires_grad=True)
    loss = listwise_loss(score, torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([1.0, 0.0]))
    (gradient,) = torch.autograd.grad(loss, [score])
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient[2] == 0  # a rival that chance could not have placed otherwise proves nothing


def test_shapes_are_checked():
    with pytest.raises(InvalidInput, match="differ in shape"):
        td_targets(torch.zeros(2), 0.4, torch.zeros(3))
    with pytest.raises(InvalidInput, match="differ in shape"):
        double_q_values(torch.zeros(2), torch.zeros(3), torch.zeros(2, dtype=torch.int64), 1)
    with pytest.raises(InvalidInput, match="at least one candidate"):
        double_q_values(torch.zeros(2), torch.zeros(2), torch.tensor([0, 2]), 3)
