"""Replay memory: logged lists with their next states, sampled by recency. Features stay packed until a batch needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.errors import InvalidInput
from drn.transitions import TERMINAL, Experience, experience, links
from drn.types import ClosedImpression


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Experiences in the order of the log, and where each one's next state is among them (TERMINAL: nowhere)."""

    experiences: Sequence[Experience]
    successors: NDArray[np.int64]  # (len,)

    def __post_init__(self) -> None:
        size = len(self.experiences)
        if self.successors.shape != (size,) or (size and not (-1 <= self.successors.min() <= self.successors.max() < size)):
            raise InvalidInput(f"a replay of {size} experiences needs as many successors, each {TERMINAL} or below {size}")

    @classmethod
    def of(cls, closed: Sequence[ClosedImpression], config: Config, now: datetime) -> "Replay":
        """The replay of logged impressions, given in the order of the log."""
        found = links(closed, config)
        experiences = [experience(one, config, now, link) for one, link in zip(closed, found, strict=True)]
        return cls(experiences, np.array([link.successor for link in found], np.int64))

    def __len__(self) -> int:
        return len(self.experiences)

    def sample(
        self, among: NDArray[np.int64], size: int, now: float, config: Config, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """`size` draws with replacement from the experiences `among`, P ∝ 2^(−age / half-life).  (size,)"""
        at = np.array([self.experiences[i].at for i in among])
        weight = np.exp2((at - max(now, at.max())) / config.replay_half_life)
        if not weight.sum() > 0:  # all of it is so old that its weights vanish: only differences in age count
            weight = np.exp2((at - at.max()) / config.replay_half_life)
        return rng.choice(among, size, p=weight / weight.sum())

    def informative(self) -> NDArray[np.int64]:
        """Those with at least one examined slot; nothing is known about what the others' readers thought."""
        return np.flatnonzero([one.examined.any() for one in self.experiences])
