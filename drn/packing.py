"""Observations as the bytes that the log keeps of them, which are most of a list's row.

Numbers that are alike lie together in columns, and of each column what is stored is how far its numbers are from the lowest, in
0, 1, 2 or 4 bytes each, the least that holds them. The greatest distance of that size stands for the column's highest number,
which is often far from all others: a column of content that is empty in some articles marks that by one more than the last slot.

Shapes: c columns of n numbers, M content columns, f reader counts that are not 0.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.errors import CorruptCheckpoint, SchemaMismatch
from drn.features import SCHEMA, V, W
from drn.kernels import INT, VOID, kernel, reads, writes
from drn.types import Observation

HEADER = struct.Struct("<4sHIHHHIB")  # magic, schema, n, M, C, E, f, embeddings present
MAGIC = b"drnP"
CONTEXT = 4  # numbers
SIZES = frozenset((0, 1, 2, 4))  # bytes
MOST = 1_000_000  # candidates: more is damage, and not to be given memory
Numbers = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


def pack(observation: Observation) -> bytes:
    """The observation for the log: little-endian, of the reader's counts only those that are not 0."""
    n, content = observation.content.shape
    slots, size = observation.reader.shape[1], observation.embedding.shape[1]
    reader = filled_slots(observation.reader)
    embedded = any(part.tobytes().strip(b"\0") for part in (observation.reader_embedding, observation.embedding))
    parts = [
        HEADER.pack(MAGIC, SCHEMA, n, content, slots, size, reader.shape[1], embedded),
        observation.reader_totals.astype("<u2", copy=False).tobytes(),
        observation.context.tobytes(),
        *squeezed(reader),
        *squeezed(candidate_columns(observation)),
    ]
    if embedded:
        parts += [array.astype("<f2", copy=False).tobytes() for array in (observation.embedding, observation.reader_embedding)]
    return b"".join(parts)


