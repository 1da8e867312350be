"""What all peers share: the product's own catalogue, readers and features, a log of their lists, and the same clock.

A peer differs in how it scores, and in when and how it learns from closed lists; nothing else.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drn.catalogue import Catalogue, epoch
from drn.config import Config
from drn.features import encode, observe
from drn.loop import Update
from drn.readers import Reader
from drn.simulation import Publish, React
from drn.types import Bools, Inputs, Ints, RankRequest, VersionKind

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One list as it was shown, and which slots were clicked so far."""

    at: datetime
    user_id: str | None
    article_ids: Sequence[str]  # k
    inputs: Inputs  # of the k shown candidates
    clicked: Bools  # (k,)


class Scores(Protocol):
    """How a peer ranks, and what it learns."""

    def scores(self, user_id: str | None, article_ids: Sequence[str], inputs: Inputs) -> tuple[Doubles, Doubles]:
        """By which the list is ranked, and by which it would be without exploring.  (n,), (n,)"""

    def minor(self, closed: Sequence[Shown]) -> None:
        """Lists that closed since the last minor update, in order."""

    def major(self, closed: Sequence[Shown]) -> None:
        """Lists that closed since the last major update, in order."""


class Peer:
    """A ranker on equal features."""

    def __init__(self, config: Config, model: Scores) -> None:
        self.config, self.model = config, model
        self.catalogue = Catalogue(config)
        self._readers: dict[str, Reader] = {}
        self._lists: dict[str, Shown] = {}
        self._open: deque[Shown] = deque()
        self._closed: list[Shown] = []  # since the last major update
        self._own: Sequence[str] = ()

    def publish(self, action: Publish) -> None:
        for article in action.articles:
            self.catalogue.put(article)
        for article_id in action.withdrawn:
            self.catalogue.withdraw(article_id)

    def rank(self, request: RankRequest) -> Sequence[str]:
        rows = self.catalogue.live(request.at)
        self._own = ()
        if not len(rows):
            return ()
        reader = self._reader(request.user_id)
        inputs = encode(observe(self.catalogue, reader, rows, request.context, request.at), self.config)
        ids = self.catalogue.ids(rows)
        by, alone = self.model.scores(request.user_id, ids, inputs)
        best = top(by, request.k)
        self._own = [ids[i] for i in top(alone, request.k)]
        shown = [ids[i] for i in best]
        seen = Inputs(inputs.reader, inputs.content[best], inputs.dense[best])
        one = Shown(request.at, request.user_id, shown, seen, np.zeros(len(best), np.bool_))
        self._lists[request.request_id] = one
        self._open.append(one)
        self.catalogue.expose(rows[best], epoch(request.at))
        reader.show(rows[best])
        return shown

    def react(self, action: React) -> None:
        for event in action.events:
            if event.type != "click":
                continue
            user_id = event.user_id
            if event.request_id is not None:
                one = self._lists[event.request_id]
                one.clicked[one.article_ids.index(event.article_id)] = True
                user_id = one.user_id
            row, at = self.catalogue.row(event.article_id), epoch(event.at)
            if row is not None:
                self.catalogue.click(row, at)
                if user_id is not None:
                    self._reader(user_id).click(row, at)

    def update(self, update: Update) -> None:
        if update.kind is VersionKind.MAJOR:
            self.model.major(self._closed)
            self._closed = []
            return
        fresh = []
        while self._open and self._open[0].at + timedelta(seconds=self.config.feedback_window) <= update.at:
            fresh.append(self._open.popleft())
        self._closed += fresh
        self.model.minor(fresh)

    def own_list(self) -> Sequence[str]:
        return self._own

    def _reader(self, user_id: str | None) -> Reader:
        if user_id is None:
            return Reader(self.config.history_clicks)
        return self._readers.setdefault(user_id, Reader(self.config.history_clicks))


def top(scores: Doubles, k: int) -> Ints:
    """The k best, equal scores by index."""
    return np.argsort(-scores, kind="stable")[:k].astype(np.int32)


def looked_at(clicked: Bools, slots: str) -> NDArray[np.intp]:
    """The slots to learn from: all that were shown, or those that were examined by the product's rule (`drn.rewards`)."""
    if slots == "shown":
        return np.arange(len(clicked))
    return np.arange(np.flatnonzero(clicked)[-1] + 2)[: len(clicked)] if clicked.any() else np.arange(0)
