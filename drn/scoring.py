"""Scores of both networks at once: the first layer of A split by group, the two networks side by side.

Equal to the plain forward of the same weights (`drn.network`) to 1e-5; a property test holds it to that.
Shapes: n candidates, H units of A's first layer, Hv of V's, R reader inputs, C content slots, M content columns.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.folding import folded
from drn.kernels import VOID, kernel, reads, writes
from drn.types import Floats, Inputs, Ints, Measured, Model, Weights


class Scorer:
    """The current and the explore network of one model, laid out for serving.

    An article's share of the first layer depends on its content and the weights alone, so it is kept per catalogue row
    and made anew when the row's content revision has moved on. A new version is a new Scorer.
    """

    def __init__(self, model: Model, config: Config) -> None:
        pair = (model.current, model.explore)
        self._activate = ACTIVATIONS[config.activation]
        self._advantage = Tower("advantage", pair)
        self._value = Tower("value", pair) if "value.reader" in model.current else None
        towers = [tower for tower in (self._advantage, self._value) if tower is not None]
        self._bias = np.concatenate([tower.bias for tower in towers])  # (2H + 2Hv,)
        self._reader = np.hstack([tower.groups.pop("reader") for tower in towers]) if self._value else None  # (R, 2H + 2Hv)
        self._parts = ArticleParts(0, self._advantage.width)

    def scores(self, inputs: Inputs | Measured, rows: Ints | None = None, revisions: NDArray[np.int32] | None = None) -> Floats:
        """Q(s, a) of every candidate.  (2, n): current, explore.

        Args:
            rows: the candidates' catalogue rows, and
            revisions: the catalogue's content revision by row; with both, article parts are kept between calls.
        """
        tower = self._advantage
        shared = self._bias.copy()  # (2H + 2Hv,)
        if self._reader is not None:
            add_reader(inputs.reader, self._reader, shared)
        n = len(inputs.content)
        first = tower.dense_sums(inputs, shared)  # (n, 2H)
        if rows is None or revisions is None:
            rows, revisions, parts = np.arange(n, dtype=np.int32), np.zeros(n, np.int32), ArticleParts(n, tower.width)
        else:
            parts = self._parts = self._parts.up_to(len(revisions))
        add_parts(inputs.content, rows, revisions, tower.content, parts.stamps, parts.sums, shared, first)
        value = np.zeros((2, 1), np.float32)
        if self._value is not None:
            value = self._value.outputs(shared[None, tower.width :], self._activate, value)
        return tower.outputs(first, self._activate, value)


class ArticleParts:
    """What articles add to the first layer, by catalogue row, and the content revision that it was made of."""

    def __init__(self, rows: int, width: int) -> None:
        self.sums = np.empty((rows, width), np.float32)  # (rows, 2H)
        self.stamps = np.full(rows, -1, np.int32)  # (rows,): −1 where nothing has been made yet

    def up_to(self, rows: int) -> "ArticleParts":
        """The same with room for so many rows."""
        if rows <= len(self.stamps):
            return self
        longer = ArticleParts(rows, self.sums.shape[1])
        longer.sums[: len(self.sums)], longer.stamps[: len(self.stamps)] = self.sums, self.stamps
        return longer


class Tower:
    """One tower of both networks: first-layer groups side by side (inputs, 2H), later layers stacked (2, in, out)."""

    def __init__(self, name: str, pair: tuple[Weights, Weights]) -> None:
        def beside(tensor: str) -> Floats:
            return np.concatenate([weights[f"{name}.{tensor}"] for weights in pair], axis=-1)

        def stacked(tensor: str) -> Floats:
            return np.stack([weights[f"{name}.{tensor}"] for weights in pair])

        self.groups = {group: beside(group) for group in ("reader", "content", "dense") if f"{name}.{group}" in pair[0]}
        self.bias = beside("bias")  # (2H,)
        self.width = len(self.bias)
        self.dense = self.groups.get("dense")  # (D, 2H)
        self.content = self.groups.get("content", np.zeros((0, self.width), np.float32))  # (C, 2H)
        depth = sum(tensor.startswith(f"{name}.") and tensor[len(name) + 1].isdigit() for tensor in pair[0]) // 2
        self.hidden = [(stacked(f"{i}.weight"), stacked(f"{i}.bias")[:, None]) for i in range(1, depth + 1)]
        self.out = stacked("out.weight")  # (2, H of the last layer)
        self.out_bias = stacked("out.bias")  # (2, 1)

    def dense_sums(self, inputs: Inputs | Measured, shared: Floats) -> Floats:
        """What the dense inputs add to the first layer, apart from what is added to `shared` for all candidates.  (n, 2H)"""
        if self.dense is None:
            return np.zeros((len(inputs.content), self.width), np.float32)
        return folded(inputs, self.dense, shared) if isinstance(inputs, Measured) else inputs.dense @ self.dense

    def outputs(self, first: Floats, activate: Callable[[Floats], Floats], offset: Floats) -> Floats:
        """From the first layer's sums to one number per candidate and network, on top of `offset`.  (n, 2H), (2, 1) → (2, n)"""
        layer = activate(first).reshape(len(first), 2, -1).transpose(1, 0, 2)  # (2, n, H)
        for weight, bias in self.hidden:
            layer = layer @ weight
            layer += bias
            layer = activate(layer)
        out = np.empty(layer.shape[:2], np.float32)
        last_layer(np.ascontiguousarray(layer), self.out, self.out_bias + offset, out)
        return out


