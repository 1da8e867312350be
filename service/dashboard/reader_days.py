"""How many readers there were on a day, and how many of them came back on the next."""

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import dashboard
from service.store.dashboard import DAY, EPOCH, ReaderDay
from service.store.engine import reading
from service.store.errors import StoreUnavailable

SHOWN = 7  # days
REFRESH_SECONDS = 60.0  # for days that are not over
RETRY_SECONDS = 600.0  # after a day with too many lists to count in time

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """One day's count, and until when (monotonic clock) it is good."""

    day: ReaderDay
    until: float


class ReaderDays:
    """Counts by day (UTC). At most one day is counted per call: a day's readers are the dearest thing to ask for."""

    def __init__(self) -> None:
        self.counts: dict[datetime, Count] = {}
        self.wait_until = 0.0

    async def read(self, engine: AsyncEngine, first: datetime, now: datetime) -> None:
        """Counts the newest day whose count is missing or out of date. A day that takes too long is left out."""
        today = EPOCH + (now - EPOCH) // DAY * DAY
        days = [day for i in range(SHOWN + 1) if (day := today - i * DAY) + DAY > first]
        self.counts = {day: count for day, count in self.counts.items() if day in days}
        clock = time.monotonic()
        due = [day for day in days if day not in self.counts or self.counts[day].until <= clock]
        if not due or clock < self.wait_until:
            return
        over = due[0] + 2 * DAY + timedelta(minutes=1) <= now
        try:
            async with reading(engine) as connection:
                counted = await dashboard.reader_day(connection, due[0])
        except StoreUnavailable as error:
            log.info("readers of a day not counted", day=due[0].date().isoformat(), reason=str(error))
            self.wait_until = clock + RETRY_SECONDS
            return
        self.counts[due[0]] = Count(counted, float("inf") if over else clock + REFRESH_SECONDS)

    def today(self, now: datetime) -> int | None:
        """The readers since midnight (UTC), if they have been counted."""
        count = self.counts.get(EPOCH + (now - EPOCH) // DAY * DAY)
        return count.day.readers if count else None

    def returns(self, now: datetime) -> list[dict[str, float | int | bool]]:
        """Days whose next day has begun, oldest first."""
        return [
            {"day": day.timestamp(), **asdict(count.day), "complete": day + 2 * DAY <= now}
            for day, count in sorted(self.counts.items())
            if day + DAY <= now and count.day.readers > 0
        ]
