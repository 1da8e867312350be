"""The only feature code: what is known at `now` → Observation (raw, logged) → Measured → Inputs (what a network sees).

The frame is DRN §4.1: news 417 = 412 hashed properties + 5 click counts, reader 2065 = 5 windows × (412 + 1),
reader × news 25 = 5 windows × 5 groups of properties, context 32. Added, because a real log shows that they predict
most: exposures, click rates, a 10-minute window, the category's click rate, shown-before, already-read, age, the
reader's interest as a share, and all of it relative to the list.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drn.catalogue import READER_WINDOWS, WINDOWS, Catalogue, column_counts, epoch, slot
from drn.config import Config
from drn.errors import InvalidInput
from drn.feature_rows import raw_features, relative_features, standardise, z_scores
from drn.kernels import sorted_keys
from drn.model import InputShape
from drn.observation_rows import observe_list, products
from drn.readers import Reader
from drn.types import Context, Floats, Inputs, Ints, Layout, Measured, Observation

SCHEMA = 2  # raised whenever the same observation would give other inputs
W = len(WINDOWS)
V = len(READER_WINDOWS)
READER_SECONDS = np.array(READER_WINDOWS)  # (V,)
GROUPS = ("provider", "category", "topics", "entities", "words")
WINDOW_NAMES = ("10m", "1h", "6h", "24h", "1w", "1y")
HOURS, WEEKDAYS, DEVICES, SURFACES = 8, 7, 8, 8  # one-hot context; with the list's freshness they are the paper's 32
CONTEXT = HOURS + WEEKDAYS + DEVICES + SURFACES + 1
CONTEXT_OFFSETS = np.array([0, HOURS, HOURS + WEEKDAYS, HOURS + WEEKDAYS + DEVICES])
# DRN §4.1 by name: the news' click counts, the reader × news matches, the news' freshness (there among the context).
PUBLISHED = re.compile(r"clicks_(1h|6h|24h|1w|1y)|match_.*|age")
INTEREST_PRIOR = 3.0  # clicks: a reader's first ones count as little evidence of interest


class Feature(NamedTuple):
    """A number per candidate, and what the networks see of it.

    Always (x − centre) / spread, the two being typical of it, so that inputs vary around 0 by about 1. Where it says so, also
    x's distance from the list's mean in standard deviations (`z`), and the share of the list with a smaller x (`below`).
    """

    name: str
    centre: float
    spread: float
    log: bool = True  # x is the logarithm of the number that `raw_features` writes
    z: bool = False
    below: bool = False


# In the order of the rows of `feature_rows.raw_features`. A new feature is a line here and a row there; what takes a logarithm,
# has a z or a place in the list must stay one block each.
FEATURES = (
    *[Feature(f"match_{group}_{window}", 0, 1) for group in GROUPS for window in WINDOW_NAMES[1:]],
    Feature("shown_before", 0, 0.5, z=True),
    Feature("already_read", 0, 0.5, z=True),
    Feature("category_shown", 2.5, 2, z=True),
    Feature("category_ctr", -1.5, 1, z=True),
    *[Feature(f"clicks_{window}", 2.5, 2, z=True, below=True) for window in WINDOW_NAMES],
    *[Feature(f"exposures_{window}", 2.5, 2, z=True, below=True) for window in WINDOW_NAMES],
    *[Feature(f"rate_{window}", -2.5, 1, z=True, below=True) for window in WINDOW_NAMES],
    Feature("category_rate_24h", -2.5, 1, z=True, below=True),
    Feature("age", 2, 2, z=True, below=True),
    *[Feature(f"interest_{group}_{window}", 0, 0.2, log=False, z=True) for group in GROUPS for window in WINDOW_NAMES[1:]],
    Feature("like_last_click", 0, 0.2, log=False, z=True),
    Feature("like_latest_clicks", 0, 0.2, log=False, z=True),
    Feature("like_page", 0, 0.2, log=False, z=True),
    Feature("own_page", 0, 1, log=False, z=True),
)


def block(marked: Iterable[bool]) -> slice:
    """The rows that are marked, which must lie together."""
    rows = np.flatnonzero([*marked])
    if not np.array_equal(rows, np.arange(rows[0], rows[-1] + 1)):
        raise ValueError("features that are treated alike must be neighbours")
    return slice(int(rows[0]), int(rows[-1]) + 1)


F = len(FEATURES)
LOGARITHMS = block(feature.log for feature in FEATURES)
DISTANCES = block(feature.z for feature in FEATURES)
PLACES = block(feature.below for feature in FEATURES)
AGE = [feature.name for feature in FEATURES].index("age")
CENTRES = np.array([feature.centre for feature in FEATURES], np.float32)  # (F,)
SPREADS = np.array([feature.spread for feature in FEATURES], np.float32)  # (F,)


def observe(catalogue: Catalogue, reader: Reader, rows: Ints, context: Context, now: datetime) -> Observation:
    """What is known at `now` about these candidates for this reader.

    Args:
        rows: catalogue rows of the candidates, at least one.  (n,)
    """
    n, size, second = len(rows), catalogue.embedding.shape[1], epoch(now)
    page = catalogue.row(context.article_id) if context.article_id else None
    catalogue.advance(second)
    age, content = np.empty(n, np.int32), np.empty((n, catalogue.content.shape[1]), np.uint16)
    counts, category_counts = np.empty((n, 2 * W), np.uint32), np.empty((n, 2), np.uint32)
    embedding, seen = np.empty((n, size), np.uint16), np.empty((n, 7), np.uint16)
    profile, totals = np.empty((V, catalogue.slots), np.uint16), np.empty(V, np.uint16)
    reader_embedding = np.empty(size, np.float32)
    observe_list(
        catalogue.times,
        catalogue.content,
        catalogue.counts,
        catalogue.category,
        catalogue.category_counts,
        catalogue.stems,
        catalogue.embedding.view(np.uint16),
        catalogue.categories,
        rows,
        second,
        -1 if page is None else page,
        reader.click_rows,
        reader.click_times,
        *reader.shown,
        *reader.read,
        READER_SECONDS,
        age,
        content,
        counts,
        category_counts,
        embedding,
        seen,
        profile,
        totals,
        reader_embedding,
    )
    return Observation(
        reader=profile,
        reader_totals=totals,
        context=of_context(context, now),
        content=content,
        counts=counts,
        category_counts=category_counts,
        seen=seen,
        age=age,
        embedding=embedding.view(np.float16),
        reader_embedding=reader_embedding.astype(np.float16),
    )


def of_context(context: Context, now: datetime) -> NDArray[np.uint8]:
    """Hour bin, weekday, device slot, surface slot.  (4,)"""
    place = slot(context.device, DEVICES), slot(context.surface, SURFACES)
    return np.frombuffer(bytes((now.hour * HOURS // 24, now.weekday(), *place)), np.uint8)


def measure(observation: Observation, config: Config) -> Measured:
    """What the inputs are made of, feature by feature, because a list's mean, spread and order run along one feature.

    Raises:
        InvalidInput: the observation's arrays do not fit each other or the configuration.
    """
    n, size = observation.embedding.shape
    if n != len(observation.content) or not size == len(observation.reader_embedding) == config.embedding_size:
        raise InvalidInput("the observation's embeddings do not fit its candidates or the configuration")
    values = np.empty((F, n), np.float32)  # (F, n)
    raw_features(
        observation.reader,
        observation.reader_totals,
        observation.content,
        observation.counts,
        observation.category_counts,
        observation.seen,
        observation.age,
        group_ends(column_counts(config)),
        config.rate_prior_clicks,
        config.rate_prior_exposures,
        INTEREST_PRIOR,
        values,
    )
    logarithms = values[LOGARITHMS]
    np.log(logarithms, out=logarithms)
    below = np.empty((PLACES.stop - PLACES.start, n), np.float32)  # (P, n)
    mean, scale = np.empty(F), np.empty(F)
    reader = np.empty(observation.reader.size + V + CONTEXT + 1, np.float32)  # (R,)
    relative_features(
        values,
        sorted_keys(values[PLACES]),
        observation.reader,
        observation.reader_totals,
        observation.context,
        AGE,
        CONTEXT_OFFSETS,
        CONTEXT,
        INTEREST_PRIOR,
        below,
        mean,
        scale,
        reader,
    )
    likeness = embedding_likeness(observation.embedding, observation.reader_embedding)
    made = layout(config.embedding_size, config.features)
    return Measured(reader, observation.content, values, mean, scale, below, observation.embedding, likeness, made)


def encode(observation: Observation, config: Config) -> Inputs:
    """The inputs of both networks, a function of the logged observation alone. All lie roughly within ±2.

    Returns:
        reader (R,), content (n, M) and dense (n, D), whose columns `dense_names` lists in order.

    Raises:
        InvalidInput: the observation's arrays do not fit each other or the configuration.
    """
    measured = measure(observation, config)
    distances, places, embeddings, end = block_ends(config.embedding_size)
    dense = np.zeros((end, measured.values.shape[1]), np.float32)  # (D, n)
    standardise(measured.values, CENTRES, SPREADS, dense[:distances])
    z_scores(measured.values[DISTANCES], measured.mean[DISTANCES], measured.scale[DISTANCES], dense[distances:places])
    dense[places:embeddings] = measured.below
    if config.embedding_size:
        dense[embeddings:-1] = measured.embedding.T
    if len(measured.likeness):
        dense[-1:] = measured.likeness
    if config.features == "paper":
        dense *= measured.layout.kept[:, None]
    return Inputs(reader=measured.reader, content=measured.content, dense=dense.T)


def embedding_likeness(embedding: NDArray[np.float16], of_reader: NDArray[np.float16]) -> Floats:
    """The likeness of the articles' embeddings (n, E) to the reader's (E,).  (1, n), or (0, n) if the reader has none"""
    found = np.empty((1, len(embedding)), np.float32)
    return found if products(embedding.view(np.uint16), of_reader.astype(np.float32), found[0]) else found[:0]


@lru_cache(maxsize=8)
def group_ends(columns: tuple[int, ...]) -> NDArray[np.int64]:
    """One past the last content column of each group.  (G,)"""
    return np.cumsum(columns)


def block_ends(embedding_size: int) -> tuple[int, int, int, int]:
    """Where the dense inputs' blocks end: features, distances, places, embedding."""
    distances = F + DISTANCES.stop - DISTANCES.start
    places = distances + PLACES.stop - PLACES.start
    return F, distances, places, places + (embedding_size + 1 if embedding_size else 0)


