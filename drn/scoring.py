"""Scores of both networks at once: the first layer of A split by group, the two networks side by side.

Equal to the plain forward of the same weights (`drn.network`) to 1e-5; a property test holds it to that.
Shapes: n candidates, H units of A's first layer, Hv of V's, R reader inputs, C content slots, M content columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.folding import folded
from drn.kernels import BOOL, FLOAT, INT, UNSIGNED, VOID, kernel, prefetch, reads, writes
from drn.types import Floats, Inputs, Ints, Measured, Model, Weights

ACTIVATIONS = ("hardswish", "relu", "sigmoid")  # in the order of `activated`
READERS = 10_000  # places for what their clicks add: 768 bytes each
NO_VALUE = np.zeros((2, 1), np.float32)
NO_BIAS, NO_ROW, NO_WEIGHTS = np.zeros((2, 0), np.float32), np.zeros((2, 0), np.float32), np.zeros((2, 0, 0), np.float32)
OF_LIST = 33  # reader inputs, the last ones, that speak of the list and its context, and not of clicks


class Scorer:
    """The current and the explore network of one model, laid out for serving.

    An article's share of the first layer depends on its content, its embedding and the weights alone, so it is kept per
    catalogue row and made anew when the row's content revision has moved on. What a reader's clicks add is kept too: to sum it
    up takes so many weights that they push everything else out of the nearest caches. A new version is a new Scorer.
    """

    def __init__(self, model: Model, config: Config) -> None:
        pair = (model.current, model.explore)
        self._advantage = Tower("advantage", pair, config.activation)
        self._value = Tower("value", pair, config.activation) if "value.reader" in model.current else None
        towers = [tower for tower in (self._advantage, self._value) if tower is not None]
        self._bias = np.concatenate([tower.bias for tower in towers])  # (2H + 2Hv,)
        reader = np.hstack([tower.reader for tower in towers])  # (R, 2H + 2Hv)
        clicks = max(len(reader) - OF_LIST, 0)
        self._clicks, self._of_list = reader[:clicks].copy(), reader[clicks:].copy()
        # What clicks add, of `READERS` states of readers. A place is found, and what it holds told from others, by a hash of the
        # inputs: that two readers share all 64 bits at one place is less likely than that the memory forgets.
        self._names = np.zeros(READERS, np.uint64)  # 0 where nothing is kept
        self._sums = np.empty((READERS, reader.shape[1]), np.float32)  # (READERS, 2H + 2Hv)
        self._parts = ArticleParts(0, self._advantage.width)

    def scores(self, inputs: Inputs | Measured, rows: Ints | None = None, revisions: NDArray[np.int32] | None = None) -> Floats:
        """Q(s, a) of every candidate.  (2, n): current, explore.

        Args:
            rows: the candidates' catalogue rows, and
            revisions: the catalogue's content revision by row; with both, article parts are kept between calls.
        """
        tower, n = self._advantage, len(inputs.content)
        shared = self._bias.copy()  # (2H + 2Hv,)
        if len(inputs.reader):
            add_reader(inputs.reader, self._clicks, self._names, self._sums, self._of_list, shared)
        first = tower.dense_sums(inputs, shared)  # (n, 2H)
        if rows is None or revisions is None:
            rows, revisions, parts = np.arange(n, dtype=np.int32), np.zeros(n, np.int32), ArticleParts(n, tower.width)
        else:
            parts = self._parts = self._parts.up_to(len(revisions))
        layer, mean = np.empty((2, n, tower.width // 2), np.float32), np.empty((2, tower.width // 2), np.float32)
        joined = (first, rows, revisions, parts.stamps, parts.sums, shared, tower.activation, layer, mean)
        if not join_parts(*joined):
            parts.renew(rows, revisions, inputs, tower)
            join_parts(*joined)
        return tower.outputs(layer, self._values(shared), mean)

    def _values(self, shared: Floats) -> Floats:
        """V(s) of both networks, from the sums of its first layer; 0 without that tower.  (2H + 2Hv,) → (2, 1)"""
        if self._value is None:
            return NO_VALUE
        layer = shared[self._advantage.width :].reshape(2, 1, -1)
        activate(layer, NO_BIAS, NO_ROW, NO_WEIGHTS, self._value.activation)
        return self._value.outputs(layer, NO_VALUE)


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

    def renew(self, rows: Ints, revisions: Ints, inputs: Inputs | Measured, tower: "Tower") -> None:
        """Makes the parts of candidates whose articles have another revision by now, from their content and embedding."""
        places = np.flatnonzero(self.stamps[rows] != revisions[rows])
        embedding, weights = np.empty((len(places), 0), np.float32), np.empty((0, tower.width), np.float32)
        if isinstance(inputs, Measured):
            embedding, weights = inputs.embedding[places].astype(np.float32), tower.of_embedding(inputs)
        make_parts(inputs.content[places], tower.content, embedding, weights, rows[places], self.sums)
        self.stamps[rows[places]] = revisions[rows[places]]


class Tower:
    """One tower of both networks: first-layer groups side by side (inputs, 2H), later layers stacked (2, in, out)."""

    def __init__(self, name: str, pair: tuple[Weights, Weights], activation: str) -> None:
        def beside(tensor: str) -> Floats:
            return np.concatenate([weights[f"{name}.{tensor}"] for weights in pair], axis=-1)

        def stacked(tensor: str) -> Floats:
            return np.stack([weights[f"{name}.{tensor}"] for weights in pair])

        self.activation = ACTIVATIONS.index(activation)
        self.bias = beside("bias")  # (2H,)
        self.width = len(self.bias)
        nothing = np.zeros((0, self.width), np.float32)
        self.reader = beside("reader") if f"{name}.reader" in pair[0] else nothing  # (R, 2H)
        self.content = beside("content") if f"{name}.content" in pair[0] else nothing  # (C, 2H)
        self.dense = beside("dense") if f"{name}.dense" in pair[0] else None  # (D, 2H)
        depth = sum(tensor.startswith(f"{name}.") and tensor[len(name) + 1].isdigit() for tensor in pair[0]) // 2
        self.later = [(stacked(f"{i}.weight"), stacked(f"{i}.bias")) for i in range(1, depth + 1)]  # (2, in, out), (2, out)
        self.list = stacked("list") if f"{name}.list" in pair[0] else None  # (2, H, H of the second layer)
        self.out = stacked("out.weight")  # (2, H of the last layer)
        self.out_bias = stacked("out.bias")  # (2, 1)

    def dense_sums(self, inputs: Inputs | Measured, shared: Floats) -> Floats:
        """What the dense inputs add to the first layer, apart from what is added to `shared` for all candidates.  (n, 2H)"""
        if self.dense is None:
            return np.zeros((len(inputs.content), self.width), np.float32)
        return folded(inputs, self.dense, shared) if isinstance(inputs, Measured) else inputs.dense @ self.dense

    def of_embedding(self, measured: Measured) -> Floats:
        """The weights of what an article's embedding says without its reader.  (E, 2H)"""
        size, end = measured.embedding.shape[1], len(measured.layout.kept) - 1
        if self.dense is None or not size:
            return np.zeros((size, self.width), np.float32)
        block = slice(end - size, end)
        return self.dense[block] * measured.layout.kept[block, None]

    def outputs(self, layer: Floats, offset: Floats, mean: Floats | None = None) -> Floats:
        """From the first layer to one number per candidate and network, on top of `offset`.  (2, n, H), (2, 1) → (2, n)

        Args:
            mean: of the first layer over the list, where the second one looks at it.  (2, H)
        """
        for weight, bias in self.later:
            layer = product(layer, weight)
            if mean is None or self.list is None:
                activate(layer, bias, NO_ROW, NO_WEIGHTS, self.activation)
            else:
                activate(layer, bias, mean, self.list, self.activation)
            mean = None
        out = np.empty(layer.shape[:2], np.float32)
        last_layer(layer, self.out, self.out_bias, offset, out)
        return out


