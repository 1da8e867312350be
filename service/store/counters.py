"""Click and exposure counts per article and time bucket, for a catalogue that is being rebuilt.

Windows with buckets of whole hours are read from `bucket_counts`, which `count_log` brings forward from time to time, and
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
COUNTED = [length for length in LENGTHS if length % HOUR == 0]  # seconds per bucket of `bucket_counts`
REBUILD_TIMEOUT = "120s"  # a busy day of exposures, once per start

# Seconds are rounded down as `drn.catalogue.epoch` does. Bounds on `at` pick partitions and index ranges.
SECOND = "floor(extract(epoch FROM at))::bigint AS second"
LOGS: dict[Kind, str] = {
    "clicks": f"SELECT article_id, {SECOND}, seq, at FROM feedback WHERE type = 'click'",
    "exposures": f"SELECT article_id, {SECOND}, seq, at FROM impressions, unnest(shown) AS article_id",
}
ENDS: dict[Kind, str] = {"clicks": "feedback", "exposures": "impressions"}

# A start reads a million counts: as rows they would take three seconds.
IN_COLUMNS = """
SELECT coalesce(array_agg(article_id), '{}') AS article_ids,
    coalesce(string_agg(int8send(bucket), ''), '') AS buckets, coalesce(string_agg(int8send(times), ''), '') AS counts FROM counts
"""


def logged(kind: Kind, after: str) -> str:
    """The counts of what the log holds behind this place."""
    return f"""
        SELECT article_id, second / :length AS bucket, count(*) AS times FROM ({LOGS[kind]}) AS log
        WHERE at >= to_timestamp(:since) AND at < to_timestamp(:until) AND seq > {after} AND seq <= :end GROUP BY 1, 2
    """


def from_log(kind: Kind) -> TextClause:
    return text(f"WITH counts AS ({logged(kind, '0')}) {IN_COLUMNS}")


def from_buckets(kind: Kind) -> TextClause:
    """One statement sees one state of `bucket_counts` and its end; an end beyond ours is not used at all."""
    return text(f"""
        WITH counted AS (SELECT {ENDS[kind]} AS end_seq FROM bucket_counts_end WHERE {ENDS[kind]} <= :end),
        counts AS (
            SELECT article_id, bucket, times FROM bucket_counts
            WHERE kind = '{kind}' AND length = :length AND bucket >= :since / :length AND bucket < :until / :length
                AND EXISTS (SELECT FROM counted)
            UNION ALL {logged(kind, "coalesce((SELECT end_seq FROM counted), 0)")}
        ) {IN_COLUMNS}
    """)


def add_buckets(kind: Kind) -> TextClause:
    """The log is counted by the hour once, and the hours are added up for each length."""
    return text(f"""
        INSERT INTO bucket_counts (kind, length, bucket, article_id, times)
        SELECT '{kind}', length, hour * {HOUR} / length, article_id, sum(times) FROM (
            SELECT article_id, second / {HOUR} AS hour, count(*) AS times FROM ({LOGS[kind]}) AS log
            WHERE seq > (SELECT {ENDS[kind]} FROM bucket_counts_end) AND seq <= :end GROUP BY 1, 2
        ) AS hours, unnest(CAST(:lengths AS bigint[])) AS length GROUP BY 2, 3, 4
        ON CONFLICT (kind, length, bucket, article_id) DO UPDATE SET times = bucket_counts.times + excluded.times
    """)


@dataclass(frozen=True, slots=True, eq=False)
class WindowCounts:
    """The counts of one kind in one window, as `drn.catalogue.Catalogue.load_counts` takes them; a bucket may come twice."""

    kind: Kind
    window: int  # index into drn.catalogue.WINDOWS
    article_ids: tuple[str, ...]  # (m,)
    buckets: NDArray[np.int64]  # (m,): epoch // bucket length
    counts: NDArray[np.int64]  # (m,)


async def window_counts(connection: AsyncConnection, now: datetime, upto: Horizon) -> list[WindowCounts]:
    """What the windows hold at `now`. Whoever follows the log from `upto` on counts every row once."""
    await connection.execute(text(f"SET LOCAL statement_timeout = '{REBUILD_TIMEOUT}'"))
    # The planner cannot know how little of the log lies beyond `bucket_counts`, and would read all of it.
    await connection.execute(text("SET LOCAL enable_seqscan = off"))
    ends: dict[Kind, int] = {"clicks": upto.feedback, "exposures": upto.impressions}
    return [
        await one_window(connection, kind, window, epoch(now), end)
        for kind, end in ends.items()
        for window in range(len(WINDOWS))
    ]


async def one_window(connection: AsyncConnection, kind: Kind, window: int, second: int, end: int) -> WindowCounts:
    length = LENGTHS[window]
    query = from_buckets(kind) if length in COUNTED else from_log(kind)
    newest = second // length
    bounds = {"length": length, "since": (newest - BUCKETS + 1) * length, "until": (newest + 1) * length, "end": end}
    found = (await connection.execute(query, bounds)).one()
    return WindowCounts(kind, window, tuple(found.article_ids), numbers(found.buckets), numbers(found.counts))


def numbers(sent: bytes) -> NDArray[np.int64]:
    """What PostgreSQL's int8send wrote, one after the other."""
    return np.frombuffer(sent, ">i8").astype(np.int64)


async def count_log(connection: AsyncConnection, now: datetime) -> Horizon:
    """Brings `bucket_counts` up to the end of the log and drops what no window at `now` reaches; returns that end.

    Retention should run after it: what is counted stays counted when its impressions are dropped.
    """
    await hold(connection, Lock.COUNTS)
    end = await horizon(connection)
    await connection.execute(add_buckets("clicks"), {"end": end.feedback, "lengths": COUNTED})
    await connection.execute(add_buckets("exposures"), {"end": end.impressions, "lengths": COUNTED})
    await connection.execute(
        text("UPDATE bucket_counts_end SET impressions = greatest(impressions, :i), feedback = greatest(feedback, :f)"),
        {"i": end.impressions, "f": end.feedback},
    )
    left = text("DELETE FROM bucket_counts WHERE bucket <= :now / length - :buckets")
    await connection.execute(left, {"now": epoch(now), "buckets": BUCKETS})
    return end
