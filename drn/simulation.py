"""A simulated newsroom and its readers: what the demo runs on, what benchmarks measure on, what the loop's tests learn from.

The model, in one breath: articles arrive as a Poisson process with a daily rhythm, are about topics whose words stand in
their titles, lose appeal with age, expire or are taken down; breaking stories lift a topic for some hours. A reader has
tastes over categories, topics and names, partly shared with everybody, drifting for ever (and changing at once on a day one
may set). They come, are given a list, run down it from the top with a patience that small screens and earlier lists wear out
(position bias, fatigue), skip slots, click by taste, headline and age, less so what they have seen or had enough of, or only
glance and click nothing at all. What they read satisfies them by its worth, which the headline only hints at; satisfied
readers ask for another list sooner and come back sooner. The numbers, with reasons: `drn.scenario`; articles: `drn.newsroom`;
readers: `drn.audience`.

What it is not: it was not fitted to a log, and no part of it computes anything that a ranker computes. A reader's taste is
linear in categories, topics and names, so a model with crosses of reader history and content can find it; quality and worth are
in no feature, so only counting finds them. Two controls show what a result is worth: under `signal="none"` clicks depend on the
slot alone, and no ranker may seem to learn; under `signal="popularity"` everybody likes the same, and counting clicks is all
there is to know.

All draws come from the seed and the place of what is drawn (article, reader's visit, drift step): two rankers in worlds of one
seed meet the same articles, the same drifting tastes and, visit by visit, the same luck.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol, TypeAlias

import numpy as np

from drn.audience import Audience, Doubles, Look
from drn.errors import InvalidInput
from drn.newsroom import HOUR, RETURN, VISIT, Burst, Piece, bursts, moment, pieces, rhythm, stream
from drn.scenario import DAY, NEWSROOM, Scenario
from drn.types import Article, Context, Event, RankRequest

STOCK_LIFETIMES = 4.0  # how far before the start the first articles were written; hardly any lives longer
BURST_MEMORY = 6.0  # fades after which a breaking story has lost 99.8 % and is dropped
PAUSE_SECONDS = 20.0  # mean, between leaving one list and asking for the next


@dataclass(frozen=True, slots=True)
class Publish:
    """The CMS stores articles and takes some down. Expiry is the articles' own `expires_at` and no action."""

    at: datetime
    articles: tuple[Article, ...] = ()
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Visit:
    """A reader asks for a list; the driver sends back the ids shown, or None when it could show none."""

    at: datetime
    request: RankRequest
    reader: int  # who it is, logged in or not: for judging a ranker, not for a ranker


@dataclass(frozen=True, slots=True)
class React:
    """The app reports what a reader did."""

    at: datetime
    events: tuple[Event, ...]


Action: TypeAlias = Publish | Visit | React
World: TypeAlias = Generator[Action, Sequence[str] | None, None]


class Ranker(Protocol):
    """Whatever can take a newsroom's actions: the learning loop, or a benchmark's peer."""

    def publish(self, action: Publish) -> None: ...
    def rank(self, request: RankRequest) -> Sequence[str]: ...
    def react(self, action: React) -> None: ...


def newsroom(scenario: Scenario, seed: int, start: datetime) -> World:
    """Actions in time order. After each Visit, `send` the ids shown; otherwise `send(None)` or `next`.

    Raises:
        InvalidInput: a list longer than asked for, or with an article that is not live.
    """
    return Simulation(scenario, seed, start).actions()


def serve(world: World, ranker: Ranker) -> None:
    """Lets one ranker serve a whole world."""
    answer: Sequence[str] | None = None
    while True:
        try:
            action = world.send(answer)
        except StopIteration:
            return
        answer = act(ranker, action)


def act(ranker: Ranker, action: Action) -> Sequence[str] | None:
    """Hands one action to a ranker; returns what the world wants to hear back."""
    match action:
        case Publish():
            ranker.publish(action)
        case Visit():
            return ranker.rank(action.request)
        case React():
            ranker.react(action)
    return None


@dataclass(frozen=True, slots=True)
class Session:
    """One stay of a reader on the site, list by list."""

    reader: int
    number: int
    idle: bool  # only glances: clicks nothing
    lists: int = 0  # lists already seen


