"""The two towers in torch, for learning: Q(s,a) = V(s) + A(s,a). [DRN §4.2, Fig. 4]

Serving computes the same with numpy (`drn.scoring`); a test holds the two together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, hardswish

from drn.errors import InvalidInput
from drn.model import freeze
from drn.types import Floats, Inputs, Weights

ACTIVATIONS = {"hardswish": hardswish, "relu": torch.relu, "sigmoid": torch.sigmoid}


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B requests with their N candidates laid end to end."""

    reader: Tensor  # (B, R)
    content: Tensor  # (N, M): slots, C where a column is empty
    dense: Tensor  # (N, D)
    owner: Tensor  # (N,): the request that each candidate belongs to, ascending
    share: Tensor  # (N,): of its request's mean; of one request they add up to 1


def to_tensors(weights: Weights) -> dict[str, Tensor]:
    """Trainable copies."""
    return {name: torch.from_numpy(np.array(tensor)) for name, tensor in weights.items()}


def to_weights(params: Mapping[str, Tensor]) -> Weights:
    """Read-only copies of what was trained."""
    return freeze({name: tensor.detach().numpy() for name, tensor in params.items()})


def collate(inputs: Sequence[Inputs], shares: Sequence[Floats] | None = None) -> Batch:
    """Requests of any lengths as one batch; in the mean of a request all candidates count alike unless their `shares` are given.

    Raises:
        InvalidInput: there is none, or two of them have different columns.
    """
    if not inputs:
        raise InvalidInput("a batch needs at least one request")
    widths = {(len(one.reader), one.content.shape[1], one.dense.shape[1]) for one in inputs}
    if len(widths) > 1:
        raise InvalidInput(f"requests of one batch have different columns: {sorted(widths)}")
    lengths = np.array([len(one.dense) for one in inputs])
    owner = np.repeat(np.arange(len(inputs)), lengths)
    return Batch(
        reader=torch.from_numpy(np.stack([one.reader for one in inputs])),
        content=torch.from_numpy(np.concatenate([one.content for one in inputs]).astype(np.int64)),
        dense=torch.from_numpy(np.concatenate([one.dense for one in inputs])),
        owner=torch.from_numpy(owner),
        share=torch.from_numpy(np.concatenate(shares) if shares else (1 / lengths[owner]).astype(np.float32)),
    )


def forward(params: Mapping[str, Tensor], batch: Batch, activation: str) -> tuple[Tensor, Tensor]:
    """V of each request and A of each candidate: (B,), (N,). A network without reader inputs has V = 0."""
    return value(params, batch, activation), advantage(params, batch, activation)


def q_values(params: Mapping[str, Tensor], batch: Batch, activation: str) -> Tensor:
    """Q(s,a) = V(s) + A(s,a) of each candidate: (N,). [DRN Fig. 4]"""
    v, a = forward(params, batch, activation)
    return v[batch.owner] + a


def value(params: Mapping[str, Tensor], batch: Batch, activation: str) -> Tensor:
    if "value.reader" not in params:
        return torch.zeros(len(batch.reader))
    hidden = batch.reader @ params["value.reader"] + params["value.bias"]
    return tail(params, "value", ACTIVATIONS[activation](hidden), activation)


def advantage(params: Mapping[str, Tensor], batch: Batch, activation: str) -> Tensor:
    """A(s,a): the first layer is linear in its groups, so the reader's part is computed once per request."""
    hidden = params["advantage.bias"]
    if "advantage.reader" in params:
        hidden = hidden + (batch.reader @ params["advantage.reader"])[batch.owner]  # (N, H)
    if "advantage.content" in params:
        table = params["advantage.content"]
        padded = torch.cat([table, table.new_zeros(1, table.shape[1])])  # row C is the empty column
        hidden = hidden + embedding_bag(batch.content, padded, mode="sum")  # (N, H)
    if "advantage.dense" in params:
        hidden = hidden + batch.dense @ params["advantage.dense"]  # (N, H)
    hidden = ACTIVATIONS[activation](hidden.expand(len(batch.owner), -1))
    if "advantage.list" not in params:
        return tail(params, "advantage", hidden, activation)
    mean = hidden.new_zeros(len(batch.reader), hidden.shape[1]).index_add(0, batch.owner, batch.share[:, None] * hidden)
    return tail(params, "advantage", hidden, activation, (mean @ params["advantage.list"])[batch.owner])


def tail(params: Mapping[str, Tensor], tower: str, hidden: Tensor, activation: str, of_list: Tensor | float = 0.0) -> Tensor:
    """The layers above the first, `of_list` being what the list adds to the second: (rows, H), (rows, H2) → (rows,)."""
    for weight, bias in upper_layers(params, tower):
        hidden = ACTIVATIONS[activation](hidden @ weight + bias + of_list)
        of_list = 0.0
    return hidden @ params[f"{tower}.out.weight"] + params[f"{tower}.out.bias"]


def upper_layers(params: Mapping[str, Tensor], tower: str) -> Iterator[tuple[Tensor, Tensor]]:
    for i in count(1):
        if f"{tower}.{i}.weight" not in params:
            return
        yield params[f"{tower}.{i}.weight"], params[f"{tower}.{i}.bias"]
