"""The only feature code: what is known at `now` → Observation (raw, logged) → Inputs (what a network sees).

The frame is DRN §4.1: news 417 = 412 hashed properties + 5 click counts, reader 2065 = 5 windows × (412 + 1),
reader × news 25 = 5 windows × 5 groups of properties, context 32. Added, because a real log shows that they predict
most: exposures, click rates, a 10-minute window, the category's click rate, shown-before, already-read, age, the
reader's interest as a share, and all of it relative to the list.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.catalogue import WINDOWS, Catalogue, column_counts, epoch, slot
from drn.config import Config
from drn.errors import CorruptCheckpoint, SchemaMismatch
from drn.model import InputShape
from drn.readers import Reader
from drn.types import Context, Floats, Inputs, Ints, Observation

SCHEMA = 1  # raised whenever the same observation would give other inputs
W = len(WINDOWS)
READER_WINDOWS = WINDOWS[1:]  # the paper's five
V = len(READER_WINDOWS)
GROUPS = ("provider", "category", "topics", "entities", "words")
WINDOW_NAMES = ("10m", "1h", "6h", "24h", "1w", "1y")
HOURS, WEEKDAYS, DEVICES, SURFACES = 8, 7, 8, 8  # one-hot context; with the list's freshness they are the paper's 32
CONTEXT = HOURS + WEEKDAYS + DEVICES + SURFACES + 1
CONTEXT_OFFSETS = np.array([0, HOURS, HOURS + WEEKDAYS, HOURS + WEEKDAYS + DEVICES])
# DRN §4.1 by name: the news' click counts, the reader × news matches, the news' freshness (there among the context).
PUBLISHED = re.compile(r"clicks_(1h|6h|24h|1w|1y)|match_.*|age")
RECENT = 50  # newest clicks that the reader's mean embedding is made of
INTEREST_PRIOR = 3.0  # clicks: a reader's first ones count as little evidence of interest
# Typical log counts, log rates and log age of a candidate, so that inputs vary around 0 by about 1.  (3W + 2, 1)
CENTRE = np.repeat(np.array([2.5, -2.5, 2.0], np.float32), [2 * W, W + 1, 1])[:, None]
SPREAD = np.repeat(np.array([2.0, 1.0, 2.0], np.float32), [2 * W, W + 1, 1])[:, None]
LOG1P = np.log1p(np.arange(65_536)).astype(np.float32)  # counts reach a network on a log scale


def observe(catalogue: Catalogue, reader: Reader, rows: Ints, context: Context, now: datetime) -> Observation:
    """What is known at `now` about these candidates for this reader.

    Args:
        rows: catalogue rows of the candidates, at least one.  (n,)
    """
    second = epoch(now)
    catalogue.advance(second)
    clicked = reader.click_rows
    profile, totals = reader_profile(catalogue, clicked, [reader.first_since(second - window) for window in READER_WINDOWS])
    return Observation(
        reader=profile,
        reader_totals=totals,
        context=np.array(
            [now.hour * HOURS // 24, now.weekday(), slot(context.device, DEVICES), slot(context.surface, SURFACES)], np.uint8
        ),
        content=catalogue.content.take(rows, axis=0),
        counts=catalogue.counts.take(rows, axis=0),
        category_counts=catalogue.category_counts(rows),
        seen=np.array([reader.times_shown(rows), reader.times_read(rows)]).T,
        age=np.minimum(np.maximum(second - catalogue.published.take(rows), 0), np.iinfo(np.int32).max).astype(np.int32),
        embedding=catalogue.embedding.take(rows, axis=0),
        reader_embedding=mean_embedding(catalogue, clicked[-RECENT:]),
    )


def reader_profile(catalogue: Catalogue, clicked: Ints, starts: list[int]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The properties of the reader's clicks by window, and the clicks by window.  (V, C), (V,)

    The windows are nested, so the counts are those of disjoint stretches of the history, added up from the newest.

    Args:
        clicked: rows of the reader's clicks, oldest first.  (m,)
        starts: index of the first click in each window, the shortest window first.
    """
    totals = len(clicked) - np.array(starts, np.uint16)
    if not totals[-1]:
        return np.zeros((V, catalogue.slots), np.uint16), totals
    slots = catalogue.slots + 1  # the last one stands for empty columns
    lengths = [end - start for start, end in pairwise([*reversed(starts), len(clicked)])]
    shortest = np.repeat(np.arange(V - 1, -1, -1), lengths)  # the shortest window of each click, oldest first
    places = catalogue.content.take(clicked[starts[-1] :], axis=0) + slots * shortest[:, None]
    counts = np.bincount(places.ravel(), minlength=V * slots).astype(np.uint16).reshape(V, slots)[:, :-1]
    return np.add.accumulate(counts, axis=0, dtype=np.uint16), totals


