"""The product's rows: `drn.loop.Loop` through its public interface, as DRN's paper varies it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from drn.config import Config
from drn.interleaving import ranked_alone
from drn.loop import Loop, Update
from drn.simulation import Publish, React
from drn.types import Pin, RankRequest, VersionKind


class Product:
    """A loop that is asked for its lists as every app asks for them.

    Args:
        explore: False asks for the current network's own lists, so nothing but major updates teaches it
        epsilon: share of slots given to articles drawn by chance, pinned there
    """

    def __init__(self, config: Config, start: datetime, explore: bool = True, epsilon: float = 0.0) -> None:
        self.loop = Loop(config, start)
        self._explore, self._epsilon = explore, epsilon
        self._rng = np.random.default_rng(config.root_seed)

    def publish(self, action: Publish) -> None:
        self.loop.publish(action)

    def rank(self, request: RankRequest) -> Sequence[str]:
        return self.loop.rank(replace(request, explore=self._explore, pinned=self._strangers(request)))

    def react(self, action: React) -> None:
        self.loop.react(action)

    def update(self, update: Update) -> None:
        if self._explore or update.kind is VersionKind.MAJOR:  # without exploration there is no duel to settle
            self.loop.update(update)
            self.loop.guard(update.at)

    def own_list(self) -> Sequence[str]:
        impression = self.loop.log[-1].impression
        return [impression.candidates[i] for i in ranked_alone(impression.current_scores, impression.k).shown]

    def _strangers(self, request: RankRequest) -> tuple[Pin, ...]:
        """Articles by chance for the slots that ε picks."""
        slots = np.flatnonzero(self._rng.random(request.k) < self._epsilon)
        if not len(slots):
            return ()
        live = self.loop.catalogue.live(request.at)
        drawn = self._rng.choice(live, min(len(slots), len(live)), replace=False)
        return tuple(Pin(one, int(slot)) for one, slot in zip(self.loop.catalogue.ids(drawn), slots, strict=False))
