"""Scores of both networks at once, in numpy: the first layer of A split by group, the two networks as one product.

Equal to the plain forward of the same weights (`drn.network`) to 1e-5; a property test holds it to that.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.types import Floats, Inputs, Ints, Model, Weights


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
        self._parts = np.empty((0, self._advantage.width), np.float32)  # (rows, 2H)
        self._revisions = np.empty(0, np.int32)  # (rows,)

    def scores(self, inputs: Inputs, rows: Ints | None = None, revisions: NDArray[np.int32] | None = None) -> Floats:
        """Q(s, a) of every candidate.  (2, n): current, explore.

        Args:
            rows: the candidates' catalogue rows, and
            revisions: the catalogue's content revision by row; with both, article parts are kept between calls.
        """
        tower = self._advantage
        if rows is None or revisions is None:
            first = tower.content_part(inputs.content)  # (n, 2H)
        else:
            first = self._kept_parts(inputs, rows, revisions)
        shared = self._reader_part(inputs.reader)  # (2H + 2Hv,)
        first += shared[: tower.width]
        if "dense" in tower.groups:
            first += inputs.dense @ tower.groups["dense"]
        advantage = tower.outputs(first, self._activate)  # (2, n)
        if self._value is None:
            return advantage
        return advantage + self._value.outputs(shared[None, tower.width :], self._activate)  # (2, n) + (2, 1)

    def _reader_part(self, reader: Floats) -> Floats:
        """What all candidates share of both towers' first layers.  (R,) → (2H + 2Hv,)

        Most reader inputs are zero, so the product is a sum over the few rows that are not.
        """
        if self._reader is None:
            return self._bias
        filled = np.flatnonzero(reader)
        return np.asarray(self._bias + reader.take(filled) @ self._reader.take(filled, axis=0))

    def _kept_parts(self, inputs: Inputs, rows: Ints, revisions: NDArray[np.int32]) -> Floats:
        if len(self._revisions) < len(revisions):
            parts = np.empty((len(revisions), self._advantage.width), np.float32)
            parts[: len(self._parts)] = self._parts
            stamps = np.full(len(revisions), -1, np.int32)
            stamps[: len(self._revisions)] = self._revisions
            self._parts, self._revisions = parts, stamps
        stale = np.flatnonzero(self._revisions[rows] != revisions[rows])
        if len(stale):
            self._parts[rows[stale]] = self._advantage.content_part(inputs.content[stale])
            self._revisions[rows[stale]] = revisions[rows[stale]]
        return self._parts.take(rows, axis=0)


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
        if "content" in self.groups:  # an empty column finds a row of zeros
            self.groups["content"] = np.vstack([self.groups["content"], np.zeros(self.width, np.float32)])
        depth = sum(tensor.startswith(f"{name}.") and tensor[len(name) + 1].isdigit() for tensor in pair[0]) // 2
        self.hidden = [(stacked(f"{i}.weight"), stacked(f"{i}.bias")[:, None]) for i in range(1, depth + 1)]
        self.out = stacked("out.weight")[:, :, None]  # (2, H, 1)
        self.out_bias = stacked("out.bias")  # (2, 1)

    def content_part(self, content: NDArray[np.uint16]) -> Floats:
        """One-hot inputs are row sums, not products.  (n, M) → (n, 2H)"""
        if "content" not in self.groups:
            return np.zeros((len(content), self.width), np.float32)
        return np.asarray(self.groups["content"][content].sum(axis=1))

    def outputs(self, first: Floats, activate: Callable[[Floats], Floats]) -> Floats:
        """From the first layer's sums to one number per candidate and network.  (n, 2H) → (2, n)"""
        layer = activate(first).reshape(len(first), 2, -1).transpose(1, 0, 2)  # (2, n, H)
        for weight, bias in self.hidden:
            layer = activate(layer @ weight + bias)
        return np.asarray((layer @ self.out)[:, :, 0] + self.out_bias)


def relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


def sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))), np.float32)


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": relu, "sigmoid": sigmoid}
