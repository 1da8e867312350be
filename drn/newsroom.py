"""The publishing side of the simulated newsroom: articles with hidden qualities, and breaking stories.

Nothing here depends on readers or on what they are shown: the stream of articles is a function of scenario and seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, pi, sin
from typing import TypeAlias

import numpy as np

from drn.scenario import DAY, Scenario
from drn.types import Article
from drn.vocabulary import FAMILY_NAMES, GIVEN_NAMES, PLAIN_WORDS, PROVIDERS, TOPICS, words

HOUR = 3_600.0
CATEGORY_OF_TOPIC = tuple(c for c, topics in enumerate(TOPICS.values()) for _ in topics)
TOPIC_NAMES = tuple(topic for topics in TOPICS.values() for topic in topics)
TOPIC_WORDS = tuple(words(text) for topics in TOPICS.values() for text in topics.values())
CATEGORY_NAMES = tuple(TOPICS)

# First element of each stream's seed; a draw's seed is [seed, stream, indices …], so no draw moves another
ARTICLE, BURST, READER, DRIFT, VISIT, RETURN = range(6)

Generator: TypeAlias = np.random.Generator


def stream(seed: int, *path: int) -> Generator:
    """The random stream of one thing (an article, a reader's visit): a function of the world's seed and its place alone."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def rhythm(seconds: float, amplitude: float) -> float:
    """Activity at a simulated second since midnight, mean 1: lowest at 03:00, highest at 15:00."""
    return 1.0 + amplitude * sin(2 * pi * (seconds / DAY - 0.375))


@dataclass(frozen=True, slots=True)
class Piece:
    """An article as its writer knows it. Times are simulated seconds since the start."""

    article: Article
    number: int
    published: float
    expires: float
    withdrawn: float | None
    category: int
    topics: tuple[int, ...]  # one or two
    entities: tuple[int, ...]  # one to three
    quality: float  # N(0, 1): appeal of the headline beyond what any feature says
    worth: float  # N(0, 1), correlated with quality: how glad a reader is to have read it


@dataclass(frozen=True, slots=True)
class Burst:
    """A breaking story: its topic's articles, from shortly before it on, gain `height · exp(−(t − start) / fade)` logits."""

    start: float
    topic: int
    height: float
    fade: float

    def strength(self, at: float) -> float:
        return self.height * exp(-(at - self.start) / self.fade) if at >= self.start else 0.0


def bursts(scenario: Scenario, seed: int, since: float) -> Iterator[Burst]:
    """Breaking stories in time order, for ever: a Poisson process."""
    at, number = since, 0
    while True:
        rng = stream(seed, BURST, number)
        at += rng.exponential(DAY / scenario.bursts_per_day)
        height = scenario.burst_height * rng.uniform(0.5, 1.5)
        yield Burst(at, int(rng.integers(len(TOPIC_NAMES))), height, scenario.burst_hours * HOUR)
        number += 1


def pieces(scenario: Scenario, seed: int, start: datetime, since: float) -> Iterator[Piece]:
    """Articles in order of publication, for ever: a Poisson process with a daily rhythm, busier around breaking stories."""
    upcoming = bursts(scenario, seed, since)
    burst, following = next(upcoming), next(upcoming)
    at, number = since, 0
    while True:
        rng = stream(seed, ARTICLE, number)
        at += rng.exponential(DAY / scenario.articles_per_day) / rhythm(at, scenario.rhythm)
        while following.start <= at:
            burst, following = following, next(upcoming)
        breaking = burst.topic if rng.random() < scenario.burst_share * burst.strength(at) / burst.height else None
        yield write(scenario, rng, number, at, start, breaking)
        number += 1


def write(scenario: Scenario, rng: Generator, number: int, at: float, start: datetime, breaking: int | None) -> Piece:
    """One article: what it is about, its words, and the hidden qualities that decide how it fares."""
    topic = int(rng.integers(len(TOPIC_NAMES))) if breaking is None else breaking
    second = int(rng.integers(len(TOPIC_NAMES)))
    topics = (topic, second) if second != topic and rng.random() < scenario.second_topic_share else (topic,)
    chosen = rng.choice(
        scenario.entities_per_topic, size=min(int(rng.integers(1, 4)), scenario.entities_per_topic), replace=False
    )
    entities = tuple(topic * scenario.entities_per_topic + int(e) for e in chosen)
    quality, noise = rng.standard_normal(2)
    worth = scenario.worth_correlation * quality + (1 - scenario.worth_correlation**2) ** 0.5 * noise
    # Gamma with shape 4: few articles vanish at once, few stay for a week
    expires = at + rng.gamma(4.0, scenario.lifetime_hours / 4.0) * HOUR
    withdrawn = at + rng.uniform(0, expires - at) if rng.random() < scenario.withdrawn_share else None
    article = Article(
        id=f"{scenario.label}a{number}",
        title=headline(rng, topics, entities[0]),
        published_at=moment(start, at, scenario.speed),
        provider=PROVIDERS[int(rng.integers(len(PROVIDERS)))],
        category=CATEGORY_NAMES[CATEGORY_OF_TOPIC[topic]],
        topics=tuple(TOPIC_NAMES[t] for t in topics),
        entities=tuple(person(e) for e in entities),
        expires_at=moment(start, expires, scenario.speed),
    )
    return Piece(
        article, number, at, expires, withdrawn, CATEGORY_OF_TOPIC[topic], topics, entities, float(quality), float(worth)
    )


def headline(rng: Generator, topics: tuple[int, ...], entity: int) -> str:
    """A title such as "Kira Holm: league penalty again under transfer": words of its topics around a plain one."""
    own = [str(w) for w in rng.choice(TOPIC_WORDS[topics[0]], size=3, replace=False)]
    other = [str(rng.choice(TOPIC_WORDS[topics[1]]))] if len(topics) > 1 else []
    plain = str(rng.choice(PLAIN_WORDS))
    return f"{person(entity)}: {' '.join([own[0], own[1], plain, own[2], *other])}"


def person(entity: int) -> str:
    """The name of an entity; 400 differ, after that they repeat with a numeral."""
    given, family = GIVEN_NAMES[entity % 20], FAMILY_NAMES[(entity // 20 + entity) % 20]
    return f"{given} {family}" if entity < 400 else f"{given} {family} {entity // 400 + 1}"


def moment(start: datetime, seconds: float, speed: float) -> datetime:
    """The emitted time of a simulated second: `start` + seconds / speed, at whole microseconds (what PostgreSQL keeps)."""
    return start + timedelta(microseconds=round(seconds / speed * 1e6))