def product(layer: Floats, weight: Floats) -> Floats:
    """`layer @ weight`, which takes BLAS longer to begin than to do where there is one row.  (2, n, H), (2, H, O) → (2, n, O)"""
    if layer.shape[1] > 1:
        return layer @ weight
    sums = np.zeros((2, 1, weight.shape[2]), np.float32)
    add_product(layer, weight, sums)
    return sums


@kernel(VOID, reads("f4", 3), reads("f4", 3), writes("f4", 3))
def add_product(row: Floats, weight: Floats, sums: Floats) -> None:
    """Adds the product of one row per network.  (2, 1, H), (2, H, O) → (2, 1, O)"""
    for network in range(row.shape[0]):
        for i in range(row.shape[2]):
            for unit in range(sums.shape[2]):
                sums[network, 0, unit] += row[network, 0, i] * weight[network, i, unit]


@kernel(VOID, reads("f4", 1), reads("f4", 2), writes("f4", 1))
def add_row(inputs: Floats, weights: Floats, sums: Floats) -> None:
    """Adds the product of one row of inputs, most of which are zero.  (R,), (R, ·) → (·,)"""
    for i in range(len(inputs)):
        x = inputs[i]
        if x != 0:
            for unit in range(len(sums)):
                sums[unit] += x * weights[i, unit]


@kernel(UNSIGNED, reads("u4", 1))
def fingerprint(numbers: NDArray[np.uint32]) -> Any:
    """64 bits, never 0, that depend on every number and its place: what SplitMix64 makes of each (see `drn.ids`), added up."""
    total = np.uint64(0)
    for i in range(len(numbers)):
        z = np.uint64(numbers[i]) + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        total += z ^ (z >> np.uint64(31))
    return total if total else np.uint64(1)


