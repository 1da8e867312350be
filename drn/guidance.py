"""The guided explore network: it follows readers' feedback as it arrives, and its duel judges where that leads.

Pairwise gradient, debiased by the probability of the list with the pair swapped (Oosterhuis & de Rijke, CIKM 2018),
with the interleaving mixture in the place of their Plackett-Luce ranker.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from drn.config import Config
from drn.network import Batch, advantage, collate, to_tensors, to_weights
from drn.optimiser import Adam, table_shares
from drn.transitions import Experience, inputs_among, pair_weights, preference_pairs, trained_on
from drn.types import Floats, Inputs, Weights

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """One list that taught something: what is looked at, and which slot was preferred to which."""

    inputs: Inputs  # of the shown candidates, then of those that stand for the others
    shares: Floats  # of the list's mean, of each of these
    pairs: Tensor  # (P, 2): slots, the preferred one first
    weight: Tensor  # (P,): ρ


def guided_steps(
    explore: Weights, memory: Weights, experiences: Iterable[Experience], config: Config, new_share: float = 1.0
) -> tuple[Weights, Weights]:
    """One Adam step per `guided_batch` lists that hold a preference, in order.  → (explore', memory')

    The last batch may be smaller than the others. What a major update has found from many lists, steps that suit learning from
    nothing would undo, so they are as much smaller as fewer lists come until the next one; one-hot properties then learn at
    their share of the rate, as in a major update.

    Lists that were not drawn from the mixture are passed over: without chance in the order nothing tells position from
    preference.

    Args:
        new_share: see `Version.new_share`
    """
    params = to_tensors(explore)
    learned = {name: tensor.requires_grad_() for name, tensor in params.items() if moves(name)}
    optimiser = Adam(learned, new_share * config.guided_rate, memory, table_shares(learned, config) if new_share < 1 else None)
    for batch in batches(preferences(experiences, config), config.guided_batch):
        loss = pairwise_loss(params, batch, config.activation)
        gradients = dict(zip(learned, torch.autograd.grad(loss, list(learned.values())), strict=True))
        optimiser.step(gradients)
    return to_weights(params), optimiser.memory()


def moves(name: str) -> bool:
    """Only A follows preferences, and its last bias does not: V and that bias are the same for all candidates of a list.

    Their gradient is 0 up to rounding, which Adam would blow up to whole steps.
    """
    return name.startswith("advantage.") and name != "advantage.out.bias"


def preferences(experiences: Iterable[Experience], config: Config) -> Iterator[Preferences]:
    for one in experiences:
        pairs = preference_pairs(one)
        if one.drawn and len(pairs):
            weight = pair_weights(one, pairs, config)
            chosen, shares = trained_on(one, config)
            inputs = inputs_among(one, chosen, config)
            yield Preferences(inputs, shares, torch.from_numpy(pairs), torch.from_numpy(weight))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def pairwise_loss(params: dict[str, Tensor], lists: list[Preferences], activation: str) -> Tensor:
    """−Σ ρ·σ(A_i − A_j) per list over the pairs i ≻ j.  () [PDGD Eq. 7: its gradient is ρ·σ(Δ)·σ(−Δ)·(A'_i − A'_j)]"""
    batch: Batch = collate([one.inputs for one in lists], [one.shares for one in lists])
    score = advantage(params, batch, activation)  # (N,)
    starts = torch.searchsorted(batch.owner, torch.arange(len(lists)))  # (B,): each list's first slot
    pairs = torch.cat([one.pairs + start for one, start in zip(lists, starts, strict=True)])  # (P, 2)
    weight = torch.cat([one.weight for one in lists])  # (P,)
    margin = score[pairs[:, 0]] - score[pairs[:, 1]]  # (P,)
    return -(weight * torch.sigmoid(margin)).sum() / len(lists)
