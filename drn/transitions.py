"""From the log to what learning needs: lists with clicks and rewards, and who is whose next state. [DRN §4.2-4.3]"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.errors import InvalidInput
from drn.features import encode
from drn.interleaving import boosted, ranks, swap_ratios
from drn.rewards import Reactions, active_reward, is_examined
from drn.types import Bools, ClosedImpression, Entry, Floats, Inputs, Ints, Observation

TERMINAL = -1
OTHERS = 16  # candidates that were not shown which a list's mean is learned with, at most


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """One list and what its reader did with it. n candidates, k shown slots.

    `features` is the logged observation, encoded when a batch needs it, or network inputs given directly.
    """

    features: Observation | Inputs
    at: float  # seconds since the epoch
    shown: Ints  # (k,): indices into the candidates
    clicked: Bools  # (k,)
    examined: Bools  # (k,)
    pinned: Bools  # (k,)
    reward: Floats  # (k,): r = r_click + β·r_active
    current_scores: Floats  # (n,): as logged, without boosts
    explore_scores: Floats  # (n,): likewise
    drawn: bool = True  # False where the list was not drawn from the interleaving mixture: no swap ratios exist
    reported: bool = False  # whether the app told what was seen: then nothing has to be concluded from places
    exposed: Bools | None = None  # (k,): slots that the reader may have looked at; None: all of them
    boosts: Floats | None = None  # (n,): what editors added to both scores before they were ranked

    def __post_init__(self) -> None:
        k = len(self.shown)
        if any(len(column) != k for column in (self.clicked, self.examined, self.pinned, self.reward)):
            raise InvalidInput(f"an experience of {k} shown slots needs one click, one reward … per slot")


@dataclass(frozen=True, slots=True)
class Link:
    """What the rest of the log says about one impression's reader."""

    successor: int = TERMINAL  # index of the next state s'
    returned_at: datetime | None = None  # the reader's next request, however late
    level: float | None = None  # S, the reader's activeness right after this request


def experience(closed: ClosedImpression, config: Config, now: datetime, link: Link = Link()) -> Experience:
    """One closed impression as training material. r = r_click + β·r_active in every slot. [DRN §4.2]"""
    impression, told = closed.impression, Reactions.of(closed)
    reward = told.rewards(config)  # (k,)
    if impression.user_id is not None:  # nobody can tell whether an anonymous reader came back
        active = active_reward(impression.at, link.returned_at, now, config, level=link.level)
        reward = reward + np.float32(config.beta * active)
    return Experience(
        features=impression.observation,
        at=impression.at.timestamp(),
        shown=impression.interleaving.shown,
        clicked=told.clicked(),
        examined=told.examined(),
        pinned=impression.interleaving.pinned,
        reward=reward,
        current_scores=impression.current_scores,
        explore_scores=impression.explore_scores,
        drawn=impression.explore,
        reported=told.reported,
        exposed=told.exposed(),
        boosts=impression.boosts,
    )


def inputs_of(experience: Experience, config: Config) -> Inputs:
    """What the networks see of all n candidates."""
    features = experience.features
    return features if isinstance(features, Inputs) else encode(features, config)


def trained_on(experience: Experience, config: Config) -> tuple[Ints, Floats]:
    """The candidates that training looks at, and how much each counts in the list's mean.  (m,), (m,), which adds up to 1

    The k shown ones in the order shown; where the list's mean is part of the network, then some that stand for all others.
    """
    shown, n = experience.shown, len(experience.current_scores)
    if not config.pools_lists:
        return shown, np.full(len(shown), 1 / max(len(shown), 1), np.float32)
    rest = np.setdiff1d(np.arange(n, dtype=np.int32), shown)
    others = rest[np.linspace(0, len(rest), min(len(rest), OTHERS), endpoint=False, dtype=np.intp)]
    shares = np.repeat([1 / n, len(rest) / n / max(len(others), 1)], [len(shown), len(others)])
    return np.concatenate([shown, others]), shares.astype(np.float32)


def inputs_among(experience: Experience, chosen: Ints, config: Config) -> Inputs:
    """What the networks see of some candidates, in the order given."""
    inputs = inputs_of(experience, config)
    return Inputs(inputs.reader, inputs.content[chosen], inputs.dense[chosen])


def preference_pairs(experience: Experience) -> NDArray[np.intp]:
    """(P, 2) slots (i, j): i was clicked, j was examined and passed over. Pinned slots say nothing about the ranker."""
    winners = np.flatnonzero(experience.clicked & ~experience.pinned)
    losers = np.flatnonzero(experience.examined & ~experience.clicked & ~experience.pinned)
    return np.stack([np.repeat(winners, len(losers)), np.tile(losers, len(winners))], axis=1)


def pair_weights(experience: Experience, pairs: NDArray[np.intp], config: Config) -> Floats:
    """ρ = P(R*) / (P(R) + P(R*)) of each pair under the mixture of the list's two rankings.  (P,) [PDGD Eq. 8]

    Its τ is `config.tau`, also of lists that were drawn with a higher one: there hardly any list comes out swapped, so their own
    ρ would leave next to nothing to learn from (docs/decisions/0015).

    It is ½ where no mixture drew the list, and where the app reported what was seen: ρ makes up for places that decide what a
    reader gets to see, and would take weight from all pairs that the networks are sure of.
    """
    if experience.reported or not experience.drawn:
        return np.full(len(pairs), 0.5, np.float32)
    both = experience.current_scores, experience.explore_scores
    current, explore = (ranks(boosted(scores, experience.boosts)) for scores in both)
    ratios = swap_ratios(current, explore, experience.shown, pairs, config.tau, experience.pinned)
    return np.asarray(ratios, np.float32)


def entry(closed: ClosedImpression) -> Entry:
    return Entry(closed.seq, closed.impression.at, closed.impression.user_id, is_examined(closed))


def links(entries: Sequence[Entry], config: Config) -> list[Link]:
    """For each list its next state, its reader's return and activeness, as far as `entries` tell.

    s' is the same reader's next request with *its* logged candidates. It is TERMINAL where the reader stayed away
    longer than `session_gap`, was not seen again, or is anonymous.
    """
    found = [Link()] * len(entries)
    last: dict[str, int] = {}
    for i in in_time_order(entries):
        at, user_id = entries[i].at, entries[i].user_id
        if user_id is None:
            continue
        level = config.initial_activeness
        before = last.get(user_id)
        if before is not None:
            away = (at - entries[before].at).total_seconds()
            earlier = found[before].level or 0.0
            level = min(1.0, earlier * exp(-config.return_hazard * away) + config.activeness_per_return)  # [DRN §4.3]
            goes_on = away <= config.session_gap
            found[before] = Link(i if goes_on else TERMINAL, at, earlier)
        found[i] = Link(level=level)
        last[user_id] = i
    return found


def in_time_order(entries: Sequence[Entry]) -> Iterable[int]:
    return sorted(range(len(entries)), key=lambda i: (entries[i].at, entries[i].seq, i))
