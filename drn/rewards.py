"""r = r_click + β·r_active: what one shown article earned at once, and what the reader's return adds.  [DRN §4.3]"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from drn.activeness import Hazard, constant
from drn.config import Config
from drn.types import Bools, ClosedImpression, Event, Floats

CLICK = "click"
DWELL = "dwell"  # its value is seconds of reading
SEEN = "seen"  # the app reports that the article was on the screen


@dataclass(frozen=True, slots=True, eq=False)
class Reactions:
    """What was told of one list's k slots: each event once, with the slot of its article."""

    size: int  # k
    events: tuple[tuple[int, Event], ...]
    reported: bool  # whether the app told what was on the screen

    @classmethod
    def of(cls, closed: ClosedImpression) -> "Reactions":
        """The events of articles that were in the list."""
        slots = {article: slot for slot, article in enumerate(closed.impression.article_ids)}
        events = tuple([(slots[event.article_id], event) for event in closed.events if event.article_id in slots])
        return cls(len(slots), events, reported(closed))

    def clicked(self) -> Bools:
        """(k,) The slots whose article was clicked."""
        return self._where(slot for slot, event in self.events if event.type == CLICK)

    def examined(self) -> Bools:
        """(k,) The slots that the reader is taken to have looked at.

        Whatever an event is about was looked at. Besides, where the app does not report what was seen: everything up to one
        below the last click. Without any event nobody knows, and nothing counts as examined.
        """
        mask = self._where(slot for slot, _ in self.events)
        if not self.reported:
            mask[: max((slot for slot, event in self.events if event.type == CLICK), default=-2) + 2] = True
        return mask

    def exposed(self) -> Bools:
        """(k,) The slots that the reader may have looked at: reported as seen or used, or all where the app reports no SEEN."""
        return self._where(slot for slot, _ in self.events) if self.reported else np.ones(self.size, np.bool_)

    def rewards(self, config: Config) -> Floats:
        """r_click per slot: the click's reward, that of every other kind of event once, and dwell's.  (k,)

        Dwell earns dwell_reward · (1 − exp(−seconds / dwell_scale)) over all its seconds. What is reported twice counts once.
        """
        rewards = np.zeros(self.size, np.float64)
        dwelt = np.zeros_like(rewards)
        for slot, event in self.events:
            if event.type == DWELL:
                dwelt[slot] += max(event.value or 0.0, 0.0)
        for slot, kind in dict.fromkeys([(slot, event.type) for slot, event in self.events]):
            rewards[slot] += config.event_rewards.get(kind, 0.0)
        rewards += config.click_reward * self.clicked()
        if dwelt.any():
            rewards += config.dwell_reward * -np.expm1(-dwelt / config.dwell_scale)
        return rewards.astype(np.float32)

    def _where(self, slots: Iterable[int]) -> Bools:
        mask = np.zeros(self.size, np.bool_)
        mask[[*slots]] = True
        return mask


def clicked(closed: ClosedImpression) -> Bools:
    """(k,) The slots whose article was clicked."""
    return Reactions.of(closed).clicked()


def is_examined(closed: ClosedImpression) -> bool:
    """Whether `Reactions.examined` holds of any slot: an event is about one of them."""
    shown = frozenset(closed.impression.article_ids)
    return any(event.article_id in shown for event in closed.events)


def reported(closed: ClosedImpression) -> bool:
    """Whether the app told what was on the screen."""
    return any(event.type == SEEN for event in closed.events)


def active_reward(
    at: datetime,
    returned_at: datetime | None,
    now: datetime,
    config: Config,
    hazard: Hazard | None = None,
    level: float | None = None,
) -> float:
    """r_active of a visit, known only as far as `now`: with Δ the time to the return, T0 the horizon and Λ = ∫λ,

        increment   Sa · (1[Δ ≤ min(T0, now − at)] − Λ(min(Δ, T0, now − at)))
        level       min(1, S · exp(−Λ(min(Δ, T0, now − at))) + Sa · 1[Δ ≤ min(T0, now − at)])      [DRN Eq. 3-5]

    The increment is the return beyond the one that the hazard expected (its martingale residual): 0 on average for a
    reader who returns as ever, whenever it is looked at, so nobody is punished for having visited just now.

    Args:
        returned_at: None while the reader has not come back
        hazard: of returning; default is the constant config.return_hazard
        level: S, the reader's activeness at `at`; default is config.initial_activeness
    """
    if config.activeness == "off":
        return 0.0
    watched = max(min(config.return_horizon, (now - at).total_seconds()), 0.0)
    away = float("inf") if returned_at is None else (returned_at - at).total_seconds()
    returned = away <= watched
    expected = (hazard or constant(config.return_hazard)).cumulative(min(away, watched))
    if config.activeness == "level":
        start = config.initial_activeness if level is None else level
        return min(1.0, start * float(np.exp(-expected)) + config.activeness_per_return * returned)
    return config.activeness_per_return * (returned - expected)
