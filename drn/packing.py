"""Observations as the bytes that the log keeps of them."""

import struct
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.errors import CorruptCheckpoint, SchemaMismatch
from drn.features import SCHEMA, V, W
from drn.kernels import BOOL, kernel, reads, tuple_of, writes
from drn.types import Observation

HEADER = struct.Struct("<4sHIHHHIBB")  # magic, schema, n, M, C, E, filled reader slots, wide counts, embeddings present
MAGIC = b"drnO"


def pack(observation: Observation) -> bytes:
    """The observation for the log: little-endian, reader counts sparse, article counts in 16 bits where they all fit."""
    n, columns = observation.content.shape
    filled, values = filled_slots(observation.reader)
    counts = np.empty(observation.counts.shape, np.uint16)
    wide = not narrowed(observation.counts, counts)
    embedded = any(part.tobytes().strip(b"\0") for part in (observation.reader_embedding, observation.embedding))
    header = HEADER.pack(
        MAGIC, SCHEMA, n, columns, observation.reader.shape[1], observation.embedding.shape[1], len(filled), wide, embedded
    )
    arrays: list[tuple[NDArray[Any], str]] = [
        (filled, "<u2"),
        (values, "<u2"),
        (observation.reader_totals, "<u2"),
        (observation.context, "<u1"),
        (observation.content, "<u2"),
        (observation.counts, "<u4") if wide else (counts, "<u2"),
        (observation.category_counts, "<u4"),
        (observation.seen, "<u2"),
        (observation.age, "<i4"),
    ]
    if embedded:
        arrays += [(observation.embedding, "<f2"), (observation.reader_embedding, "<f2")]
    return b"".join([header, *[np.ascontiguousarray(array, kind).data for array, kind in arrays]])


@kernel(BOOL, reads("u4", 2), writes("u2", 2))
def narrowed(counts: NDArray[np.uint32], out: NDArray[np.uint16]) -> bool:
    """Copies the counts into 16 bits each, and says whether all fit there.  (n, c) → (n, c)"""
    bits = np.uint32(0)
    for i in range(counts.shape[0]):
        for column in range(counts.shape[1]):
            bits |= counts[i, column]
            out[i, column] = np.uint16(counts[i, column])
    return bool(bits < 65_536)


@kernel(tuple_of(writes("u2", 1), writes("u2", 1)), reads("u2", 2))
def filled_slots(profile: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Where counts are not 0 among all of them laid end to end, and what they are there.  (V, C) → (f,), (f,)"""
    windows, slots = profile.shape
    places, values = np.empty(windows * slots, np.uint16), np.empty(windows * slots, np.uint16)
    filled = 0
    for window in range(windows):
        for place in range(slots):
            if profile[window, place]:
                places[filled], values[filled] = window * slots + place, profile[window, place]
                filled += 1
    return places[:filled], values[:filled]


def unpack(data: bytes) -> Observation:
    """Reads what `pack` wrote.

    Raises:
        CorruptCheckpoint: the bytes are not a packed observation.
        SchemaMismatch: they were packed under another feature schema.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise CorruptCheckpoint("these bytes are not a packed observation")
    _, schema, n, columns, slots, size, filled, wide, embedded = HEADER.unpack_from(data)
    if schema != SCHEMA:
        raise SchemaMismatch(f"the observation was logged under feature schema {schema}; this is schema {SCHEMA}")
    shapes = [
        ("<u2", (filled,)),
        ("<u2", (filled,)),
        ("<u2", (V,)),
        ("<u1", (4,)),
        ("<u2", (n, columns)),
        ("<u4" if wide else "<u2", (n, 2 * W)),
        ("<u4", (n, 2)),
        ("<u2", (n, 7)),
        ("<i4", (n,)),
    ]
    if embedded:
        shapes += [("<f2", (n, size)), ("<f2", (size,))]
    places, values, totals, context, content, counts, category_counts, seen, age, *embeddings = split(data, shapes)
    reader = np.zeros(V * slots, np.uint16)
    reader[places] = values
    return Observation(
        reader=reader.reshape(V, slots),
        reader_totals=totals,
        context=context,
        content=content,
        counts=counts.astype(np.uint32),
        category_counts=category_counts,
        seen=seen,
        age=age,
        embedding=embeddings[0] if embedded else np.zeros((n, size), np.float16),
        reader_embedding=embeddings[1] if embedded else np.zeros(size, np.float16),
    )


def split(data: bytes, shapes: list[tuple[str, tuple[int, ...]]]) -> Iterator[NDArray[Any]]:
    """The arrays of these dtypes and shapes that lie one after the other behind the header."""
    sizes = [prod(shape) * np.dtype(kind).itemsize for kind, shape in shapes]
    if HEADER.size + sum(sizes) != len(data):
        raise CorruptCheckpoint(f"a packed observation of {len(data)} bytes should have {HEADER.size + sum(sizes)}")
    offset = HEADER.size
    for (kind, shape), size in zip(shapes, sizes, strict=True):
        yield np.frombuffer(data, kind, prod(shape), offset).reshape(shape)
        offset += size
