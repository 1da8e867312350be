"""Click and exposure counts per article and time bucket, for a catalogue that is being rebuilt.

Windows with buckets of whole hours are read from `hourly_counts`, which `count_hours` brings forward from time to time, and
from what the log holds beyond; the shorter windows from the log alone.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.catalogue import LENGTHS, WINDOWS, Kind, epoch
from drn.windows import BUCKETS
from service.store.impressions import Horizon, horizon
from service.store.locks import Lock, hold

HOUR = 3_600
REBUILD_TIMEOUT = "120s"  # a busy day of exposures, once per start

# Seconds are rounded down as `drn.catalogue.epoch` does. Bounds on `at` pick partitions and index ranges.
SECOND = "floor(extract(epoch FROM at))::bigint AS second"
LOGS: dict[Kind, str] = {
    "clicks": f"SELECT article_id, {SECOND}, seq, at FROM feedback WHERE type = 'click'",
    "exposures": f"SELECT article_id, {SECOND}, seq, at FROM impressions, unnest(shown) AS article_id",
}
ENDS: dict[Kind, str] = {"clicks": "feedback", "exposures": "impressions"}


def from_log(kind: Kind) -> TextClause:
    return text(f"""
        SELECT article_id, second / :length AS bucket, count(*) AS times FROM ({LOGS[kind]}) AS log
        WHERE at >= to_timestamp(:since) AND at < to_timestamp(:until) AND seq <= :end GROUP BY 1, 2
    """)


def from_hours(kind: Kind) -> TextClause:
    """One statement sees one state of `hourly_counts` and its end; an end beyond ours is not used at all."""
    return text(f"""
        WITH counted AS (SELECT {ENDS[kind]} AS end_seq FROM hourly_counts_end WHERE {ENDS[kind]} <= :end)
        SELECT article_id, bucket, sum(times)::bigint AS times FROM (
            SELECT article_id, hour * {HOUR} / :length AS bucket, times FROM hourly_counts
            WHERE kind = '{kind}' AND hour >= :since / {HOUR} AND hour < :until / {HOUR} AND EXISTS (SELECT FROM counted)
            UNION ALL
            SELECT article_id, second / :length, count(*) FROM ({LOGS[kind]}) AS log
            WHERE at >= to_timestamp(:since) AND at < to_timestamp(:until)
                AND seq > coalesce((SELECT end_seq FROM counted), 0) AND seq <= :end GROUP BY 1, 2
        ) AS counts GROUP BY 1, 2
    """)


def add_hours(kind: Kind) -> TextClause:
    return text(f"""
        INSERT INTO hourly_counts (kind, hour, article_id, times)
        SELECT '{kind}', second / {HOUR}, article_id, count(*) FROM ({LOGS[kind]}) AS log
        WHERE seq > (SELECT {ENDS[kind]} FROM hourly_counts_end) AND seq <= :end GROUP BY 2, 3
        ON CONFLICT (kind, hour, article_id) DO UPDATE SET times = hourly_counts.times + excluded.times
    """)


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
    # The planner cannot know how little of the log lies beyond the hourly counts, and would read all of it.
    await connection.execute(text("SET LOCAL enable_seqscan = off"))
    ends: dict[Kind, int] = {"clicks": upto.feedback, "exposures": upto.impressions}
    return [
        await one_window(connection, kind, window, epoch(now), end)
        for kind, end in ends.items()
        for window in range(len(WINDOWS))
    ]


async def one_window(connection: AsyncConnection, kind: Kind, window: int, second: int, end: int) -> WindowCounts:
    length = LENGTHS[window]
    query = from_log(kind) if length % HOUR else from_hours(kind)
    newest = second // length
    bounds = {"length": length, "since": (newest - BUCKETS + 1) * length, "until": (newest + 1) * length, "end": end}
    rows = (await connection.execute(query, bounds)).all()
    return WindowCounts(
        kind,
        window,
        tuple(row.article_id for row in rows),
        np.array([row.bucket for row in rows], np.int64),
        np.array([row.times for row in rows], np.int64),
    )


async def count_hours(connection: AsyncConnection, now: datetime) -> Horizon:
    """Brings `hourly_counts` up to the end of the log and drops what no window at `now` reaches; returns that end.

    Retention should run after it: what is counted stays counted when its impressions are dropped.
    """
    await hold(connection, Lock.COUNTS)
    end = await horizon(connection)
    await connection.execute(add_hours("clicks"), {"end": end.feedback})
    await connection.execute(add_hours("exposures"), {"end": end.impressions})
    await connection.execute(
        text("UPDATE hourly_counts_end SET impressions = greatest(impressions, :i), feedback = greatest(feedback, :f)"),
        {"i": end.impressions, "f": end.feedback},
    )
    await connection.execute(text("DELETE FROM hourly_counts WHERE hour < :first"), {"first": (epoch(now) - WINDOWS[-1]) // HOUR})
    return end