def input_shape(config: Config) -> InputShape:
    """R, C and D under this configuration."""
    return InputShape(
        reader=V * config.content_slots + V + CONTEXT + 1,
        content=config.content_slots,
        dense=len(dense_names(config)),
    )


def dense_names(config: Config) -> tuple[str, ...]:
    """A name for each of the D dense inputs, in order."""
    return names_of(config.embedding_size)


@lru_cache(maxsize=8)
def names_of(embedding_size: int) -> tuple[str, ...]:
    names = [feature.name for feature in FEATURES]
    names += [f"{name}_z" for name in names[DISTANCES]] + [f"{name}_below" for name in names[PLACES]]
    if embedding_size:
        names += [f"embedding_{i}" for i in range(embedding_size)] + ["embedding_similarity"]
    return tuple(names)


@lru_cache(maxsize=8)
def layout(embedding_size: int, features: str) -> Layout:
    """How the dense inputs are made of FEATURES under a configuration with these two parameters."""
    distances, places, _, _ = block_ends(embedding_size)
    columns = np.full(F, -1)
    columns[DISTANCES] = np.arange(distances, places)
    kept = [features != "paper" or PUBLISHED.fullmatch(name) is not None for name in names_of(embedding_size)]
    return Layout(CENTRES, SPREADS, columns, places, np.array(kept, np.float32))


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
