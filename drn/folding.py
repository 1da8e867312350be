"""The first layer's sum over the dense inputs, without making them.

A feature's own column and its distance from the list's mean are both linear in x − mean, so they need one weight per unit: with
a = 1 / spread and s = 1 / its standard deviation in the list,

    w·(x − centre)·a + v·(x − mean)·s = (w·a + v·s)·(x − mean) + w·(mean − centre)·a

What all candidates have in common only adds to what they share, and many features are the same for all: nobody was shown any of
them before, a reader did not click within the hour. Two thirds of the product's columns or less are left. Distances beyond ±5 are
cut afterwards, because they are few.

Shapes: n candidates, F features, P places, D dense columns, 2H units.
"""

import numpy as np
from numpy.typing import NDArray

from drn.kernels import BOOL, INT, VOID, Doubles, kernel, reads, writes
from drn.types import Floats, Measured


def folded(measured: Measured, weights: Floats, shared: Floats) -> Floats:
    """`inputs.dense @ weights` without what all candidates have in common, which is added to `shared`, and embeddings.  (n, 2H)

    Args:
        weights: of the dense inputs.  (D, 2H)
        shared: of which the first 2H are changed in place.
    """
    values, mean, scale = measured.values, measured.mean, measured.scale
    below, likeness, layout = measured.below, measured.likeness, measured.layout
    features, n = values.shape
    most, width = features + len(below) + len(likeness), weights.shape[1]
    columns, folds = np.empty((most, n), np.float32), np.empty((most, width), np.float32)
    made = (layout.centre, layout.spread, layout.distances, layout.places, layout.kept)
    used = fold(values, mean, scale, below, likeness, *made, weights, columns, folds, shared)
    first: Floats = columns[:used].T @ folds[:used]
    cut(values, mean, scale, layout.distances, layout.kept, weights, first)
    return first


@kernel(BOOL, reads("f4", 1))
def varies(numbers: Floats) -> bool:
    """Whether they are not all equal. Counts them, because that runs in vector registers."""
    others = 0
    for i in range(len(numbers)):
        others += numbers[i] != numbers[0]
    return others > 0


@kernel(INT, reads("f4", 2), reads("f4", 1), reads("f4", 2), INT, writes("f4", 2), writes("f4", 2), writes("f4", 1))
def fold_rest(rows: Floats, kept: Floats, weights: Floats, used: int, columns: Floats, folds: Floats, shared: Floats) -> int:
    """`fold` for inputs that are columns as they are.  (c, n), (≥ c,), (≥ c, 2H)"""
    for row in range(len(rows)):
        differ = varies(rows[row])
        alike = np.float32(0) if differ else kept[row] * rows[row, 0]
        for unit in range(weights.shape[1]):
            shared[unit] += alike * weights[row, unit]
            folds[used, unit] = kept[row] * weights[row, unit]
        if differ:
            for i in range(rows.shape[1]):
                columns[used, i] = rows[row, i]
            used += 1
    return used


@kernel(
    INT,
    reads("f4", 2),
    reads("f8", 1),
    reads("f8", 1),
    reads("f4", 2),
    reads("f4", 2),
    reads("f4", 1),
    reads("f4", 1),
    reads("i8", 1),
    INT,
    reads("f4", 1),
    reads("f4", 2),
    writes("f4", 2),
    writes("f4", 2),
    writes("f4", 1),
)
def fold(
    values: Floats,
    mean: Doubles,
    scale: Doubles,
    below: Floats,
    likeness: Floats,
    centre: Floats,
    spread: Floats,
    distances: NDArray[np.int64],
    places: int,
    kept: Floats,
    weights: Floats,
    columns: Floats,
    folds: Floats,
    shared: Floats,
) -> int:
    """Fills the product's columns (·, n) and their weights (·, 2H), adds what all have in common; how many columns there are.

    Args:
        mean, scale: each feature's mean and 1 / standard deviation in the list.  (F,), (F,)
    """
    used = 0
    for f in range(len(values)):
        own = kept[f] / spread[f]
        offset = np.float32((mean[f] - centre[f]) * own)
        z = distances[f] if distances[f] >= 0 else f
        far = np.float32(scale[f] * kept[z]) if z != f else np.float32(0)
        for unit in range(weights.shape[1]):
            shared[unit] += offset * weights[f, unit]
            folds[used, unit] = own * weights[f, unit] + far * weights[z, unit]
        if varies(values[f]):
            for i in range(values.shape[1]):
                columns[used, i] = np.float32(values[f, i] - mean[f])
            used += 1
    used = fold_rest(below, kept[places:], weights[places:], used, columns, folds, shared)
    last = len(kept) - 1  # the embeddings' own columns, before it, are in the articles' parts
    return fold_rest(likeness, kept[last:], weights[last:], used, columns, folds, shared)


@kernel(
    VOID,
    reads("f4", 2),
    reads("f8", 1),
    reads("f8", 1),
    reads("i8", 1),
    reads("f4", 1),
    reads("f4", 2),
    writes("f4", 2),
)
def cut(
    values: Floats,
    mean: Doubles,
    scale: Doubles,
    distances: NDArray[np.int64],
    kept: Floats,
    weights: Floats,
    first: Floats,
) -> None:
    """Takes off the first layer's sums (n, 2H) what distances beyond ±5 have put there."""
    n, width = first.shape
    if n <= 26:  # no distance among n numbers exceeds √(n − 1)
        return
    for f in range(len(values)):
        column = distances[f]
        if column < 0 or kept[column] == 0:
            continue
        middle, near = np.float32(mean[f]), np.float32(4.999 / scale[f] if scale[f] > 0 else np.inf)
        far = 0  # or nearly so: counted in vector registers, since in most features there is none
        for i in range(n):
            far += abs(values[f, i] - middle) > near
        if not far:
            continue
        for i in range(n):
            z = (values[f, i] - mean[f]) * scale[f]
            if abs(z) > 5:
                excess = np.float32(z - 5 if z > 0 else z + 5)
                for unit in range(width):
                    first[i, unit] -= excess * weights[column, unit]
