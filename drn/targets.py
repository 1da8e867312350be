"""Double-Q targets and the losses of major updates, one pure function per formula. [DRN §4.2, Eq. 2]

B requests, N candidates laid end to end, S shown slots; `owner` (N,) or (S,) names each one's request.
"""

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from drn.errors import InvalidInput


def double_q_values(online: Tensor, target: Tensor, owner: Tensor, requests: int) -> Tensor:
    """Q(s', argmax_a' Q(s',a';W); W') of each next request.  (B,) [van Hasselt et al. 2016; DRN Eq. 2]

    Args:
        online: (N,) Q of the network that learns, W
        target: (N,) Q of its slow copy, W'
        owner: (N,) ascending; every request owns at least one candidate

    Raises:
        InvalidInput: the shapes differ, or a request has no candidate.
    """
    if not online.shape == target.shape == owner.shape:
        raise InvalidInput(f"online, target and owner differ in shape: {online.shape}, {target.shape}, {owner.shape}")
    lengths = torch.bincount(owner, minlength=requests)  # (B,)
    if len(lengths) != requests or bool((lengths == 0).any()):
        raise InvalidInput("every next request needs at least one candidate")
    first = lengths.cumsum(0) - lengths  # (B,)
    padded = torch.full((requests, int(lengths.max())), -torch.inf)  # (B, longest)
    padded[owner, torch.arange(len(owner)) - first[owner]] = online
    return target[first + padded.argmax(dim=1)]  # (B,)


def td_targets(reward: Tensor, gamma: float, following: Tensor) -> Tensor:
    """y = r + γ·Q(s', argmax_a' Q(s',a';W); W').  (S,) [DRN Eq. 2]

    Args:
        reward: (S,)
        following: (S,) the next request's double-Q value, 0 where the episode ended
    """
    if reward.shape != following.shape:
        raise InvalidInput(f"rewards {tuple(reward.shape)} and next values {tuple(following.shape)} differ in shape")
    return reward + gamma * following


def td_loss(q: Tensor, y: Tensor) -> Tensor:
    """Mean Huber loss of Q(s,a) against its target: squared up to 1, linear beyond.  () [Mnih et al. 2015]"""
    return huber_loss(q, y)


def listwise_loss(score: Tensor, preferred: Tensor, passed: Tensor, weight: Tensor) -> Tensor:
    """Mean over clicks i of −log [ e^A_i / (e^A_i + Σ_j w_ij·e^A_j) ], j the slots passed over.  ()

    The softmax cross-entropy of a list, in which every rival counts by its swap ratio, w = 2ρ: a rival that the
    rankers had put above or below by preference, not by chance, proves less by having been passed over.

    Args:
        score: (S,) A of each shown slot
        preferred, passed: (P,) slots of each pair i ≻ j; pairs of one click share `preferred`
        weight: (P,) w_ij; 1 is the plain softmax
    """
    clicks, group = torch.unique(preferred, return_inverse=True)  # (G,), (P,)
    margin = score[passed] - score[preferred] + torch.log(weight)  # (P,)
    peak = torch.zeros(len(clicks)).scatter_reduce(0, group, margin.detach(), "amax")  # (G,), at least 0: i itself
    rivals = torch.zeros(len(clicks)).index_add(0, group, torch.exp(margin - peak[group]))  # (G,)
    return (peak + torch.log(torch.exp(-peak) + rivals)).mean()
