"""The whole system as one generator without I/O: the executable specification of service, store and jobs.

A world (simulated newsroom, or a log) acts; lists are decided, logged and answered; feedback is checked, counted and logged;
at every T_D a minor and at every T_R a major update is published on the world's clock. What the processes do with
PostgreSQL between them, `Loop` does with a list, by the same rules:

- The impression log is numbered from 1. An impression is closed at `now` when it was served `feedback_window` or longer ago.
- A minor update consumes the longest closed run of the log after the head's watermark, at most `MINOR_LIMIT` at a time, with
  all their feedback so far. Fewer than `minor_impressions`: no version.
- A major update sees the newest `replay_impressions` closed impressions with all their feedback, late or not. Fewer than
  `major_impressions`, or a failed gate: no version.
- An event is stored once (by id) if its impression exists and showed its article. Clicks count for article and reader whenever
  they come; for a duel only if they come before their impression is consumed.
- A list may be held back (`drn.holdback`); the reference is the line's. After every published update, a current network that
  has lost to it is rolled back.
- Updates come before whatever happens at the same instant, the minor one before the major one. Here a major update takes no
  time, so no minor update lands while it runs.
"""

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import count, islice, takewhile
from typing import TypeAlias

import numpy as np

from drn.catalogue import Catalogue, epoch
from drn.config import Config
from drn.errors import InvalidInput, NoCandidates
from drn.holdback import lost
from drn.ranking import Served, decide, serving
from drn.readers import Reader
from drn.simulation import Action, Publish, React, World, act
from drn.types import ClosedImpression, Event, Impression, RankRequest, Verdict, VersionKind
from drn.updates import major_update, minor_update, publish_retrained
from drn.versions import Version, initial_version, roll_back_harm

MINOR_LIMIT = 5_000  # impressions per minor update: bounds a job's memory and time after a long pause


@dataclass(frozen=True, slots=True)
class Update:
    """An update falls due."""

    at: datetime
    kind: VersionKind


Timeline: TypeAlias = Generator[Action | Update, Sequence[str] | None, None]


def due(config: Config, start: datetime) -> Iterator[Update]:
    """Updates in order, for ever: minor ones at start + i·T_D, major ones at start + i·T_R, i = 1, 2, …; minor first on a tie."""

    def every(seconds: float, kind: VersionKind) -> Iterator[Update]:
        return (Update(start + i * timedelta(seconds=seconds), kind) for i in count(1))

    return merge(every(config.minor_period, VersionKind.MINOR), every(config.major_period, VersionKind.MAJOR), key=lambda u: u.at)