@kernel(VOID, reads("f4", 1), reads("f4", 2), writes("f4", 1))
def add_reader(reader: Floats, weights: Floats, sums: Floats) -> None:
    """Adds the reader's part of the first layers; most reader inputs are zero.  (R,), (R, 2H + 2Hv) → (2H + 2Hv,)"""
    for i in range(len(reader)):
        x = reader[i]
        if x != 0:
            for unit in range(len(sums)):
                sums[unit] += x * weights[i, unit]


@kernel(
    VOID,
    reads("u2", 2),
    reads("i4", 1),
    reads("i4", 1),
    reads("f4", 2),
    writes("i4", 1),
    writes("f4", 2),
    reads("f4", 1),
    writes("f4", 2),
)
def add_parts(
    content: NDArray[np.uint16],
    rows: Ints,
    revisions: Ints,
    table: Floats,
    stamps: Ints,
    parts: Floats,
    shared: Floats,
    first: Floats,
) -> None:
    """Adds to every candidate's first layer its article's part and what all share. One-hot inputs are row sums.

    Args:
        content (n, M), rows (n,): the candidates', and revisions: the catalogue's, by row
        table: weights of the content slots.  (C, 2H)
        stamps, parts: what is kept, by row; an article of another revision is made anew.  (rows,), (rows, 2H)
        shared: the first 2H numbers are added to all.
    """
    n, width = first.shape
    for i in range(n):
        row = rows[i]
        if stamps[row] != revisions[row]:
            stamps[row] = revisions[row]
            parts[row] = 0
            for column in range(content.shape[1]):
                slot = content[i, column]
                if slot < len(table):
                    for unit in range(width):
                        parts[row, unit] += table[slot, unit]
        for unit in range(width):
            first[i, unit] += parts[row, unit] + shared[unit]


@kernel(VOID, reads("f4", 3), reads("f4", 2), reads("f4", 2), writes("f4", 2))
def last_layer(layer: Floats, weights: Floats, offset: Floats, out: Floats) -> None:
    """One number per candidate and network.  (2, n, H), (2, H), (2, 1) → (2, n)"""
    for network in range(layer.shape[0]):
        for i in range(layer.shape[1]):
            total = offset[network, 0]
            for unit in range(layer.shape[2]):
                total += layer[network, i, unit] * weights[network, unit]
            out[network, i] = total


def relu(x: Floats) -> Floats:
    """In place."""
    return np.maximum(x, 0, out=x)


def sigmoid(x: Floats) -> Floats:
    """In place."""
    np.clip(x, -80, 80, out=x)
    np.exp(-x, out=x)
    x += 1
    return np.reciprocal(x, out=x)


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": relu, "sigmoid": sigmoid}
