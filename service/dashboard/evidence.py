"""What the newest duels prove about explore and current: a band that stays valid while somebody watches it."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.statistics import Band, closed_sessions, confidence_sequence
from service.store import dashboard, duels
from service.store.dashboard import Outcome
from service.store.duels import DuelRow

LEVEL = 0.95
MOST = 20_000  # settled impressions that the band starts with; it starts anew at twice as many, for /rank runs beside it
DUELS = 2_000  # that are looked at to find where to start


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """The band as it stood when each session closed."""

    since: datetime | None = None
    at: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # (t,): seconds since 1970
    band: Band = field(default_factory=lambda: Band(np.empty(0), np.empty(0), np.empty(0)))

    def as_of(self, second: float) -> dict[str, float | int | None]:
        """The last look up to this second."""
        i = bisect_right(self.at, second) - 1
        if i < 0:
            return {"mean": None, "low": None, "high": None, "sessions": 0}
        mean, low, high = (float(side[i]) for side in (self.band.mean, self.band.lower, self.band.upper))
        return {"mean": mean, "low": low, "high": high, "sessions": i + 1}


class Evidence:
    """Collects outcomes from a fixed duel on: a band is valid at every look only while its start stays put.

    Readers are told apart by a hash that only this process knows: an erased reader leaves no name behind here.
    """

    def __init__(self) -> None:
        self.looks = Looks()
        self.anchor = 0
        self.version = 0
        self.rows: list[Outcome] = []

    async def read(self, connection: AsyncConnection, head: int, gap: float) -> None:
        """Brings the looks up to version `head`. Sessions are told apart by pauses longer than `gap` seconds."""
        if head == self.version:
            return
        if not self.anchor or len(self.rows) > 2 * MOST:
            anchor = start(await duels.listing(connection, DUELS))
            if anchor != self.anchor:
                self.anchor, self.version, self.rows = anchor, 0, []
        async for rows in dashboard.outcomes(connection, self.anchor, self.version, head):
            self.rows += [replace(row, user_id=row.user_id and str(hash(row.user_id))) for row in rows]
        self.version = head
        self.looks = await asyncio.to_thread(look, self.rows, gap)


def start(newest: Sequence[DuelRow]) -> int:
    """The oldest of these duels (newest first) from which there are at most MOST settled impressions; 0 without a duel."""
    anchor, settled = 0, 0
    for duel in newest:
        settled += duel.state.impressions
        if anchor and settled > MOST:
            break
        anchor = duel.state.id
    return anchor


def look(rows: Sequence[Outcome], gap: float) -> Looks:
    """The band over the sessions that are complete in the settled log."""
    if not rows:
        return Looks()
    ordered = sorted(rows, key=lambda row: row.at)
    seconds = [row.at.timestamp() for row in ordered]
    closed_at, units = closed_sessions(
        [row.user_id for row in ordered],
        seconds,
        [row.clicks for row in ordered],
        [row.value for row in ordered],
        gap,
        seconds[-1],
    )
    since = datetime.fromtimestamp(seconds[0], UTC)
    return Looks(since, closed_at, confidence_sequence(units, 1 - LEVEL))
