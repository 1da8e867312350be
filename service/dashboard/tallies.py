"""Counts over time, kept in memory so that a page that asks every two seconds reads only what is new.

History is read backwards in pieces, some with every request, until it covers the span that was asked for: no query
grows with the log.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from service.store import dashboard
from service.store.dashboard import EPOCH, SLICE, Score, Traffic

PIECE = timedelta(hours=1)  # of the log per query
OPEN = timedelta(minutes=2)  # the newest slices are read again: rows commit a little after the time that they carry
SKEW = timedelta(minutes=10)  # clocks differ between processes: how much older than the newest a newly settled impression may be
KEPT = timedelta(days=8)  # the longest span that the page offers, and a day
NOTHING, NO_SCORE = Traffic(), Score()


def slice_of(at: datetime) -> datetime:
    """The start of the slice that holds this moment."""
    return EPOCH + (at - EPOCH) // SLICE * SLICE


async def backwards(
    low: datetime, since: datetime, until: float, read: Callable[[datetime, datetime], Awaitable[None]]
) -> datetime:
    """Reads [since, low) from its end in pieces until the monotonic clock says `until`; how far back it came."""
    while low > since and time.monotonic() < until:
        start = max(low - PIECE, since)
        await read(start, low)
        low = start
    return low


class TrafficTally:
    """What was served and clicked, by slice. Slices are read once, when they are over; clicks that come later are missed."""

    def __init__(self) -> None:
        self.slices: dict[datetime, Traffic] = {}
        self.first: datetime | None = None
        self.low: datetime | None = None  # everything in [low, high) has been counted
        self.high: datetime | None = None

    async def read(self, connection: AsyncConnection, since: datetime, now: datetime, until: float) -> None:
        """Brings the counts up to `now`, and as far back towards `since` as the monotonic clock allows."""
        self.first = self.first or await dashboard.first_impression_at(connection)
        end = slice_of(now) + SLICE
        if self.low is None or self.high is None or end - self.high > PIECE:  # first call, or nobody has looked for long
            self.slices = {}
            self.low = self.high = end - PIECE
        start = max(self.low, self.high - OPEN)
        self.slices = {at: counts for at, counts in self.slices.items() if end - KEPT <= at < start}
        self.slices |= await dashboard.traffic(connection, start, end)
        self.high = end

        async def piece(start: datetime, stop: datetime) -> None:
            self.slices |= await dashboard.traffic(connection, start, stop)

        if self.first is not None:
            self.low = await backwards(self.low, max(slice_of(since), slice_of(self.first)), until, piece)


class ScoreTally:
    """Wins, losses and ties, by the slice in which the list was served. Outcomes only appear together with a version."""

    def __init__(self) -> None:
        self.slices: dict[datetime, Score] = {}
        self.first: datetime | None = None
        self.low: datetime | None = None
        self.base = 0  # history is read up to this version, so that nothing is counted twice
        self.version = 0
        self.newest: datetime | None = None
        self.read_at: datetime | None = None

    async def read(self, connection: AsyncConnection, head: int, since: datetime, now: datetime, until: float) -> None:
        """Brings the counts up to version `head`, and as far back towards `since` as the monotonic clock allows."""
        self.first = self.first or await dashboard.first_outcome_at(connection)
        if self.first is None:
            return
        if self.low is None or self.read_at is None or now - self.read_at > PIECE:
            self.slices = {}
            self.low = slice_of(now) + SLICE
            self.base = self.version = head
            self.newest = None
        elif head > self.version:
            since_newest = (self.newest or self.low) - SKEW
            self.add(await dashboard.scores(connection, slice_of(since_newest), None, self.version, head))
            self.version = head
        self.read_at = now

        async def piece(start: datetime, stop: datetime) -> None:
            self.add(await dashboard.scores(connection, start, stop, 0, self.base))

        self.low = await backwards(self.low, max(slice_of(since), slice_of(self.first)), until, piece)
        self.slices = {at: score for at, score in self.slices.items() if at >= now - KEPT}

    def add(self, found: dict[datetime, Score]) -> None:
        for at, score in found.items():
            before = self.slices.get(at, NO_SCORE)
            self.slices[at] = Score(before.wins + score.wins, before.losses + score.losses, before.ties + score.ties)
        self.newest = max([at for at in (self.newest, *found) if at is not None], default=None)