def mean_embedding(catalogue: Catalogue, clicked: Ints) -> NDArray[np.float16]:
    """Mean of the embeddings of these clicks, zeros without any.  (E,)"""
    size = catalogue.embedding.shape[1]
    if not len(clicked) or not size:
        return np.zeros(size, np.float16)
    return np.asarray(catalogue.embedding.take(clicked, axis=0).mean(axis=0, dtype=np.float32), np.float16)


def encode(observation: Observation, config: Config) -> Inputs:
    """The inputs of both networks, a function of the logged observation alone. All lie roughly within ±2.

    Dense inputs are made feature by feature, because a list's mean, spread and order run along one feature.

    Returns:
        reader (R,), content (n, M) and dense (n, D), whose columns `dense_names` lists in order.
    """
    counts = observation.counts.T.astype(np.float32)  # (2W, n)
    rates = click_rates(counts, config)  # (W, n)
    category = click_rates(observation.category_counts.T.astype(np.float32), config)  # (1, n)
    age = np.log(1 + observation.age[None].astype(np.float32) / 3_600)  # (1, n)
    matched, interest = matches(observation, config)  # (5V, n), (5V, n)
    seen = LOG1P.take(observation.seen.T)  # (2, n)
    compared = np.concatenate([np.log(counts + 1), rates, category, age])  # (3W + 2, n)
    dense: list[Floats] = [
        (compared - CENTRE) / SPREAD,
        matched,
        5 * interest,
        2 * seen,
        z_scores(np.concatenate([compared, interest, seen])),
        2 * shares_below(compared) - 1,
    ]
    if config.embedding_size:
        embedding = observation.embedding.T.astype(np.float32)  # (E, n)
        similarity = observation.reader_embedding.astype(np.float32) @ embedding  # (n,)
        dense += [embedding, similarity[None]]
    return Inputs(
        reader=encode_reader(observation, float(age.mean())),
        content=observation.content,
        dense=np.concatenate(dense).T if config.features == "all" else (np.concatenate(dense) * published(config)).T,
    )


def encode_reader(observation: Observation, mean_age: float) -> Floats:
    """[V × C properties as shares of clicks | V totals | one-hot hour, weekday, device, surface | freshness | length].  (R,)"""
    context = np.zeros(CONTEXT + 1, np.float32)
    context[CONTEXT_OFFSETS + observation.context] = 1
    context[-2] = (mean_age - 2) / 2
    context[-1] = (np.log1p(len(observation.age)) - 2.5) / 2
    shares = observation.reader / (observation.reader_totals[:, None] + np.float32(INTEREST_PRIOR))  # (V, C)
    return np.concatenate([shares.ravel(), LOG1P[observation.reader_totals] / 4, context], dtype=np.float32)


def click_rates(counts: Floats, config: Config) -> Floats:
    """Smoothed log click rate per window: log((clicks + a) / (exposures + b)).  (2w, n) → (w, n)"""
    windows = len(counts) // 2
    clicks = counts[:windows] + np.float32(config.rate_prior_clicks)
    exposures = counts[windows:] + np.float32(config.rate_prior_exposures)
    rates: Floats = np.log(clicks / exposures)
    return rates


def matches(observation: Observation, config: Config) -> tuple[Floats, Floats]:
    """How often each group of a candidate's properties occurs among the reader's clicks, by window: log counts and shares.

    The shares are smoothed by INTEREST_PRIOR clicks.  (5V, n), (5V, n)
    """
    n = len(observation.content)
    padded = np.zeros((V, config.content_slots + 1), np.float32)  # an empty column finds the zero
    padded[:, :-1] = observation.reader
    found = padded.take(observation.content.T, axis=1)  # (V, M, n)
    by_group = np.empty((len(GROUPS), V, n), np.float32)
    first = 0
    for group, columns in enumerate(column_counts(config)):
        np.add.reduce(found[:, first : first + columns], axis=1, out=by_group[group])
        first += columns
    shares = by_group / (observation.reader_totals + np.float32(INTEREST_PRIOR))[:, None]  # (5, V, n)
    return np.log(by_group + 1).reshape(-1, n), shares.reshape(-1, n)