@kernel(VOID, reads("f4", 1), reads("f4", 2), writes("u8", 1), writes("f4", 2), reads("f4", 2), writes("f4", 1))
def add_reader(reader: Floats, weights: Floats, names: NDArray[np.uint64], kept: Floats, of_list: Floats, shared: Floats) -> None:
    """Adds the reader's part of the first layers: of the clicks as it is kept or, from now on, will be, and of the list.

    Args:
        reader: (R,)
        weights: of the first r inputs, which speak of clicks.  (r, 2H + 2Hv)
        names, kept: what is kept.  (p,), (p, 2H + 2Hv)
        of_list: the weights of the others.  (R − r, 2H + 2Hv)
        shared: changed here.  (2H + 2Hv,)
    """
    clicks = reader[: len(weights)]
    name = fingerprint(clicks.view(np.uint32))
    place = name % np.uint64(len(names))
    if names[place] != name:
        kept[place] = 0
        add_row(clicks, weights, kept[place])
        names[place] = name
    for unit in range(len(shared)):
        shared[unit] += kept[place, unit]
    add_row(reader[len(weights) :], of_list, shared)


@kernel(VOID, reads("u2", 2), reads("f4", 2), reads("f4", 2), reads("f4", 2), reads("i4", 1), writes("f4", 2))
def make_parts(content: NDArray[np.uint16], table: Floats, embedding: Floats, weights: Floats, rows: Ints, parts: Floats) -> None:
    """What these articles add to the first layer. One-hot inputs are row sums; always in one order, so to the same bits.

    (n, M), (C, 2H), (n, E), (E, 2H), (n,) → rows of (rows, 2H)
    """
    for i in range(len(rows)):
        sums = parts[rows[i]]
        sums[:] = 0
        for column in range(content.shape[1]):
            slot = content[i, column]
            if slot < len(table):
                for unit in range(len(sums)):
                    sums[unit] += table[slot, unit]
        for component in range(embedding.shape[1]):
            for unit in range(len(sums)):
                sums[unit] += embedding[i, component] * weights[component, unit]


@kernel(FLOAT, FLOAT, INT)
def activated(x: Any, activation: int) -> Any:
    """x·min(max(x + 3, 0), 6) / 6, max(x, 0) or σ(x); what is not a number stays none."""
    if activation == 0:  # hardswish
        return x * min(max(x + np.float32(3), np.float32(0)), np.float32(6)) * np.float32(1 / 6)
    if activation == 2:  # sigmoid
        return np.float32(1) / (np.float32(1) + np.exp(-min(max(x, np.float32(-80)), np.float32(80))))
    return np.float32(0) if x < 0 else x


@kernel(
    BOOL,
    reads("f4", 2),
    reads("i4", 1),
    reads("i4", 1),
    reads("i4", 1),
    reads("f4", 2),
    reads("f4", 1),
    INT,
    writes("f4", 3),
    writes("f4", 2),
)
def join_parts(
    first: Floats,
    rows: Ints,
    revisions: Ints,
    stamps: Ints,
    parts: Floats,
    shared: Floats,
    activation: int,
    layer: Floats,
    mean: Floats,
) -> bool:
    """The first layer of each network: what the dense inputs, each candidate's article and all together add; and its mean.

    False, and nothing is done, if some article's part was made of another revision than its own.

    Args:
        first: (n, 2H)
        rows: (n,)
        revisions, stamps, parts: by row.  (rows,), (rows,), (rows, 2H)
        shared: (≥ 2H,)
        layer, mean: filled here.  (2, n, H), (2, H)
    """
    networks, n, width = layer.shape
    for i in range(n):
        if stamps[rows[i]] != revisions[rows[i]]:
            return False
    mean[:] = 0
    for i in range(n):
        row = rows[i]
        prefetch(parts, rows[min(i + 8, n - 1)])
        for network in range(networks):
            for unit in range(width):
                place = network * width + unit
                joined = activated(first[i, place] + parts[row, place] + shared[place], activation)
                layer[network, i, unit] = joined
                mean[network, unit] += joined
    for network in range(networks):
        for unit in range(width):
            mean[network, unit] /= n
    return True


@kernel(VOID, writes("f4", 3), reads("f4", 2), reads("f4", 2), reads("f4", 3), INT)
def activate(layer: Floats, bias: Floats, row: Floats, weights: Floats, activation: int) -> None:
    """Adds the bias, if there is one, and what one row adds for all candidates, and activates, in place.

    (2, n, O), (2, O) or (2, 0), (2, H), (2, H, O)
    """
    for network in range(layer.shape[0]):
        added = np.zeros(layer.shape[2], np.float32)
        for unit in range(bias.shape[1]):
            added[unit] = bias[network, unit]
        for i in range(row.shape[1]):
            for unit in range(len(added)):
                added[unit] += row[network, i] * weights[network, i, unit]
        for i in range(layer.shape[1]):
            for unit in range(layer.shape[2]):
                layer[network, i, unit] = activated(layer[network, i, unit] + added[unit], activation)


@kernel(VOID, reads("f4", 3), reads("f4", 2), reads("f4", 2), reads("f4", 2), writes("f4", 2))
def last_layer(layer: Floats, weights: Floats, bias: Floats, offset: Floats, out: Floats) -> None:
    """One number per candidate and network.  (2, n, H), (2, H), (2, 1), (2, 1) → (2, n)"""
    for network in range(layer.shape[0]):
        for i in range(layer.shape[1]):
            total = bias[network, 0] + offset[network, 0]
            for unit in range(layer.shape[2]):
                total += layer[network, i, unit] * weights[network, unit]
            out[network, i] = total
