"""The peers that predict clicks and are retrained: logistic regression, factorization machine, Wide & Deep.

They see what the product's networks see: reader and context, hashed content, dense inputs. Each is fitted by log loss to the
slots of the newest lists, going on from the last fit at every major update, and ranks by the predicted chance of a click.

Shapes: B lists, N slots laid end to end, R reader inputs, C content slots, D dense inputs, F factors.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding_bag

from benchmarks.learning.newsroom.peer import Shown, looked_at
from drn.config import Config
from drn.model import InputShape, initial_weights
from drn.network import Batch, advantage, collate, to_tensors
from drn.types import Inputs

Params = Mapping[str, Tensor]
Logits = Callable[[Params, Batch], Tensor]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a regression is fitted. The defaults are where the grids of docs/lab-book.md began."""

    rate: float = 1e-3  # of Adam
    decay: float = 1e-5  # L2 penalty on every weight but the bias
    epochs: float = 3.0  # passes over the lists that closed since the last fit; as many steps see older ones
    window_lists: int = 20_000  # newest lists that a fit may draw
    batch: int = 32  # lists per step
    slots: str = "shown"  # or "examined": the slots that are learned from


class Regression:
    """Log loss on clicks, Adam, warm starts.

    Args:
        params: at the start
        logits: one number per slot of a batch
    """

    def __init__(self, params: dict[str, Tensor], logits: Logits, setting: Setting, rng: np.random.Generator) -> None:
        self.params = {name: tensor.requires_grad_() for name, tensor in params.items()}
        self._logits, self._setting, self._rng = logits, setting, rng
        weights = [tensor for name, tensor in self.params.items() if name != "bias"]
        groups = [{"params": weights, "weight_decay": setting.decay}, {"params": [self.params["bias"]]}]
        self._optimiser = torch.optim.Adam(groups, lr=setting.rate)
        self._window: deque[tuple[Inputs, NDArray[np.float32]]] = deque(maxlen=setting.window_lists)

    @torch.no_grad()
    def scores(self, user_id: str | None, article_ids: Sequence[str], inputs: Inputs) -> tuple[Doubles, Doubles]:  # noqa: ARG002
        logits = self._logits(self.params, collate([inputs])).numpy().astype(np.float64)
        return logits, logits

    def minor(self, closed: Sequence[Shown]) -> None:
        """Learns at major updates only."""

    def major(self, closed: Sequence[Shown]) -> None:
        """Half of each batch is new, half drawn from the whole window."""
        fresh = [lesson for one in closed if (lesson := learnable(one, self._setting.slots))]
        if not fresh:
            return
        self._window.extend(fresh)
        known, half = list(self._window), self._setting.batch // 2
        for _ in range(ceil(self._setting.epochs * len(fresh) / half)):
            drawn = [fresh[i] for i in self._rng.integers(len(fresh), size=half)]
            drawn += [known[i] for i in self._rng.integers(len(known), size=half)]
            self._step(drawn)

    def _step(self, lessons: Sequence[tuple[Inputs, NDArray[np.float32]]]) -> None:
        batch = collate([inputs for inputs, _ in lessons])
        clicked = torch.from_numpy(np.concatenate([clicks for _, clicks in lessons]))
        loss = binary_cross_entropy_with_logits(self._logits(self.params, batch), clicked)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()


def learnable(one: Shown, slots: str) -> tuple[Inputs, NDArray[np.float32]] | None:
    """The slots to learn from, with what was clicked; none where nobody knows what was looked at."""
    at = looked_at(one.clicked, slots)
    if not len(at):
        return None
    return Inputs(one.inputs.reader, one.inputs.content[at], one.inputs.dense[at]), one.clicked[at].astype(np.float32)


def logistic(shape: InputShape, setting: Setting, rng: np.random.Generator) -> Regression:
    """LR: b + w·x over all inputs."""
    return Regression(linear_params(shape, rng), linear_logits, setting, rng)


def factorization_machine(shape: InputShape, setting: Setting, rng: np.random.Generator, factors: int = 8) -> Regression:
    """FM: b + w·x + Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j. [Rendle 2010, Eq. 1]"""
    params = linear_params(shape, rng)
    for group, size in (("reader", shape.reader), ("content", shape.content), ("dense", shape.dense)):
        params[f"factors.{group}"] = torch.from_numpy(0.01 * rng.standard_normal((size, factors)).astype(np.float32))
    return Regression(params, lambda params, batch: linear_logits(params, batch) + second_order(params, batch), setting, rng)


def wide_and_deep(shape: InputShape, setting: Setting, rng: np.random.Generator, config: Config) -> Regression:
    """Wide & Deep: a linear part and a network over the same inputs, fitted together. [Cheng et al. 2016, Eq. 3]

    The deep part has the product's own layers; content slots are embedded in its first one.
    """
    deep = to_tensors(initial_weights(InputShape(shape.reader, shape.content, shape.dense), config, rng))
    tower = {name: tensor for name, tensor in deep.items() if name.startswith("advantage.")}
    tower["advantage.out.weight"] *= 0.1  # an untrained network shall not drown the linear part
    logits = lambda params, batch: linear_logits(params, batch) + advantage(params, batch, config.activation)  # noqa: E731
    return Regression(linear_params(shape, rng) | tower, logits, setting, rng)


def linear_params(shape: InputShape, rng: np.random.Generator) -> dict[str, Tensor]:
    """Zeros, but for dense inputs: before its first fit a method ranks by chance, not by the age of equal scores."""
    sizes = {"reader": shape.reader, "content": shape.content, "bias": 1}
    dense = torch.from_numpy(0.01 * rng.standard_normal(shape.dense).astype(np.float32))
    return {name: torch.zeros(size) for name, size in sizes.items()} | {"dense": dense}


def linear_logits(params: Params, batch: Batch) -> Tensor:
    """b + w·x, a content slot being an input that is 1.  (N,)"""
    shared = batch.reader @ params["reader"]  # (B,)
    return params["bias"] + shared[batch.owner] + rows(params["content"][:, None], batch)[:, 0] + batch.dense @ params["dense"]


def second_order(params: Params, batch: Batch) -> Tensor:
    """½ Σ_f [(Σ_i v_if x_i)² − Σ_i v_if² x_i²], which is Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j.  (N,) [Rendle 2010, Lemma 3.1]"""
    reader, content, dense = (params[f"factors.{group}"] for group in ("reader", "content", "dense"))
    total = (batch.reader @ reader)[batch.owner] + rows(content, batch) + batch.dense @ dense  # (N, F)
    squares = (batch.reader**2 @ reader**2)[batch.owner] + rows(content**2, batch) + batch.dense**2 @ dense**2  # (N, F)
    return 0.5 * (total**2 - squares).sum(dim=1)


def rows(table: Tensor, batch: Batch) -> Tensor:
    """The sum of a table's rows over each slot's content; an empty column finds a row of zeros.  (N, F)"""
    padded = torch.cat([table, table.new_zeros(1, table.shape[1])])
    return embedding_bag(batch.content, padded, mode="sum")
