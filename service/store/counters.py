"""Click and exposure counts per article and time bucket, for a catalogue that is being rebuilt."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.catalogue import BUCKETS, LENGTHS, Kind, epoch
from service.store.impressions import Horizon

# Bounds on `at` first: they pick partitions and index ranges. Seconds are rounded down as `drn.catalogue.epoch` does.
CLICKS = text("""
SELECT article_id, floor(extract(epoch FROM at))::bigint / :length AS bucket, count(*) AS times
FROM feedback WHERE type = 'click' AND at >= to_timestamp(:since) AND at < to_timestamp(:until) AND seq <= :feedback
GROUP BY 1, 2
""")
EXPOSURES = text("""
SELECT article_id, floor(extract(epoch FROM at))::bigint / :length AS bucket, count(*) AS times
FROM impressions, unnest(shown) AS article_id
WHERE at >= to_timestamp(:since) AND at < to_timestamp(:until) AND seq <= :impressions
GROUP BY 1, 2
""")
KINDS: tuple[tuple[Kind, TextClause], ...] = (("clicks", CLICKS), ("exposures", EXPOSURES))
REBUILD_TIMEOUT = "120s"  # a year of exposures, once per start


@dataclass(frozen=True, slots=True, eq=False)
class WindowCounts:
    """The counts of one kind in one window, as `drn.catalogue.Catalogue.load_counts` takes them."""

    kind: Kind
    window: int  # index into drn.catalogue.WINDOWS
    article_ids: tuple[str, ...]  # (m,)
    buckets: NDArray[np.int64]  # (m,): epoch // bucket length
    counts: NDArray[np.int64]  # (m,)


async def window_counts(connection: AsyncConnection, now: datetime, upto: Horizon) -> list[WindowCounts]:
    """What the windows hold at `now`. Whoever follows the log from `upto` on counts every row once."""
    await connection.execute(text(f"SET LOCAL statement_timeout = '{REBUILD_TIMEOUT}'"))
    second = epoch(now)
    places = {"impressions": upto.impressions, "feedback": upto.feedback}
    found = []
    for kind, query in KINDS:
        for window, length in enumerate(LENGTHS):
            since = (second // length - BUCKETS + 1) * length
            bounds = {"length": length, "since": since, "until": (second // length + 1) * length}
            rows = (await connection.execute(query, bounds | places)).all()
            found.append(
                WindowCounts(
                    kind,
                    window,
                    tuple(row.article_id for row in rows),
                    np.array([row.bucket for row in rows], np.int64),
                    np.array([row.times for row in rows], np.int64),
                )
            )
    return found