def timeline(world: World, config: Config, start: datetime) -> Timeline:
    """The world's actions with the updates that fall due between them. Answers to visits are sent through to the world."""
    updates = due(config, start)
    following = next(updates)
    answer: Sequence[str] | None = None
    while True:
        try:
            action = world.send(answer)
        except StopIteration:
            return
        while following.at <= action.at:
            yield following
            following = next(updates)
        answer = yield action


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was answered to one request: what feedback is checked against, long after replay has dropped the impression."""

    user_id: str | None
    article_ids: tuple[str, ...]
    day: "Day"
    events: list[Event]


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """An impression in the log, and the feedback stored for it so far, in the order of arrival."""

    seq: int
    impression: Impression
    events: list[Event]

    def closed(self) -> ClosedImpression:
        return ClosedImpression(self.impression, tuple(self.events), self.seq)


@dataclass(slots=True)
class Day:
    """What happened to the impressions served on one day."""

    impressions: int = 0
    slots: int = 0
    clicks: int = 0  # events, credited to the day of their impression

    @property
    def ctr(self) -> float:
        """Clicks per article shown."""
        return self.clicks / self.slots if self.slots else 0.0


@dataclass(slots=True)
class Tally:
    """Counts for whoever watches the loop; nothing in it depends on them."""

    days: dict[int, Day] = field(default_factory=dict)  # by days since the start
    wins: int = 0  # settled impressions that spoke for explore
    losses: int = 0
    ties: int = 0
    outcome: float = 0.0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    skipped: Counter[VersionKind] = field(default_factory=Counter)

    def ctr(self, first: int = 0) -> float:
        """Clicks per article shown, from a day on."""
        days = [day for number, day in self.days.items() if number >= first]
        return sum(day.clicks for day in days) / max(1, sum(day.slots for day in days))


class Loop:
    """Catalogue, readers, log and served version. A `Ranker`; without `update` it serves the initial version for ever."""

    def __init__(self, config: Config, start: datetime) -> None:
        self.config, self.start = config, start
        self.catalogue = Catalogue(config)
        self.tally = Tally()
        self._reference: tuple[Version, Served] | None = None
        self.publish_version(initial_version(config, start))
        self._readers: dict[str, Reader] = {}
        self.log: deque[Logged] = deque()
        self._answers: dict[str, Answer] = {}
        self._event_ids: set[str] = set()
        self._seq = count(1)

    def run(self, world: World) -> Iterator[Version]:
        """Every version as it is published, the initial one first."""
        yield self.head
        steps = timeline(world, self.config, self.start)
        answer: Sequence[str] | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            answer = None
            if not isinstance(step, Update):
                answer = act(self, step)
            elif version := self.update(step):
                yield version
                if back := self.guard(step.at):
                    yield back

    def publish(self, action: Publish) -> None:
        """Stores articles, takes others down."""
        for article in action.articles:
            self.catalogue.put(article)
        for article_id in action.withdrawn:
            self.catalogue.withdraw(article_id)

    def rank(self, request: RankRequest) -> tuple[str, ...]:
        """Decides, logs, counts the exposures and answers; a retry gets its first answer. Nothing rankable: no list, no log."""
        if known := self._answers.get(request.request_id):
            return known.article_ids
        reader = self.reader(request.user_id)
        try:
            impression = decide(request, self._served, self.catalogue, reader, request.at)
        except NoCandidates:
            return ()
        answer = Answer(request.user_id, impression.article_ids, self._day(impression.at), [])
        self._answers[request.request_id] = answer
        self.log.append(Logged(next(self._seq), impression, answer.events))
        rows = self.rows(answer.article_ids)
        self.catalogue.expose(rows, epoch(impression.at))
        reader.show(rows)
        answer.day.impressions += 1
        answer.day.slots += len(rows)
        return answer.article_ids

    def react(self, action: React) -> None:
        """Stores each event once, and what it says about articles and readers.

        Raises:
            InvalidInput: an event of an unknown request, or about an article that was not in its list.
        """
        for event in action.events:
            if event.event_id not in self._event_ids:
                self._store(event, action.at)

    def update(self, update: Update) -> Version | None:
        """The version that an update leads to, published, or None if it had too little to learn from or failed its gate."""
        version = self._minor(update.at) if update.kind is VersionKind.MINOR else self._major(update.at)
        if version is None:
            self.tally.skipped[update.kind] += 1
        else:
            self.publish_version(version)
        return version

    def publish_version(self, version: Version) -> None:
        """Serves a version from now on: one assignment swaps both networks, and the reference with them."""
        self.head = version
        alone = serving(version)
        if version.holdback.reference == version.id:
            self._reference = version, alone
        held_back = self._reference if version.holdback.reference is not None else None
        self._served = replace(alone, reference=held_back and held_back[1])

    def guard(self, now: datetime) -> Version | None:
        """The rollback of a current network that has lost to the hold-back's reference, published; None if it has not."""
        if self._reference is None or not lost(self.head.holdback, self.config):
            return None
        version = roll_back_harm(self.head, self._reference[0], now)
        self.publish_version(version)
        return version

    def reader(self, user_id: str | None) -> Reader:
        """A reader's state; a new one for whom we do not know, kept only if they can be recognised."""
        if user_id is None:
            return Reader(self.config.history_clicks)
        return self._readers.setdefault(user_id, Reader(self.config.history_clicks))

    def rows(self, article_ids: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """Catalogue rows of articles known to be there, live or not."""
        return np.array([self.catalogue.row(article_id) for article_id in article_ids], np.int32)

    def _store(self, event: Event, now: datetime) -> None:
        row = self.catalogue.row(event.article_id)
        user_id = event.user_id
        if event.request_id is not None:
            answer = self._answers.get(event.request_id)
            if answer is None or event.article_id not in answer.article_ids:
                raise InvalidInput(f"event {event.event_id} is about no article that request {event.request_id} was shown")
            answer.events.append(event)
            answer.day.clicks += event.type == "click"
            user_id = answer.user_id
        if row is None:
            raise InvalidInput(f"event {event.event_id} is about an unknown article {event.article_id}")
        self._event_ids.add(event.event_id)
        if event.type == "click":
            at = epoch(min(event.at, now))
            self.catalogue.click(row, at)
            if user_id is not None:
                self.reader(user_id).click(row, at)

    def _minor(self, now: datetime) -> Version | None:
        unconsumed = (one for one in self.log if one.seq > self.head.watermark)
        run = takewhile(lambda one: self._is_closed(one, now), islice(unconsumed, MINOR_LIMIT))
        closed = [one.closed() for one in run]
        if len(closed) < max(1, self.config.minor_impressions):
            return None
        learned = minor_update(self.head, closed, self.config, now)
        for settled in learned.settled:
            self.tally.wins += settled.outcome > 0
            self.tally.losses += settled.outcome < 0
            self.tally.ties += settled.outcome == 0
            self.tally.outcome += settled.outcome
        self.tally.verdicts[learned.verdict] += 1
        self._drop(learned.version.watermark)
        return learned.version

    def _major(self, now: datetime) -> Version | None:
        closed = [one.closed() for one in self.log if self._is_closed(one, now)][-self.config.replay_impressions :]
        if len(closed) < max(1, self.config.major_impressions):
            return None
        retrained = major_update(self.head, closed, self.config, now)
        if not retrained.accepted:
            return None
        return publish_retrained(retrained, self.head, self.head, self.config, now)

    def _is_closed(self, one: Logged, now: datetime) -> bool:
        return one.impression.at + timedelta(seconds=self.config.feedback_window) <= now

    def _drop(self, watermark: int) -> None:
        """Lets go of impressions that every minor update has consumed and no major update will look at again."""
        # Those after the watermark are still open or will be: replay's newest closed ones end at the watermark or later
        while self.log[0].seq <= watermark - self.config.replay_impressions:
            self.log.popleft()

    def _day(self, at: datetime) -> Day:
        return self.tally.days.setdefault((at - self.start) // timedelta(days=1), Day())


def run(config: Config, world: World, start: datetime) -> Iterator[Version]:
    """The whole system over a world: every version as it is published. `Loop(config, start).run(world)` lets one look inside."""
    return Loop(config, start).run(world)