def z_scores(features: Floats) -> Floats:
    """Each feature's distance from its mean over the list, in standard deviations, 0 where all are equal, within ±5.  (c, n)"""
    centred: Floats = features - features.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("cn,cn->c", centred, centred) / np.float32(features.shape[1]))
    centred /= np.where(spread > 1e-4, spread, np.float32(np.inf))[:, None]
    np.minimum(centred, 5, out=centred)
    np.maximum(centred, -5, out=centred)
    return centred


def shares_below(features: Floats) -> Floats:
    """The share of the list with a smaller value of each feature; equal values share one.  (c, n)"""
    c, n = features.shape
    order = features.argsort(axis=1) + n * np.arange(c)[:, None]  # places in the flat array
    ordered = features.take(order)
    first = np.zeros((c, n), np.float32)  # share below the first of the equal ones
    first[:, 1:] = np.where(ordered[:, 1:] != ordered[:, :-1], np.arange(1, n) / np.float32(n), 0)
    below = np.empty(c * n, np.float32)
    below[order] = np.maximum.accumulate(first, axis=1)
    return below.reshape(c, n)


def input_shape(config: Config) -> InputShape:
    """R, C and D under this configuration."""
    return InputShape(
        reader=V * config.content_slots + V + CONTEXT + 1,
        content=config.content_slots,
        dense=len(dense_names(config)),
    )


def dense_names(config: Config) -> tuple[str, ...]:
    """A name for each of the D dense inputs, in order."""
    compared = [f"{kind}_{window}" for kind in ("clicks", "exposures", "rate") for window in WINDOW_NAMES]
    compared += ["category_rate_24h", "age"]
    interest = [f"interest_{group}_{window}" for group in GROUPS for window in WINDOW_NAMES[1:]]
    seen = ["shown_before", "already_read"]
    names = compared + [f"match_{group}_{window}" for group in GROUPS for window in WINDOW_NAMES[1:]] + interest + seen
    names += [f"{name}_z" for name in compared + interest + seen] + [f"{name}_below" for name in compared]
    if config.embedding_size:
        names += [f"embedding_{i}" for i in range(config.embedding_size)] + ["embedding_similarity"]
    return tuple(names)


def published(config: Config) -> Floats:
    """1 for each dense input that the paper has, 0 for what was added.  (D, 1)"""
    return np.array([[PUBLISHED.fullmatch(name) is not None] for name in dense_names(config)], np.float32)


def schema_digest(config: Config) -> str:
    """16 hexadecimal digits that change whenever logged observations or trained weights would no longer fit."""
    sizes = {name: getattr(config, name) for name in SCHEMA_PARAMETERS}
    described = json.dumps(
        {"schema": SCHEMA, "windows": (WINDOWS, READER_WINDOWS), "dense": dense_names(config), **sizes}, sort_keys=True
    )
    return hashlib.sha256(described.encode()).hexdigest()[:16]


SCHEMA_PARAMETERS = (
    "provider_slots",
    "category_slots",
    "topic_slots",
    "entity_slots",
    "word_slots",
    "topics_per_article",
    "entities_per_article",
    "words_per_article",
    "embedding_size",
    "features",
    "rate_prior_clicks",
    "rate_prior_exposures",
)

HEADER = struct.Struct("<4sHIHHHIBB")  # magic, schema, n, M, C, E, filled reader slots, wide counts, embeddings present
MAGIC = b"drnO"


def pack(observation: Observation) -> bytes:
    """The observation for the log: little-endian, reader counts sparse, article counts in 16 bits where they all fit."""
    n, columns = observation.content.shape
    filled = np.flatnonzero(observation.reader)
    wide = bool(observation.counts.max(initial=0) > 65_535)
    embedded = bool(observation.embedding.any() or observation.reader_embedding.any())
    header = HEADER.pack(
        MAGIC, SCHEMA, n, columns, observation.reader.shape[1], observation.embedding.shape[1], len(filled), wide, embedded
    )
    arrays = [
        filled.astype("<u2"),
        observation.reader.ravel()[filled].astype("<u2"),
        observation.reader_totals.astype("<u2"),
        observation.context.astype("<u1"),
        observation.content.astype("<u2"),
        observation.counts.astype("<u4" if wide else "<u2"),
        observation.category_counts.astype("<u4"),
        observation.seen.astype("<u2"),
        observation.age.astype("<i4"),
    ]
    if embedded:
        arrays += [observation.embedding.astype("<f2"), observation.reader_embedding.astype("<f2")]
    return header + b"".join([array.tobytes() for array in arrays])


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
        ("<u2", (n, 2)),
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
