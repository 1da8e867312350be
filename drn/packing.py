"""Observations as the bytes that the log keeps of them, which are most of a list's row.

Numbers that are alike lie together in columns, and of each column what is stored is how far its numbers are from the lowest, in
0, 1, 2 or 4 bytes each, the least that holds them. The greatest distance of that size stands for the column's highest number,
which is often far from all others: a column of content that is empty in some articles marks that by one more than the last slot.

Shapes: c columns of n numbers, M content columns, f reader counts that are not 0.
"""

import struct

import numpy as np
from numba import literal_unroll
from numpy.typing import NDArray

from drn.errors import CorruptCheckpoint, InvalidInput, SchemaMismatch
from drn.features import SCHEMA, V, W
from drn.kernels import INT, kernel, reads, tuple_of, writes
from drn.types import Observation

HEADER = struct.Struct("<4sHIHHHIB")  # magic, schema, n, M, C, E, f, embeddings present
MAGIC = b"drnP"
CONTEXT, SEEN = 4, 7  # numbers
HEAD = 9  # bytes before a column's distances: its lowest and highest number, and how many bytes each distance takes
BLOCK = 64  # counts of a reader
MOST = 20_000_000  # numbers that are known of candidates: more is damage, and not to be given memory
Numbers = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


def pack(observation: Observation) -> bytes:
    """The observation for the log: little-endian, of the reader's counts only those that are not 0.

    Raises:
        InvalidInput: the observation's arrays do not fit each other, or are more than `unpack` takes.
    """
    n, content = observation.content.shape
    shapes = observation.counts.shape, observation.category_counts.shape, observation.seen.shape, observation.age.shape
    if shapes != ((n, 2 * W), (n, 2), (n, SEEN), (n,)):  # the loops below do not look
        raise InvalidInput("the observation's arrays do not fit each other")
    slots, size = observation.reader.shape[1], observation.embedding.shape[1]
    if n * max(size, known(content)) > MOST:
        raise InvalidInput(f"{n} candidates are too many to be logged")
    embedded = any(part.tobytes().strip(b"\0") for part in (observation.reader_embedding, observation.embedding))
    columns = np.empty((2 + known(content)) * HEAD + 4 * (2 * observation.reader.size + known(content) * n), np.uint8)
    clicked, used = squeeze(
        observation.reader,
        observation.content,
        observation.counts,
        observation.category_counts,
        observation.seen,
        observation.age,
        columns,
    )
    parts = [
        HEADER.pack(MAGIC, SCHEMA, n, content, slots, size, clicked, embedded),
        observation.reader_totals.astype("<u2", copy=False).tobytes(),
        observation.context.tobytes(),
        columns[:used].tobytes(),
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
    begin = HEADER.size + 2 * V + CONTEXT  # of the columns
    if len(data) < begin or not data.startswith(MAGIC):
        raise CorruptCheckpoint("these bytes are not a packed observation")
    _, schema, n, content, slots, size, filled, embedded = HEADER.unpack_from(data)
    if schema != SCHEMA:
        raise SchemaMismatch(f"the observation was logged under feature schema {schema}; this is schema {SCHEMA}")
    damaged = CorruptCheckpoint(f"a packed observation of {len(data)} bytes is damaged")
    rest = 2 * (n + 1) * size if embedded else 0
    if n * max(size, known(content)) > MOST or filled > V * slots or begin + HEAD * (2 + known(content)) + rest > len(data):
        raise damaged  # before memory is asked for
    clicked, columns = np.empty((2, filled), np.uint32), np.empty((known(content), n), np.uint32)
    numbers = np.frombuffer(data, np.uint8)
    end = stretch(numbers, stretch(numbers, begin, clicked), columns)
    if end < 0 or end + rest != len(data):
        raise damaged
    embeddings = np.frombuffer(data, "<f2", offset=end).copy()  # a copy, as of all else: what is left does not keep `data`
    counts, categories, seen = content + 2 * W, content + 2 * W + 2, content + 2 * W + 2 + SEEN
    return Observation(
        reader=profile(clicked, slots),
        reader_totals=np.frombuffer(data, "<u2", V, HEADER.size).copy(),
        context=numbers[begin - CONTEXT : begin].copy(),
        content=columns[:content].T.astype(np.uint16, order="C"),
        counts=np.ascontiguousarray(columns[content:counts].T),
        category_counts=np.ascontiguousarray(columns[counts:categories].T),
        seen=columns[categories:seen].T.astype(np.uint16, order="C"),
        age=columns[seen].astype(np.int32),
        embedding=embeddings[:-size].reshape(n, size) if embedded else np.zeros((n, size), np.float16),
        reader_embedding=embeddings[-size:] if embedded else np.zeros(size, np.float16),
    )


def known(content: int) -> int:
    """How many things are known of a candidate: its content, counts, its category's, what its reader has seen of it, its age."""
    return content + 2 * W + 2 + SEEN + 1


@kernel(INT, reads("u2", 2), writes("u4", 2))
def filled_slots(profile: NDArray[np.uint16], filled: Numbers) -> int:
    """The f counts that are not 0, window by window: how far each lies behind the one before, and what it is.  (V, C) → (2, ≥ f)

    f is returned. Nearly all are 0: in vector registers many are found to be at once.
    """
    counts = profile.reshape(-1)
    found, before = 0, 0
    for first in range(0, len(counts), BLOCK):
        block = counts[first : first + BLOCK]
        if not block.sum():
            continue
        for i in range(len(block)):
            if block[i]:
                filled[0, found], filled[1, found] = first + i - before, block[i]
                before = first + i
                found += 1
    return found


def profile(filled: Numbers, slots: int) -> NDArray[np.uint16]:
    """The counts whose `filled_slots` these are.  (2, f) → (V, C)"""
    places = filled[0].cumsum(dtype=np.int64)
    if len(places) and places[-1] >= V * slots:
        raise CorruptCheckpoint("a packed observation has clicks in a slot that there is none of")
    counts = np.zeros(V * slots, np.uint16)
    counts[places] = filled[1]
    return counts.reshape(V, slots)


@kernel(INT, reads("u4", 1), writes("u1", 1), INT)
def squeeze_column(numbers: Numbers, out: Bytes, at: int) -> int:
    """Writes a column at this place of `out`; where the next one begins.  (n,), (≥ at + HEAD + 4n,)"""
    n = len(numbers)
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(n):
        low, high = min(low, numbers[i]), max(high, numbers[i])
    far = high - low if high > low else np.uint32(0)  # there may be none
    if far >= 0xFF:  # what matters is the greatest distance but the highest number's
        far = np.uint32(0)
        for i in range(n):
            far = max(far, np.uint32(0) if numbers[i] == high else numbers[i] - low)
    size = 0 if low >= high else 1 if far < 0xFF else 2 if far < 0xFFFF else 4
    for byte in range(4):
        out[at + byte] = np.uint8(low >> np.uint32(8 * byte))
        out[at + 4 + byte] = np.uint8(high >> np.uint32(8 * byte))
    out[at + 8] = size
    at += HEAD
    distances = out[at : at + size * n]
    if size == 1:
        for i in range(n):
            distances[i] = np.uint8(0xFF) if numbers[i] == high else np.uint8(numbers[i] - low)
    elif size == 2:
        for i in range(n):
            distance = np.uint32(0xFFFF) if numbers[i] == high else numbers[i] - low
            distances[2 * i] = np.uint8(distance)
            distances[2 * i + 1] = np.uint8(distance >> np.uint32(8))
    elif size == 4:
        for i in range(n):
            distance = numbers[i] - low
            for byte in range(4):
                distances[4 * i + byte] = np.uint8(distance >> np.uint32(8 * byte))
    return at + size * n


@kernel(
    tuple_of(INT, INT),
    reads("u2", 2),
    reads("u2", 2),
    reads("u4", 2),
    reads("u4", 2),
    reads("u2", 2),
    reads("i4", 1),
    writes("u1", 1),
)
def squeeze(
    profile: NDArray[np.uint16],
    content: NDArray[np.uint16],
    counts: Numbers,
    category_counts: Numbers,
    seen: NDArray[np.uint16],
    age: NDArray[np.int32],
    out: Bytes,
) -> tuple[int, int]:
    """Writes all columns one after the other; how many of the reader's counts are not 0, and how many bytes they all are.

    (V, C), (n, M), (n, 2W), (n, 2), (n, 7), (n,) → (≥ HEAD · c + 4 · all numbers,)
    """
    filled = np.empty((2, profile.size), np.uint32)
    clicked = filled_slots(profile, filled)
    at = squeeze_column(filled[1, :clicked], out, squeeze_column(filled[0, :clicked], out, 0))
    n = len(age)
    column = np.empty(n, np.uint32)
    for table in literal_unroll((content, counts, category_counts, seen)):  # they are of two types
        for place in range(table.shape[1]):
            for i in range(n):
                column[i] = table[i, place]
            at = squeeze_column(column, out, at)
    for i in range(n):
        column[i] = np.uint32(age[i])
    return clicked, squeeze_column(column, out, at)


@kernel(INT, reads("u1", 1), INT, writes("u4", 2))
def stretch(data: Bytes, at: int, columns: Numbers) -> int:
    """Fills the columns (c, n) with what `squeeze` wrote from this place on; where that ends, or −1 if it is damaged or short."""
    n = columns.shape[1]
    for column in range(len(columns)):
        if at < 0 or at + HEAD > len(data):
            return -1
        low, high = np.uint32(0), np.uint32(0)
        for byte in range(4):
            low |= np.uint32(data[at + byte]) << np.uint32(8 * byte)
            high |= np.uint32(data[at + 4 + byte]) << np.uint32(8 * byte)
        size = np.int64(data[at + 8])
        at += HEAD
        if size == 3 or size > 4 or at + size * n > len(data):
            return -1
        greatest = np.uint32((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))
        for i in range(n):
            distance = np.uint32(0)
            for byte in range(size):
                distance |= np.uint32(data[at + size * i + byte]) << np.uint32(8 * byte)
            columns[column, i] = high if size < 4 and distance == greatest else low + distance
        at += size * n
    return at
