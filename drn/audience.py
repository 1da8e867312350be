"""The readers of the simulated newsroom: hidden tastes that drift, and what somebody does with a list.

A reader's click on an examined slot has probability `sigmoid(logit)`, where

    logit = base + taste(reader, article) + quality_weight · quality + bursts − ageing · days
            − reread_loss · read − reshown_loss · times shown − satiety · same topic in this session

and taste is the weighted sum of category, mean topic and mean entity preferences. Each preference mixes one that all readers
share with one's own, both stationary Gaussian random walks (Ornstein-Uhlenbeck, unit variance) that move every six hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from drn.newsroom import CATEGORY_NAMES, DRIFT, HOUR, READER, TOPIC_NAMES, Burst, Generator, Piece, stream
from drn.scenario import DAY, Scenario

Doubles = NDArray[np.float64]

DRIFT_STEP = 6 * HOUR  # tastes move little within six hours; finer steps would only cost draws
BURST_LOOKBACK = 6 * HOUR  # a story's first reports profit from it too


@dataclass(slots=True)
class Memory:
    """What one reader remembers, and the mood they are in."""

    mood: float
    shown: dict[int, int] = field(default_factory=dict)  # article number → times shown
    read: set[int] = field(default_factory=set)
    session_topics: dict[int, int] = field(default_factory=dict)  # topic → articles of it read in this session


@dataclass(frozen=True, slots=True)
class Look:
    """What a reader did with a list: the slots looked at, top down, and those clicked."""

    examined: tuple[int, ...]
    clicked: tuple[int, ...]


class Tastes:
    """Preferences of all readers over categories, topics and entities as of the newest drift step."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed, self.step = scenario, seed, 0
        sizes = (len(CATEGORY_NAMES), len(TOPIC_NAMES), len(TOPIC_NAMES) * scenario.entities_per_topic)
        self.bounds = np.cumsum((0, *sizes))
        days = np.repeat((scenario.category_days, scenario.topic_days, scenario.entity_days), sizes)
        self.keep = np.exp(-DRIFT_STEP / (days * DAY))  # (P,)
        self.table = stream(seed, DRIFT, 0).standard_normal(
            (scenario.readers + 1, self.bounds[-1])
        )  # (N + 1, P), last row shared

    def move_to(self, at: float) -> None:
        """Takes the drift steps that are due, and the shift of tastes on its day."""
        while (self.step + 1) * DRIFT_STEP <= at:
            self.step += 1
            rng = stream(self.seed, DRIFT, self.step)
            noise = rng.standard_normal(self.table.shape)
            self.table = self.keep * self.table + np.sqrt(1 - self.keep**2) * noise
            if self.shifts():
                changed = np.append(rng.random(len(self.table) - 1) < self.scenario.shift_share, True)
                self.table[changed] = rng.standard_normal((changed.sum(), self.table.shape[1]))

    def shifts(self) -> bool:
        """Whether the newest step is the first one on or after the scenario's shift day."""
        if self.scenario.shift_day is None:
            return False
        return (self.step - 1) * DRIFT_STEP < self.scenario.shift_day * DAY <= self.step * DRIFT_STEP

    def of(self, reader: int, pieces: Sequence[Piece]) -> Doubles:
        """Logits of one reader's taste for each article, (n,)."""
        s = self.scenario
        mixed = sqrt(s.common_share) * self.table[-1] + sqrt(1 - s.common_share) * self.table[reader]
        row = mixed.tolist()  # numbers are looked up quicker in a list
        c, t, e = self.bounds[:3]
        return np.array(
            [
                s.category_weight * row[c + p.category]
                + s.topic_weight * sum(row[t + i] for i in p.topics) / len(p.topics)
                + s.entity_weight * sum(row[e + i] for i in p.entities) / len(p.entities)
                for p in pieces
            ]
        )