class Simulation:
    """The newsroom as an object, for judges that want to know the truth behind the clicks (`appeal`)."""

    def __init__(self, scenario: Scenario = NEWSROOM, seed: int = 0, start: datetime | None = None) -> None:
        if start is None or start.utcoffset() is None:
            raise InvalidInput("a newsroom needs a timezone-aware start")
        self.scenario, self.seed, self.start = scenario, seed, start
        self.audience = Audience(scenario, seed)
        self.live: dict[str, Piece] = {}
        self.now = 0.0  # simulated seconds since the start
        self._since = -STOCK_LIFETIMES * scenario.lifetime_hours * HOUR
        self._pieces = pieces(scenario, seed, start, self._since)
        self._bursts = bursts(scenario, seed, self._since)
        self._next_burst = next(self._bursts)
        self._active_bursts: list[Burst] = []
        self._visits = [0] * scenario.readers
        self._agenda: list[tuple[float, int, Any]] = []  # (due, order of planning, step)
        self._order = count()

    def actions(self) -> World:
        """All actions in time order; one call per object."""
        end = float("inf") if self.scenario.days is None else self.scenario.days * DAY
        yield from self._open()
        while self._agenda and self._agenda[0][0] < end:
            self.now, _, step = heappop(self._agenda)
            yield from step()

    def appeal(self, reader: int, article_ids: Sequence[str]) -> Doubles:
        """True probability, as of the newest action, that this reader clicks each article if they examine it, (n,)."""
        self._follow_bursts()
        return self.audience.appeal(reader, [self.live[a] for a in article_ids], self.now, self._active_bursts)

    def _plan(self, due: float, step: Any) -> None:
        heappush(self._agenda, (max(due, self.now), next(self._order), step))

    def _at(self, seconds: float) -> datetime:
        return moment(self.start, seconds, self.scenario.speed)

    def _open(self) -> World:
        """The first day's newsroom is in full swing: its live articles were written over the last days."""
        stock = []
        for piece in self._pieces:
            if piece.published > 0:
                self._plan(piece.published, partial(self._publish, piece))
                break
            if piece.expires > 0 and (piece.withdrawn is None or piece.withdrawn > 0):
                stock.append(piece)
        for piece in stock:
            self._keep(piece)
        yield Publish(self._at(0.0), tuple(p.article for p in stock))
        for reader in range(self.scenario.readers):
            self._plan_session(reader, 0)

    def _keep(self, piece: Piece) -> None:
        self.live[piece.article.id] = piece
        self._plan(piece.expires, partial(self._expire, piece))
        if piece.withdrawn is not None:
            self._plan(piece.withdrawn, partial(self._withdraw, piece))

    def _publish(self, piece: Piece) -> World:
        self._keep(piece)
        following = next(self._pieces)
        self._plan(following.published, partial(self._publish, following))
        yield Publish(self._at(self.now), (piece.article,))

    def _withdraw(self, piece: Piece) -> World:
        yield Publish(self._at(self.now), withdrawn=(piece.article.id,))
        yield from self._expire(piece)

    def _expire(self, piece: Piece) -> World:
        self.live.pop(piece.article.id, None)
        self.audience.forget(piece.number)
        yield from ()

    def _plan_session(self, reader: int, number: int) -> None:
        """When the reader comes next: an inhomogeneous Poisson process (day's rhythm × mood), drawn by thinning."""
        amplitude, rng, at = self.scenario.rhythm, stream(self.seed, RETURN, reader, number), self.now
        highest = self.audience.return_rate(reader) * (1 + amplitude)
        while True:
            at += rng.exponential(1 / highest)
            if rng.random() * (1 + amplitude) < rhythm(at, amplitude):
                break
        session = Session(reader, number, idle=bool(rng.random() < self.scenario.idle_share))
        organic = rng.random() < self.scenario.organic_share
        self._plan(at, partial(self._arrive if organic else self._visit, session))

    def _arrive(self, session: Session) -> World:
        """Reads an article found elsewhere, then asks for a list."""
        rng = stream(self.seed, RETURN, session.reader, session.number, 1)
        known = list(self.live.values())
        if known:
            appeal = self.appeal(session.reader, [p.article.id for p in known])
            piece = known[int(rng.choice(len(known), p=appeal / appeal.sum()))]
            self.audience.remember_reading(session.reader, piece)
            event_id = f"{self.scenario.label}o{session.reader}-{session.number}"
            at = self._at(self.now)
            yield React(at, (Event(event_id, piece.article.id, "click", at, user_id=self._user(session.reader)),))
        self._plan(self.now + rng.exponential(PAUSE_SECONDS), partial(self._visit, session))

    def _user(self, reader: int) -> str | None:
        return None if self.audience.anonymous[reader] else f"reader-{reader:03d}"

    def _visit(self, session: Session) -> World:
        """One list: ask, look, click, read, and decide whether to ask again."""
        s, reader = self.scenario, session.reader
        if session.lists == 0:
            self.audience.memories[reader].session_topics.clear()
        rng = stream(self.seed, VISIT, reader, self._visits[reader])
        mobile = bool(self.audience.mobile[reader] ^ (rng.random() < 0.1))  # now and then on the other device
        request = RankRequest(
            request_id=f"{s.label}q{reader}-{self._visits[reader]}",
            at=self._at(self.now),
            k=s.k,
            user_id=self._user(reader),
            context=Context("mobile" if mobile else "desktop", "home"),
        )
        self._visits[reader] += 1
        shown_ids = yield Visit(request.at, request, reader)
        shown = self._shown(request, shown_ids or ())
        patience = (s.mobile_patience if mobile else s.patience) * s.fatigue**session.lists
        look = self.audience.look(self.appeal(reader, [p.article.id for p in shown]), patience, session.idle, rng)
        satisfied = self.audience.remember(reader, shown, look)
        left = self._report(request, shown, look, rng)
        if rng.random() < s.next_list + s.next_list_satisfied * satisfied:
            again = Session(reader, session.number, session.idle, session.lists + 1)
            self._plan(left + rng.exponential(PAUSE_SECONDS), partial(self._visit, again))
        else:
            self._plan(left, partial(self._leave, session))

    def _leave(self, session: Session) -> World:
        self._plan_session(session.reader, session.number + 1)
        yield from ()

    def _shown(self, request: RankRequest, article_ids: Sequence[str]) -> list[Piece]:
        if len(article_ids) > request.k:
            raise InvalidInput(f"{request.request_id} was given {len(article_ids)} articles; it asked for {request.k}")
        if strange := [a for a in article_ids if a not in self.live]:
            raise InvalidInput(f"{request.request_id} was shown articles that are not live: {', '.join(strange)}")
        return [self.live[a] for a in article_ids]

    def _report(self, request: RankRequest, shown: Sequence[Piece], look: Look, rng: np.random.Generator) -> float:
        """Plans the events of one list at the seconds they happen; returns when the reader is done with it."""
        s, at, numbers = self.scenario, self.now, count()
        paces, longer, shares, hides = rng.standard_normal(s.k), rng.standard_normal(s.k), rng.random(s.k), rng.random(s.k)

        def plan(kind: str, piece: Piece, value: float | None = None) -> None:
            event_id = f"{request.request_id}.{next(numbers)}"
            event = Event(event_id, piece.article.id, kind, self._at(at), value, request.request_id, request.user_id)
            self._plan(at, partial(self._react, event))

        for slot in look.examined:
            piece = shown[slot]
            at += s.headline_seconds * np.exp(0.4 * paces[slot])
            if slot in look.clicked:
                plan("click", piece)
                seconds = s.read_seconds * float(np.exp(0.5 * piece.worth + 0.6 * longer[slot]))
                at += seconds
                plan("dwell", piece, round(seconds, 1))
                if shares[slot] < s.share_share:
                    plan("share", piece)
            elif hides[slot] < s.hide_share:
                plan("hide", piece)
        return at

    def _react(self, event: Event) -> World:
        yield React(event.at, (event,))

    def _follow_bursts(self) -> None:
        while self._next_burst.start <= self.now:
            self._active_bursts.append(self._next_burst)
            self._next_burst = next(self._bursts)
        self._active_bursts = [b for b in self._active_bursts if self.now < b.start + BURST_MEMORY * b.fade]
