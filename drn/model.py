"""The shape of the two-tower network, as numpy weights: what is served, stored and trained. [DRN §4.2, Fig. 4]

`Q(s,a) = V(s) + A(s,a)`. V sees the reader and context features; A sees all groups. The first layer of A is linear
in its groups, so it splits exactly into a reader part, a content part (rows of a table) and a dense part. Its second layer
also sees the mean of the first one over the list: the same article is worth another place among other articles.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from drn.config import Config
from drn.errors import SchemaMismatch
from drn.types import Floats, Weights


@dataclass(frozen=True, slots=True)
class InputShape:
    """R reader inputs, C content slots, D dense inputs; a group of size 0 has no weights."""

    reader: int
    content: int
    dense: int


def weight_shapes(shape: InputShape, config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor of one network by name: `(inputs, units)` for matrices, `(units,)` for biases."""
    groups = {"reader": shape.reader, "content": shape.content, "dense": shape.dense}
    shapes = dict(tower_shapes("advantage", groups, config.advantage_layers))
    if config.pools_lists:
        shapes["advantage.list"] = config.advantage_layers[:2]
    if shape.reader:
        shapes |= dict(tower_shapes("value", {"reader": shape.reader}, config.value_layers))
    return shapes


def tower_shapes(tower: str, groups: Mapping[str, int], layers: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for group, size in groups.items():
        if size:
            yield f"{tower}.{group}", (size, layers[0])
    yield f"{tower}.bias", (layers[0],)
    for i, (inputs, units) in enumerate(pairwise(layers), start=1):
        yield f"{tower}.{i}.weight", (inputs, units)
        yield f"{tower}.{i}.bias", (units,)
    yield f"{tower}.out.weight", (layers[-1],)
    yield f"{tower}.out.bias", (1,)


def initial_weights(shape: InputShape, config: Config, rng: np.random.Generator) -> Weights:
    """Uniform in ±1/√fan-in of each group, biases zero: an untrained network ranks almost by chance.

    Beside dense inputs, what A sees of reader and content begins at zero: most of their one-hot properties are met so seldom that
    whatever their weights began with would stay, as noise. What it sees of the list begins at zero as well.
    """
    silent = {"advantage.list"} | ({"advantage.reader", "advantage.content"} if shape.dense else set())

    def draw(name: str, size: tuple[int, ...]) -> Floats:
        if name.endswith("bias") or name in silent:
            return np.zeros(size, np.float32)
        bound = size[0] ** -0.5
        return rng.uniform(-bound, bound, size).astype(np.float32)

    return freeze({name: draw(name, size) for name, size in weight_shapes(shape, config).items()})


def freeze(weights: Mapping[str, Floats]) -> Weights:
    """Read-only float32 copies, so that no holder of a network can change it under another."""
    frozen = {}
    for name, tensor in weights.items():
        frozen[name] = np.array(tensor, np.float32)
        frozen[name].setflags(write=False)
    return frozen


def is_finite(weights: Weights) -> bool:
    """Whether every weight is a number that can be reckoned with."""
    return all(bool(np.isfinite(tensor).all()) for tensor in weights.values())


def check_shapes(weights: Weights, shape: InputShape, config: Config) -> None:
    """Raises SchemaMismatch unless `weights` are exactly the tensors that `shape` and `config` ask for."""
    wanted = weight_shapes(shape, config)
    found = {name: tensor.shape for name, tensor in weights.items()}
    if wrong := [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]:
        name = wrong[0]
        raise SchemaMismatch(f"tensor {name} is {found.get(name)}, expected {wanted.get(name)} ({len(wrong)} tensors differ)")
