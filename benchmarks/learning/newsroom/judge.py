"""What is measured of a method while it serves a newsroom: what readers did, and what the simulator knows about their tastes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from drn.catalogue import content_columns
from drn.config import Config
from drn.evaluation import intra_list_similarity
from drn.scenario import DAY, Scenario
from drn.simulation import Publish, React, Simulation, Visit

BINS_PER_DAY = 4  # finer than a day, so that recoveries of less than one can be told apart
SESSION_GAP = timedelta(minutes=30)  # the pause between two lists of one session is 20 s on average
JUDGED = 3  # every so many lists are held against the true tastes: that costs more than to serve them
TOP = 5  # P@5
CONTENT = Config()  # whose hashed properties stand for an article in ILS

Doubles = NDArray[np.float64]


@dataclass(slots=True)
class Counts:
    """Sums over the lists of one stretch of time, so that they can be added up in any way."""

    lists: int = 0
    slots: int = 0
    clicks: int = 0
    top_slots: int = 0  # slots 1 to 5
    top_clicks: int = 0
    sessions: int = 0
    habit: float = 0.0  # sessions that readers in their usual mood would have had
    judged: int = 0
    ndcg: float = 0.0
    similarity: float = 0.0  # sum of the lists' ILS
    shown: float = 0.0  # expected clicks of the lists as shown,
    own: float = 0.0  # of what the methods would have shown without exploring,
    ideal: float = 0.0  # and of the best lists that there were

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, spec.name) + getattr(other, spec.name) for spec in fields(self)))

    @property
    def ctr(self) -> float:
        """Clicks per article shown."""
        return self.clicks / self.slots if self.slots else float("nan")

    @property
    def precision(self) -> float:
        """P@5: the share of the first five slots that was clicked."""
        return self.top_clicks / self.top_slots if self.top_slots else float("nan")

    @property
    def quality(self) -> float:
        """nDCG of the true appeal, against the best list of all live articles."""
        return self.ndcg / self.judged if self.judged else float("nan")

    @property
    def ils(self) -> float:
        """Intra-list similarity: high is monotonous."""
        return self.similarity / self.judged if self.judged else float("nan")

    @property
    def returns(self) -> float:
        """Sessions per session that the readers' habits alone would have given: their mood decides how often they come."""
        return self.sessions / self.habit if self.habit else float("nan")

    @property
    def regret(self) -> float:
        """Share of the expected clicks that exploration cost, under the true appeal."""
        return 1 - self.shown / self.own if self.own else float("nan")


class Judge:
    """Counts by quarters of a day. Looks behind the clicks through `Simulation.appeal`; no method ever sees that."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.bins: dict[int, Counts] = defaultdict(Counts)
        self._habit = float(simulation.audience.keenness.sum()) / BINS_PER_DAY
        self._vectors: dict[str, Doubles] = {}
        self._lists: dict[str, tuple[Counts, Sequence[str]]] = {}
        self._last: dict[int, Visit] = {}
        self._count = 0

    def publish(self, action: Publish) -> None:
        for article in action.articles:
            vector = np.zeros(CONTENT.content_slots + 1)
            vector[content_columns(article, CONTENT)] = 1
            self._vectors[article.id] = vector[:-1]  # the last one stood for empty columns

    def visit(self, visit: Visit, shown: Sequence[str], own_list: Callable[[], Sequence[str]]) -> None:
        """A list was answered; its reader has not reacted yet."""
        counts = self._bin()
        last = self._last.get(visit.reader)
        counts.sessions += last is None or visit.at - last.at > SESSION_GAP
        self._last[visit.reader] = visit
        counts.lists += 1
        counts.slots += len(shown)
        counts.top_slots += min(len(shown), TOP)
        self._lists[visit.request.request_id] = counts, shown
        self._count += 1
        if shown and self._count % JUDGED == 0:
            self._judge(counts, visit, shown, own_list())

    def react(self, action: React) -> None:
        for event in action.events:
            if event.type == "click" and event.request_id is not None:
                counts, shown = self._lists[event.request_id]
                counts.clicks += 1
                counts.top_clicks += event.article_id in shown[:TOP]

    def _bin(self) -> Counts:
        counts = self.bins[int(self.simulation.now * BINS_PER_DAY / DAY)]
        counts.habit = self._habit
        return counts

    def _judge(self, counts: Counts, visit: Visit, shown: Sequence[str], own: Sequence[str]) -> None:
        live = list(self.simulation.live)
        appeal = dict(zip(live, self.simulation.appeal(visit.reader, live).tolist(), strict=True))
        best = np.sort(np.fromiter(appeal.values(), np.float64))[::-1][: visit.request.k]
        as_shown = np.array([appeal[one] for one in shown])
        scenario, mobile = self.simulation.scenario, visit.request.context.device == "mobile"
        counts.judged += 1
        counts.ndcg += discounted(as_shown) / discounted(best)
        counts.similarity += intra_list_similarity(np.stack([self._vectors[one] for one in shown])) if len(shown) > 1 else 0.0
        counts.shown += expected_clicks(as_shown, scenario, mobile)
        counts.own += expected_clicks(np.array([appeal[one] for one in own]), scenario, mobile)
        counts.ideal += expected_clicks(best, scenario, mobile)


def discounted(gain: Doubles) -> float:
    """Σ gain_i / log2(i + 1), i from 1.  (k,)"""
    return float((gain / np.log2(np.arange(2, len(gain) + 2))).sum())


def expected_clicks(appeal: Doubles, scenario: Scenario, mobile: bool) -> float:
    """Expected clicks on a session's first list, by the law of `Audience.look`.  (k,)

    A slot that is reached is examined with 1 − skip and, if so, clicked with its appeal; after a click the reader goes on with
    `back_to_list`, else with their patience. A share of sessions only glances.
    """
    patience = scenario.mobile_patience if mobile else scenario.patience
    clicked, reached = 0.0, 1.0
    for chance in ((1 - scenario.skip) * appeal).tolist():
        clicked += reached * chance
        reached *= chance * scenario.back_to_list + (1 - chance) * patience
    return (1 - scenario.idle_share) * clicked
