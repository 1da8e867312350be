"""The values that travel along the one path, frozen. Arrays inside them are read-only.

Shapes: n candidates, k shown slots, M content columns, R reader inputs, D dense inputs, C content slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Bools: TypeAlias = NDArray[np.bool_]
Weights: TypeAlias = Mapping[str, Floats]
"""One network's tensors by name (`drn.network.weight_shapes` lists them)."""


@dataclass(frozen=True, slots=True)
class Article:
    """What the CMS publishes. Times are timezone-aware."""

    id: str
    title: str
    published_at: datetime
    abstract: str = ""
    provider: str | None = None
    category: str | None = None
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    expires_at: datetime | None = None
    embargo_until: datetime | None = None
    url: str | None = None
    embedding: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    device: str = ""
    surface: str = ""
    article_id: str | None = None  # on whose page the list stands


@dataclass(frozen=True, slots=True)
class Pin:
    article_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Boost:
    article_id: str
    by: float


class RuleKind(StrEnum):
    PIN = "pin"
    CAP = "cap"
    BOOST = "boost"


@dataclass(frozen=True, slots=True)
class Rule:
    """What editors have set for every list, or for those of one surface."""

    kind: RuleKind
    article_id: str
    surface: str | None = None  # None: every surface
    position: int | None = None  # where a pin holds its article
    most: int | None = None  # how often a cap lets its article be shown to one reader
    boost: float | None = None  # what is added to both networks' scores of its article
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RankRequest:
    """One request for a list. `candidates=None` asks for the live catalogue; `user_id=None` is an anonymous reader."""

    request_id: str
    at: datetime
    k: int
    user_id: str | None = None
    candidates: tuple[str, ...] | None = None
    context: Context = Context()
    exclude: tuple[str, ...] = ()
    pinned: tuple[Pin, ...] = ()
    explore: bool = True
    boosts: tuple[Boost, ...] = ()  # by editors' rules alone; those of one article add up


class Event(NamedTuple):
    """One thing a reader did. Without `request_id` it is organic reading: history and counters, no credit.

    A tuple, because a batch of feedback is hundreds of them: a frozen dataclass takes two to three times as long to make.
    """

    event_id: str
    article_id: str
    type: str
    at: datetime
    value: float | None = None
    request_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The features of one request as used, raw and compact: what the impression log stores.

    `drn.features.encode` turns it into network inputs and needs nothing else, so a logged observation is
    the whole truth about what the networks saw.
    """

    reader: NDArray[np.uint16]  # (V, C): the reader's clicks in each of the paper's V = 5 windows, by content slot
    reader_totals: NDArray[np.uint16]  # (V,): the reader's clicks in each window
    context: NDArray[np.uint8]  # (4,): hour bin, weekday, device slot, surface slot
    content: NDArray[np.uint16]  # (n, M): content slots of each candidate, C where a column is empty
    counts: NDArray[np.uint32]  # (n, 2W): the article's clicks in each of W = 6 windows, then its exposures
    category_counts: NDArray[np.uint32]  # (n, 2): clicks and exposures of its whole category within a day
    seen: NDArray[np.uint16]  # (n, 7): times shown to this reader before, times read by them before, showings of its category to
    # them; its likeness in words to their last click, to the likest of their newest ones and to the page that the list stands on
    # (thousandths); 1 for that page's own article
    age: NDArray[np.int32]  # (n,): seconds since publication
    embedding: NDArray[np.float16]  # (n, E): projected article embeddings, zeros where there is none
    reader_embedding: NDArray[np.float16]  # (E,): mean projected embedding of the reader's newest clicks


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a network sees of one request."""

    reader: Floats  # (R,): reader, context and list features
    content: NDArray[np.uint16]  # (n, M): rows of the content table, C where a column is empty
    dense: Floats  # (n, D): counts, rates, matches, seen, age, list-relative, embedding


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the dense inputs are made of F features: its own (x − centre) / spread each, and for some more (`drn.features`)."""

    centre: Floats  # (F,)
    spread: Floats  # (F,)
    distances: NDArray[np.int64]  # (F,): the column of the feature's distance from the list's mean, −1 without one
    places: int  # the first column of places in the list; the embedding's follow them
    kept: Floats  # (D,): 1, or 0 where a column stays blank


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one request's inputs are made of: each feature once, from which `encode` makes several dense columns."""

    reader: Floats  # (R,)
    content: NDArray[np.uint16]  # (n, M)
    values: Floats  # (F, n)
    mean: NDArray[np.float64]  # (F,): of each feature over the list
    scale: NDArray[np.float64]  # (F,): 1 / its standard deviation, 0 where all are equal
    below: Floats  # (P, n): places in the list
    embedding: NDArray[np.float16]  # (n, E)
    likeness: Floats  # (1, n): of the articles' embeddings to the reader's; (0, n) if the reader has none
    layout: Layout


