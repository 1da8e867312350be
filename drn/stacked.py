"""Many lists as a few flat tensors: what a retraining takes its batches from, encoded once instead of once per batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drn.config import Config
from drn.network import Batch
from drn.transitions import Experience, inputs_among, inputs_of, pair_weights, preference_pairs, trained_on

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """L lists with their S slots and P preference pairs laid end to end.

    A list's shown slots come first, then those that only its mean is learned with (`transitions.trained_on`).
    """

    reader: Tensor  # (L, R)
    content: Tensor  # (S, M)
    dense: Tensor  # (S, D)
    first: Places  # (L + 1,): each list's first slot, and S
    share: Tensor  # (S,): of the list's mean
    examined: Tensor  # (S,): never those that were not shown
    reward: Tensor  # (S,)
    pairs: Tensor  # (P, 2): slots counted from their list's first, the preferred one in front
    weight: Tensor  # (P,): ρ
    first_pair: Places  # (L + 1,)

    @classmethod
    def of(cls, lists: Sequence[Experience], config: Config) -> "Stacked":
        """These lists, at least one, in this order."""
        chosen, shares = zip(*[trained_on(one, config) for one in lists], strict=True)
        slots, pairs = [len(own) for own in chosen], [preference_pairs(one) for one in lists]
        inputs = inputs_of(lists[0], config)
        reader = np.empty((len(lists), len(inputs.reader)), np.float32)
        content = np.empty((sum(slots), inputs.content.shape[1]), np.int32)
        dense = np.empty((sum(slots), inputs.dense.shape[1]), np.float32)
        examined, reward = np.zeros(sum(slots), np.bool_), np.zeros(sum(slots), np.float32)
        first, first_pair = starts(slots), starts([len(own) for own in pairs])
        for i, one in enumerate(lists):
            inputs, own = inputs_among(one, chosen[i], config), slice(first[i], first[i + 1])
            reader[i], content[own], dense[own] = inputs.reader, inputs.content, inputs.dense
            shown = slice(first[i], first[i] + len(one.shown))
            examined[shown], reward[shown] = one.examined, one.reward
        weights = [pair_weights(one, own, config) for one, own in zip(lists, pairs, strict=True) if len(own)]
        return cls(
            reader=torch.from_numpy(reader),
            content=torch.from_numpy(content),
            dense=torch.from_numpy(dense),
            first=first,
            share=torch.from_numpy(np.concatenate(shares)),
            examined=torch.from_numpy(examined),
            reward=torch.from_numpy(reward),
            pairs=torch.from_numpy(np.concatenate(pairs)),
            weight=torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *weights])),
            first_pair=first_pair,
        )

    def __len__(self) -> int:
        return len(self.reader)

    def batch(self, lists: Places) -> tuple[Batch, Tensor]:
        """These lists, any of them as often as it is named, and the slots (N,) that they are here."""
        slots, owner = spans(self.first, lists)
        places = torch.from_numpy(slots)
        made = self.content[places], self.dense[places], torch.from_numpy(owner), self.share[places]
        return Batch(self.reader[torch.from_numpy(lists)], *made), places

    def preferences(self, lists: Places) -> tuple[Tensor, Tensor]:
        """Their pairs (P, 2) as slots of the batch that `batch` makes of the same lists, and swap ratios ρ (P,)."""
        places, owner = spans(self.first_pair, lists)
        first = starts(self.first[lists + 1] - self.first[lists])[:-1]  # (B,): in the batch
        found = torch.from_numpy(places)
        return self.pairs[found] + torch.from_numpy(first[owner])[:, None], self.weight[found]


def starts(lengths: Sequence[int] | Places) -> Places:
    """Where each of these runs begins when they are laid end to end, and where the last one ends.  (B,) → (B + 1,)"""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def spans(first: Places, runs: Places) -> tuple[Places, Places]:
    """All places of these runs, run after run, and which run each belongs to.  (L + 1,), (B,) → (N,), (N,)"""
    lengths = first[runs + 1] - first[runs]  # (B,)
    owner = np.repeat(np.arange(len(runs)), lengths)  # (N,)
    return np.arange(len(owner)) + (first[runs] - starts(lengths)[:-1])[owner], owner
