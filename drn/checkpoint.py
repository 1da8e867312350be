"""Weights as bytes and back, and the digest that names them. safetensors, never pickle: loading runs no code."""

import hashlib
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save

from drn.errors import CorruptCheckpoint, InvalidInput, SchemaMismatch
from drn.model import freeze
from drn.types import Weights


def dump(weights: Weights) -> bytes:
    """One network's tensors in the safetensors format; equal weights give equal bytes.

    Raises:
        InvalidInput: a tensor is not finite, so that nobody could load it.
    """
    if broken := [name for name, tensor in weights.items() if not np.isfinite(tensor).all()]:
        raise InvalidInput(f"tensor {broken[0]} holds values that are not finite")
    return save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})


def load(data: bytes, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Weights:
    """The read-only weights in `data`, checked against `shapes` (`drn.model.weight_shapes`) when these are given.

    Raises:
        CorruptCheckpoint: the bytes are no safetensors, or a tensor is not finite float32.
        SchemaMismatch: the tensors are not those that `shapes` asks for.
    """
    try:
        tensors = parse(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype that numpy does not have
        raise CorruptCheckpoint(f"{len(data)} bytes are not a checkpoint: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise CorruptCheckpoint(f"tensor {name} is {tensor.dtype}, expected float32")
        if not np.isfinite(tensor).all():
            raise CorruptCheckpoint(f"tensor {name} holds values that are not finite")
    if shapes is not None:
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if wrong := [name for name in sorted(shapes.keys() | found.keys()) if shapes.get(name) != found.get(name)]:
            name = wrong[0]
            raise SchemaMismatch(f"tensor {name} is {found.get(name)}, expected {shapes.get(name)} ({len(wrong)} tensors differ)")
    return freeze(tensors)


def digest(weights: Weights) -> str:
    """sha256 over names, shapes and little-endian values: the same weights have the same digest on any machine."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = np.ascontiguousarray(weights[name], "<f4")
        total.update(f"{name} {tensor.shape}\n".encode())
        total.update(tensor.tobytes())
    return total.hexdigest()