class Audience:
    """All readers: their tastes, memories and moods."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.tastes = Tastes(scenario, seed)
        self.memories = [Memory(scenario.mood_start) for _ in range(scenario.readers)]
        rng = stream(seed, READER)
        self.keenness = scenario.sessions_per_day * np.exp(scenario.sessions_spread * rng.standard_normal(scenario.readers))
        self.anonymous = rng.random(scenario.readers) < scenario.anonymous_share
        self.mobile = rng.random(scenario.readers) < scenario.mobile_share

    def appeal(self, reader: int, pieces: Sequence[Piece], at: float, bursts: Sequence[Burst]) -> Doubles:
        """Probability that this reader clicks each article if they examine it now, (n,)."""
        s = self.scenario
        if s.signal == "none":
            return np.full(len(pieces), s.control_click)
        logits = np.array([s.base + s.quality_weight * p.quality - s.ageing * (at - p.published) / DAY for p in pieces])
        strengths = [(b, b.strength(at)) for b in bursts]
        logits += np.array([sum(strength for b, strength in strengths if concerns(b, p)) for p in pieces])
        if s.signal == "taste":
            self.tastes.move_to(at)
            logits += self.tastes.of(reader, pieces) - self.weariness(reader, pieces)
        return np.asarray(1 / (1 + np.exp(-logits)))

    def weariness(self, reader: int, pieces: Sequence[Piece]) -> Doubles:
        """Logits that articles lose because of what this reader has seen and read, (n,)."""
        s, memory = self.scenario, self.memories[reader]
        return np.array(
            [
                s.reread_loss * (p.number in memory.read)
                + s.reshown_loss * memory.shown.get(p.number, 0)
                + s.satiety * memory.session_topics.get(p.topics[0], 0)
                for p in pieces
            ]
        )

    def look(self, appeal: Doubles, patience: float, idle: bool, rng: Generator) -> Look:
        """Runs down a list: looks at a slot or skips it, clicks or not, goes on or leaves.

        Draws the same numbers whatever is shown, so two policies meet the same luck.
        """
        s = self.scenario
        skips, clicks, leaves = rng.random((3, s.k))
        examined, clicked = [], []
        for slot in range(len(appeal)):
            if skips[slot] >= s.skip:
                examined.append(slot)
                if not idle and clicks[slot] < appeal[slot]:
                    clicked.append(slot)
            stays = s.back_to_list if clicked and clicked[-1] == slot else patience
            if leaves[slot] >= stays:
                break
        return Look(tuple(examined), tuple(clicked))

    def remember(self, reader: int, shown: Sequence[Piece], look: Look) -> float:
        """Updates memory and mood after a list; returns how satisfied the reader is with it, 0 to 1."""
        s, memory = self.scenario, self.memories[reader]
        for piece in shown:
            memory.shown[piece.number] = memory.shown.get(piece.number, 0) + 1
        for slot in look.clicked:
            self.remember_reading(reader, shown[slot])
        # Each good article adds; an article of average worth leaves a reader half satisfied
        satisfied = 1 - exp(-sum(0.7 * exp(0.5 * shown[slot].worth) for slot in look.clicked))
        memory.mood = s.mood_memory * memory.mood + (1 - s.mood_memory) * satisfied
        return satisfied

    def remember_reading(self, reader: int, piece: Piece) -> None:
        memory = self.memories[reader]
        memory.read.add(piece.number)
        memory.session_topics[piece.topics[0]] = memory.session_topics.get(piece.topics[0], 0) + 1

    def forget(self, number: int) -> None:
        """Drops an article that is gone from every reader's memory."""
        for memory in self.memories:
            memory.shown.pop(number, None)
            memory.read.discard(number)

    def return_rate(self, reader: int) -> float:
        """Sessions per simulated second at an average hour, in the reader's present mood."""
        s = self.scenario
        return float(self.keenness[reader] / DAY * exp(s.mood_effect * (self.memories[reader].mood - s.mood_start)))


def concerns(burst: Burst, piece: Piece) -> bool:
    """Whether an article is about a breaking story: its topic, and not older than the story's first reports."""
    return burst.topic in piece.topics and piece.published >= burst.start - BURST_LOOKBACK