@dataclass(frozen=True, slots=True, eq=False)
class Interleaving:
    """A merged list: indices into the candidates, explore's credit share and the mixture's propensity per slot."""

    shown: Ints  # (k,)
    credit: Floats  # (k,): q = P_explore / (P_explore + P_current); 0.5 where a slot carries none
    propensity: Floats  # (k,): probability of this candidate in this slot, given the slots above
    pinned: Bools  # (k,): slots fixed by a rule, outside every duel


@dataclass(frozen=True, slots=True, eq=False)
class Impression:
    """One decision, as logged before it is answered. Everything needed to derive it again is here."""

    request_id: str
    at: datetime
    user_id: str | None
    context: Context
    version_id: int
    seed: int
    k: int
    explore: bool
    pins: tuple[Pin, ...]
    candidates: tuple[str, ...]  # n
    observation: Observation
    current_scores: Floats  # (n,): Q of the current network
    explore_scores: Floats  # (n,): Q of the explore network
    interleaving: Interleaving
    unknown: tuple[str, ...] = ()
    fallback: str | None = None
    boosts: Floats | None = None  # (n,): what was added to the scores of both networks before they were ranked; None: nothing

    @property
    def article_ids(self) -> tuple[str, ...]:
        """The ids in the order shown."""
        return tuple([self.candidates[i] for i in self.interleaving.shown.tolist()])


@dataclass(frozen=True, slots=True)
class ClosedImpression:
    """An impression whose feedback window has ended, with the feedback that it got."""

    impression: Impression
    events: tuple[Event, ...]
    seq: int = 0  # its place in the log; a version's watermark is the last one that its line has consumed


@dataclass(frozen=True, slots=True)
class Entry:
    """What has to be known of every closed impression in replay before some of them are drawn."""

    seq: int
    at: datetime
    user_id: str | None
    examined: bool  # whether anything is known about what its reader looked at


class VersionKind(StrEnum):
    INITIAL = "initial"
    MINOR = "minor"
    MAJOR = "major"
    ROLLBACK = "rollback"


class Verdict(StrEnum):
    UNDECIDED = "undecided"
    EXPLORE_WON = "explore_won"
    CURRENT_WON = "current_won"
    ABANDONED = "abandoned"  # a major update or a rollback ended the duel before its readers did


@dataclass(frozen=True, slots=True)
class DuelState:
    """The running score of one duel; outcome > 0 speaks for explore. `id` is the version that opened it."""

    id: int
    impressions: int = 0  # settled impressions that could speak (explore on, not all pinned)
    wins: int = 0
    losses: int = 0
    total: float = 0.0  # sum of outcomes
    squares: float = 0.0  # sum of squared outcomes
    # Of readers' units (`statistics.reader_units`): what the test for harm needs, however long the duel runs.
    units: int = 0
    unit_total: float = 0.0
    unit_squares: float = 0.0
    # Of every drawn slot's 2q − 1, over this duel and those before it: whether both networks had equal chances.
    chance_total: float = 0.0
    chance_squares: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldbackState:
    """The running comparison of what is served with a frozen version. `drn.holdback` says which lists take part."""

    reference: int | None = None  # the frozen version; None: nobody is held back yet
    since: float = 0.0  # seconds since the epoch: when the reference was chosen, or the wait for the first one began
    current_lists: int = 0
    current_clicked: int = 0  # of these lists, those with a click
    reference_lists: int = 0
    reference_clicked: int = 0
    total: float = 0.0  # sum of ±(clicked − expected): above 0 speaks for current
    squares: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The two networks that serve, and what their learner needs to go on (optimiser moments, by tensor name)."""

    current: Weights
    explore: Weights
    memory: Weights = field(default_factory=dict)
