"""The guided explore network: it follows readers' feedback as it arrives, and its duel judges where that leads.

Pairwise gradient, debiased by the probability of the list with the pair swapped (Oosterhuis & de Rijke, CIKM 2018),
with the interleaving mixture in the place of their Plackett-Luce ranker.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from drn.config import Config
from drn.network import Batch, advantage, collate, deep_gradients, to_tensors, to_weights
from drn.optimiser import Adam
from drn.transitions import Experience, pair_weights, preference_pairs, shown_inputs
from drn.types import Inputs, Weights
from drn.wide import Lesson, has_wide, wide_steps, wide_weights, with_wide

T = TypeVar("T")
AT_ONCE = 256  # lists scored at once


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """One list that taught something: what was shown, and which slot was preferred to which."""

    inputs: Inputs  # of the k shown candidates
    pairs: Tensor  # (P, 2): slots, the preferred one first
    weight: Tensor  # (P,): ρ


def guided_steps(explore: Weights, memory: Weights, experiences: Iterable[Experience], config: Config) -> tuple[Weights, Weights]:
    """One Adam step per `guided_batch` lists that hold a preference, in order.  → (explore', memory')

    The last batch may be smaller than the others. Lists that were not drawn from the mixture are passed over: without
    chance in the order nothing tells position from preference.
    """
    experiences = tuple(experiences)
    known: Weights = {}
    if has_wide(explore):
        wide, known = wide_steps(wide_weights(explore), memory, lessons(explore, experiences, config), config)
        explore = with_wide(explore, wide)
    params = to_tensors(explore)
    learned = {name: tensor.requires_grad_() for name, tensor in params.items() if moves(name)}
    optimiser = Adam(learned, config.guided_rate, memory)
    for batch in batches(preferences(experiences, config), config.guided_batch):
        loss = pairwise_loss(params, batch, config.activation)
        gradients = dict(zip(learned, torch.autograd.grad(loss, list(learned.values())), strict=True))
        optimiser.step(deep_gradients(gradients) if known else gradients)
    return to_weights(params), {**optimiser.memory(), **known}


@torch.no_grad()
def lessons(explore: Weights, experiences: Sequence[Experience], config: Config) -> Iterator[Lesson]:
    """Every list with the slots that its reader may have looked at, and what the deep part says of them."""
    params = to_tensors(with_wide(explore, np.zeros_like(wide_weights(explore))))
    for start in range(0, len(experiences), AT_ONCE):
        some = experiences[start : start + AT_ONCE]
        inputs = [shown_inputs(one, config) for one in some]
        deep = advantage(params, collate(inputs), config.activation).numpy()
        for one, own, score in zip(some, inputs, np.split(deep, np.cumsum([len(one.shown) for one in some])[:-1]), strict=True):
            slots = np.flatnonzero(~one.pinned if one.exposed is None else one.exposed & ~one.pinned)
            if len(slots):
                yield Lesson(own.dense[slots], (score - score.mean())[slots], slots, one.clicked[slots])


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
            yield Preferences(shown_inputs(one, config), torch.from_numpy(pairs), torch.from_numpy(weight))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def pairwise_loss(params: dict[str, Tensor], lists: list[Preferences], activation: str) -> Tensor:
    """−Σ ρ·σ(A_i − A_j) per list over the pairs i ≻ j.  () [PDGD Eq. 7: its gradient is ρ·σ(Δ)·σ(−Δ)·(A'_i − A'_j)]"""
    batch: Batch = collate([one.inputs for one in lists])
    score = advantage(params, batch, activation)  # (N,)
    starts = torch.searchsorted(batch.owner, torch.arange(len(lists)))  # (B,): each list's first slot
    pairs = torch.cat([one.pairs + start for one, start in zip(lists, starts, strict=True)])  # (P, 2)
    weight = torch.cat([one.weight for one in lists])  # (P,)
    margin = score[pairs[:, 0]] - score[pairs[:, 1]]  # (P,)
    return -(weight * torch.sigmoid(margin)).sum() / len(lists)
