"""Replay memory: logged lists with their next states, sampled by recency. Features stay packed until a batch needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.errors import InvalidInput
from drn.transitions import TERMINAL, Experience, Link, entry, experience, links
from drn.types import Bools, ClosedImpression, Entry

NOT_GIVEN: Any = np.empty(0)  # in the place of what is read off the experiences


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Experiences in the order of the log, and where each one's next state is among them (TERMINAL: nowhere)."""

    experiences: Sequence[Experience]
    successors: NDArray[np.int64]  # (L,)
    at: NDArray[np.float64] = field(default_factory=lambda: NOT_GIVEN)  # (L,): seconds since the epoch; the experiences' own
    examined: Bools = field(default_factory=lambda: NOT_GIVEN)  # (L,): at least one slot; the experiences' own

    def __post_init__(self) -> None:
        size = len(self.experiences)
        if self.successors.shape != (size,) or (size and not (-1 <= self.successors.min() <= self.successors.max() < size)):
            raise InvalidInput(f"a replay of {size} experiences needs as many successors, each {TERMINAL} or below {size}")
        if self.at is NOT_GIVEN:
            object.__setattr__(self, "at", np.array([one.at for one in self.experiences], np.float64))
        if self.examined is NOT_GIVEN:
            object.__setattr__(self, "examined", np.array([one.examined.any() for one in self.experiences], np.bool_))

    @classmethod
    def of(cls, closed: Sequence[ClosedImpression], config: Config, now: datetime) -> "Replay":
        """The replay of logged impressions, given in the order of the log. Each becomes an experience when it is asked for."""
        return cls.listed([entry(one) for one in closed], dict(enumerate(closed)), config, now)

    @classmethod
    def listed(cls, entries: Sequence[Entry], read: Mapping[int, ClosedImpression], config: Config, now: datetime) -> "Replay":
        """The same, where only those that will be asked for need have been read.

        Args:
            entries: of the whole replay, in the order of the log
            read: by place among the entries; more may be added later
        """
        found = links(entries, config)
        return cls(
            Experiences(read, found, config, now),
            np.array([link.successor for link in found], np.int64),
            np.array([one.at.timestamp() for one in entries], np.float64),
            np.array([one.examined for one in entries], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.experiences)

    def sample(
        self, among: NDArray[np.int64], size: int, now: float, config: Config, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """`size` draws with replacement from the experiences `among`, P ∝ 2^(−age / half-life).  (size,)"""
        at = self.at[among]
        weight = np.exp2((at - max(now, at.max())) / config.replay_half_life)
        if not weight.sum() > 0:  # all of it is so old that its weights vanish: only differences in age count
            weight = np.exp2((at - at.max()) / config.replay_half_life)
        return rng.choice(among, size, p=weight / weight.sum())

    def informative(self) -> NDArray[np.int64]:
        """Those with at least one examined slot; nothing is known about what the others' readers thought."""
        return np.flatnonzero(self.examined)


class Experiences(Sequence[Experience]):
    """Logged impressions as experiences, each made when it is first asked for: a retraining draws but a share of them."""

    def __init__(self, read: Mapping[int, ClosedImpression], found: Sequence[Link], config: Config, now: datetime) -> None:
        self._read, self._links, self._config, self._now = read, found, config, now
        self._made: dict[int, Experience] = {}

    def __len__(self) -> int:
        return len(self._links)

    @overload
    def __getitem__(self, index: int) -> Experience: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Experience]: ...
    def __getitem__(self, index: int | slice) -> Experience | Sequence[Experience]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place not in self._made:
            self._made[place] = experience(self._read[place], self._config, self._now, self._links[place])
        return self._made[place]
