"""The anchors of the table: chance, and the smoothed click rate. They need no features."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from drn.loop import Update
from drn.simulation import Publish, React
from drn.types import RankRequest


class Chance:
    """Ranks by chance."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._expires: dict[str, datetime] = {}
        self._shown: Sequence[str] = ()

    def publish(self, action: Publish) -> None:
        self._expires |= {
            article.id: article.expires_at or datetime.max.replace(tzinfo=action.at.tzinfo) for article in action.articles
        }
        for article_id in action.withdrawn:
            self._expires.pop(article_id, None)

    def rank(self, request: RankRequest) -> Sequence[str]:
        self._expires = {article_id: until for article_id, until in self._expires.items() if until > request.at}
        ids = list(self._expires)
        self._shown = [ids[i] for i in np.argsort(-self.scores(ids))[: request.k]]
        return self._shown

    def scores(self, article_ids: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return self._rng.random(len(article_ids))

    def react(self, action: React) -> None:
        """Learns nothing."""

    def update(self, update: Update) -> None:
        """Learns nothing."""

    def own_list(self) -> Sequence[str]:
        return self._shown


class Popularity(Chance):
    """Smoothed click rate since publication, (clicks + 1) / (exposures + 11), equal ones by chance.

    Plain counts would feed on themselves: what is on top is clicked, and stays there.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._clicks: Counter[str] = Counter()
        self._exposures: Counter[str] = Counter()

    def rank(self, request: RankRequest) -> Sequence[str]:
        shown = super().rank(request)
        self._exposures.update(shown)
        return shown

    def scores(self, article_ids: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        rates = [(self._clicks[one] + 1) / (self._exposures[one] + 11) for one in article_ids]
        return rates + 1e-6 * super().scores(article_ids)

    def react(self, action: React) -> None:
        self._clicks.update(event.article_id for event in action.events if event.type == "click")