def unpack(data: bytes) -> Observation:
    """Reads what `pack` wrote.

    Raises:
        CorruptCheckpoint: the bytes are not a packed observation.
        SchemaMismatch: they were packed under another feature schema.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise CorruptCheckpoint("these bytes are not a packed observation")
    _, schema, n, content, slots, size, filled, embedded = HEADER.unpack_from(data)
    if schema != SCHEMA:
        raise SchemaMismatch(f"the observation was logged under feature schema {schema}; this is schema {SCHEMA}")
    if n > MOST:
        raise CorruptCheckpoint(f"a packed observation of {n} candidates")
    rest = Rest(data, HEADER.size)
    totals, context = rest.take("<u2", V), rest.take("<u1", CONTEXT)
    reader = profile(rest.columns(2, filled), slots)
    counts, categories, seen = content + 2 * W, content + 2 * W + 2, content + 2 * W + 9
    known = rest.columns(seen + 1, n)
    embedding = rest.take("<f2", n * size if embedded else 0)
    of_reader = rest.take("<f2", size if embedded else 0)
    rest.end()
    return Observation(
        reader=reader,
        reader_totals=totals,
        context=context,
        content=known[:content].T.astype(np.uint16, order="C"),
        counts=np.ascontiguousarray(known[content:counts].T),
        category_counts=np.ascontiguousarray(known[counts:categories].T),
        seen=known[categories:seen].T.astype(np.uint16, order="C"),
        age=known[seen].view(np.int32),
        embedding=embedding.reshape(n, size) if embedded else np.zeros((n, size), np.float16),
        reader_embedding=of_reader if embedded else np.zeros(size, np.float16),
    )


def candidate_columns(observation: Observation) -> Numbers:
    """What is known of the candidates, a column for each thing.  (M + 2W + 10, n)"""
    n, content = observation.content.shape
    counts, categories, seen = content + 2 * W, content + 2 * W + 2, content + 2 * W + 9
    columns = np.empty((seen + 1, n), np.uint32)
    columns[:content] = observation.content.T
    columns[content:counts] = observation.counts.T
    columns[counts:categories] = observation.category_counts.T
    columns[categories:seen] = observation.seen.T
    columns[seen] = observation.age
    return columns


@kernel(writes("u4", 2), reads("u2", 2))
def filled_slots(profile: NDArray[np.uint16]) -> Numbers:
    """The counts that are not 0, window by window: how far each lies behind the one before, and what it is.  (V, C) → (2, f)"""
    windows, slots = profile.shape
    found = np.empty((2, windows * slots), np.uint32)
    filled, before = 0, 0
    for window in range(windows):
        for slot in range(slots):
            if profile[window, slot]:
                place = window * slots + slot
                found[0, filled], found[1, filled] = place - before, profile[window, slot]
                before = place
                filled += 1
    return found[:, :filled].copy()


def profile(filled: Numbers, slots: int) -> NDArray[np.uint16]:
    """The counts whose `filled_slots` these are.  (2, f) → (V, C)"""
    places = filled[0].cumsum(dtype=np.int64)
    if len(places) and places[-1] >= V * slots:
        raise CorruptCheckpoint("a packed observation has clicks in a slot that there is none of")
    counts = np.zeros(V * slots, np.uint16)
    counts[places] = filled[1]
    return counts.reshape(V, slots)


def squeezed(columns: Numbers) -> tuple[bytes, bytes, bytes, bytes]:
    """Each column's lowest number, its highest, the bytes that its numbers take, and all its numbers' distances.  (c, n)"""
    lowest, highest, sizes = (
        np.empty(len(columns), np.uint32),
        np.empty(len(columns), np.uint32),
        np.empty(len(columns), np.uint8),
    )
    distances = np.empty(4 * columns.size, np.uint8)
    used = squeeze(columns, lowest, highest, sizes, distances)
    limits = lowest.astype("<u4", copy=False), highest.astype("<u4", copy=False)
    return limits[0].tobytes(), limits[1].tobytes(), sizes.tobytes(), distances[:used].tobytes()


@kernel(INT, reads("u4", 2), writes("u4", 1), writes("u4", 1), writes("u1", 1), writes("u1", 1))
def squeeze(columns: Numbers, lowest: Numbers, highest: Numbers, sizes: Bytes, distances: Bytes) -> int:
    """Fills what `squeezed` returns; how many bytes the distances are.  (c, n), (c,), (c,), (c,), (≥ 4cn,)"""
    used, n = 0, columns.shape[1]
    for column in range(len(columns)):
        numbers = columns[column]
        low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
        for i in range(n):
            low, high = min(low, numbers[i]), max(high, numbers[i])
        far = high - low
        if far >= 0xFF:  # what matters is the greatest distance but the highest number's
            far = np.uint32(0)
            for i in range(n):
                far = max(far, np.uint32(0) if numbers[i] == high else numbers[i] - low)
        lowest[column], highest[column] = low, high
        if low >= high:  # or there are none
            sizes[column] = 0
        elif far < 0xFF:
            sizes[column] = 1
            for i in range(n):
                distances[used + i] = np.uint8(0xFF) if numbers[i] == high else np.uint8(numbers[i] - low)
        elif far < 0xFFFF:
            sizes[column] = 2
            for i in range(n):
                distance = np.uint32(0xFFFF) if numbers[i] == high else numbers[i] - low
                distances[used + 2 * i] = np.uint8(distance)
                distances[used + 2 * i + 1] = np.uint8(distance >> np.uint32(8))
        else:
            sizes[column] = 4
            for i in range(n):
                distance = numbers[i] - low
                for byte in range(4):
                    distances[used + 4 * i + byte] = np.uint8(distance >> np.uint32(8 * byte))
        used += sizes[column] * n
    return used


@kernel(VOID, reads("u4", 1), reads("u4", 1), reads("u1", 1), reads("u1", 1), writes("u4", 2))
def stretch(lowest: Numbers, highest: Numbers, sizes: Bytes, distances: Bytes, columns: Numbers) -> None:
    """Fills the columns (c, n) that were `squeezed` into these, which must be of the right length."""
    used, n = 0, columns.shape[1]
    for column in range(len(columns)):
        size = sizes[column]
        greatest = np.uint32((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))
        for i in range(n):
            distance = np.uint32(0)
            for byte in range(size):
                distance |= np.uint32(distances[used + size * i + byte]) << np.uint32(8 * byte)
            columns[column, i] = highest[column] if size < 4 and distance == greatest else lowest[column] + distance
        used += size * n


class Rest:
    """What is left to read of a packed observation."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self._offset = data, offset

    def take(self, kind: str, count: int) -> NDArray[Any]:
        """The next numbers.

        Raises:
            CorruptCheckpoint: there are fewer.
        """
        end = self._offset + count * np.dtype(kind).itemsize
        if end > len(self._data):
            raise CorruptCheckpoint(f"a packed observation of {len(self._data)} bytes should have {end} or more")
        found = np.frombuffer(self._data, kind, count, self._offset)
        self._offset = end
        return found

    def columns(self, count: int, n: int) -> Numbers:
        """The next columns of so many numbers each.  (c, n)

        Raises:
            CorruptCheckpoint: there are fewer, or their sizes are none of `squeezed` ones.
        """
        lowest, highest, sizes = self.take("<u4", count), self.take("<u4", count), self.take("<u1", count)
        if not SIZES.issuperset(sizes.tobytes()):
            raise CorruptCheckpoint("a packed observation has numbers of a size that there is none of")
        columns = np.empty((count, n), np.uint32)
        stretch(lowest, highest, sizes, self.take("<u1", sum(sizes.tobytes()) * n), columns)
        return columns

    def end(self) -> None:
        """
        Raises:
            CorruptCheckpoint: something is left.
        """
        if self._offset < len(self._data):
            raise CorruptCheckpoint(f"a packed observation of {len(self._data)} bytes should have {self._offset}")
