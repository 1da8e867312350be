"""One logged decision, the same derived again from its row, and what is known of its articles by now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from drn.catalogue import column_counts
from drn.config import Config
from drn.errors import CorruptCheckpoint, DrnError, InvalidConfig, SchemaMismatch
from drn.features import CONTEXT, GROUPS, WINDOW_NAMES, dense_names, encode, schema_digest
from drn.ranking import derive, serving
from drn.types import Impression, Inputs, Observation
from drn.versions import Version
from service.deadline import within
from service.errors import NotFound
from service.node import Node
from service.store import articles, feedback, versions
from service.store.articles import Headline
from service.store.engine import reading
from service.store.errors import NoSuchVersion, WeightsPruned

UNREADABLE = (CorruptCheckpoint, InvalidConfig, SchemaMismatch)  # written by another release, or damaged


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What was served, and whether its row alone leads to the same list."""

    impression: Impression
    config: Config
    reproduced: bool | None  # None: it could not be tried
    reason: str | None  # why not, or what differs


@dataclass(frozen=True, slots=True, eq=False)
class Afterwards:
    """What is known by now of the articles of a list. No decision is derived from it."""

    headlines: Mapping[str, Headline]
    clicked: frozenset[str]


async def decide_again(node: Node, request_id: str) -> Decision:
    """
    Raises:
        NotFound: no list was logged under this request id.
        Unavailable: the store does not answer.
    """
    try:
        impression = await within(node.settings.store_timeout, node.impression(request_id))
    except UNREADABLE as error:
        return await outlined(node, request_id, f"the features that were logged cannot be read: {error}")
    if impression is None:
        raise missing(request_id)
    try:
        version = await within(node.settings.store_timeout, load(node, impression.version_id))
    except (NoSuchVersion, WeightsPruned) as error:
        reason = f"the weights of version {impression.version_id} are no longer stored: {error}"
        return Decision(impression, node.config, None, reason)
    except UNREADABLE as error:
        return Decision(impression, node.config, None, f"version {impression.version_id} cannot be read: {error}")
    return compare(impression, version)


async def outlined(node: Node, request_id: str, reason: str) -> Decision:
    """What the row says without its features, and why it says no more."""
    impression = await within(node.settings.store_timeout, node.outline(request_id))
    if impression is None:  # erased in this very moment
        raise missing(request_id)
    return Decision(impression, node.config, None, reason)


async def afterwards(node: Node, impression: Impression) -> Afterwards:
    """
    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> Afterwards:
        async with reading(node.engine) as connection:
            headlines = await articles.headlines(connection, impression.article_ids)
            events = await feedback.events_of(connection, [impression.request_id])
        return Afterwards(headlines, frozenset(event.article_id for event in events if event.type == "click"))

    return await within(node.settings.store_timeout, work())


def missing(request_id: str) -> NotFound:
    return NotFound(f"there is no decision {request_id!r}")


async def load(node: Node, version_id: int) -> Version:
    async with reading(node.engine) as connection:
        return await versions.load(connection, version_id, memory=False)


def compare(impression: Impression, version: Version) -> Decision:
    """Derives the list from the row and `version`, and holds it against what was served, to the last bit."""
    if version.schema != schema_digest(version.config):
        return Decision(impression, version.config, None, "the features have changed since; this release cannot compute them")
    try:
        again = derive(impression, serving(version))
    except DrnError as error:
        return Decision(impression, version.config, None, str(error))
    difference = first_difference(impression, again)
    return Decision(impression, version.config, difference is None, difference)


def first_difference(served: Impression, again: Impression) -> str | None:
    """The first thing in which the derived decision is not the served one.

    Scores may differ in their last digits: a matrix product of another shape or on another processor adds up in another
    order. The lists, which are what readers saw, may not differ at all.
    """
    if served.article_ids != again.article_ids:
        return f"the derived list is {', '.join(again.article_ids)}"
    for name in ("current_scores", "explore_scores"):
        if not np.allclose(getattr(served, name), getattr(again, name), rtol=1e-4, atol=1e-5):
            return f"the derived {name.replace('_', ' ')} differ"
    for name in ("credit", "propensity"):
        if not np.allclose(getattr(served.interleaving, name), getattr(again.interleaving, name), rtol=1e-4, atol=1e-6):
            return f"the derived {name} differs"
    return None


def described(decision: Decision, by_now: Afterwards) -> dict[str, Any]:
    """The decision for a person: every shown article with its title, both scores and each feature by name."""
    impression = decision.impression
    inputs = readable(impression.observation, decision.config)
    return {
        "request_id": impression.request_id,
        "at": impression.at,
        "user_id": impression.user_id,
        "model_version": impression.version_id,
        "seed": impression.seed,
        "k": impression.k,
        "explore": impression.explore,
        "context": {"device": impression.context.device, "surface": impression.context.surface},
        "candidates": list(impression.candidates),
        "unknown": list(impression.unknown),
        "fallback": impression.fallback,
        "reader_features": dict(reader_features(inputs, decision.config)) if inputs else {},
        "items": list(slots(impression, inputs, decision.config, by_now)),
        "reproduced": decision.reproduced,
        "reason": decision.reason,
    }


def readable(observation: Observation, config: Config) -> Inputs | None:
    """What the networks saw; None where the features are gone, or were made for other sizes than the configuration's."""
    sizes = (observation.reader.shape[1], observation.content.shape[1], observation.embedding.shape[1])
    if sizes != (config.content_slots, sum(column_counts(config)), config.embedding_size):
        return None
    return encode(observation, config)


def slots(impression: Impression, inputs: Inputs | None, config: Config, by_now: Afterwards) -> Iterator[dict[str, Any]]:
    merged = impression.interleaving
    for position, index in enumerate(merged.shown.tolist()):
        article_id = impression.candidates[index]
        headline = by_now.headlines.get(article_id)
        yield {
            "article_id": article_id,
            "title": headline.title if headline else None,
            "withdrawn": headline.withdrawn if headline else None,
            "position": position,
            "reason": "pinned" if merged.pinned[position] else "ranked",
            "current_score": float(impression.current_scores[index]),
            "explore_score": float(impression.explore_scores[index]),
            "boost": 0.0 if impression.boosts is None else float(impression.boosts[index]),
            "credit": float(merged.credit[position]),
            "propensity": float(merged.propensity[position]),
            "clicked": article_id in by_now.clicked,
            "features": article_features(inputs, index, config) if inputs else {},
        }


def article_features(inputs: Inputs, index: int, config: Config) -> dict[str, Any]:
    """What the networks saw of one candidate: its hash slots by group, then the dense features that are not zero."""
    starts = list(accumulate(column_counts(config), initial=0))
    groups = {
        group: [slot for slot in inputs.content[index, start:end].tolist() if slot < config.content_slots]
        for group, start, end in zip(GROUPS, starts, starts[1:], strict=False)
    }
    dense = zip(dense_names(config), inputs.dense[index].tolist(), strict=True)
    return {"slots": groups} | {name: value for name, value in dense if value}


def reader_features(inputs: Inputs, config: Config) -> Iterator[tuple[str, float]]:
    """What the networks saw of the reader, the context and the list, by name; zeros left out."""
    names = [f"reader_slot_{slot}_{window}" for window in WINDOW_NAMES[1:] for slot in range(config.content_slots)]
    names += [f"reader_clicks_{window}" for window in WINDOW_NAMES[1:]]
    names += [f"context_{place}" for place in range(CONTEXT - 1)] + ["list_freshness", "list_length"]
    for name, value in zip(names, inputs.reader.tolist(), strict=True):
        if value:
            yield name, value
