"""The one document that the dashboard draws. Times in it are seconds since 1970."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.catalogue import Catalogue
from drn.config import Config
from drn.exploration import judge, z_score
from drn.holdback import compare
from drn.statistics import Doubles, evidence
from drn.types import HoldbackState, Verdict
from service.dashboard.evidence import LEVEL, Evidence
from service.dashboard.reader_days import ReaderDays
from service.dashboard.tallies import NO_SCORE, NOTHING, ScoreTally, TrafficTally, slice_of
from service.handlers.rules import described
from service.node import Node
from service.store import dashboard, duels, rules, runs
from service.store.dashboard import EPOCH, LineRow, ShownArticle
from service.store.duels import DuelRow
from service.store.engine import reading
from service.store.runs import Run

VERSIONS = 240
RUNS = 40
NEWEST_LISTS = 200
ARTICLES = 8
NEWEST = 30  # articles that an editor who sets a rule may choose from by their titles
RECENT = timedelta(days=1)  # lists older than this are not "on the page now"
BUCKETS = 60  # at most, in a chart
WIDTHS = (15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 14_400)  # seconds of a bucket, the fitting one is taken
FRESH_SECONDS = 1.0  # two pages that ask at the same time get one answer
HISTORY_SECONDS = 0.3  # of one request may go into reading history, per kind of count
SHARE = 0.2  # of the time at most goes into this document, however large the log is


class Figures:
    """Makes the document, and remembers what it has counted."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.traffic = TrafficTally()
        self.scores = ScoreTally()
        self.evidence = Evidence()
        self.days = ReaderDays()
        self.kept: dict[int, tuple[float, dict[str, Any]]] = {}
        self.turn = asyncio.Lock()

    async def document(self, hours: int) -> dict[str, Any]:
        """The figures of the last `hours`; the same ones again if they were made a moment ago.

        Raises:
            StoreUnavailable: PostgreSQL cannot be reached, or did not answer in time.
        """
        async with self.turn:
            good_until, document = self.kept.get(hours, (0.0, {}))
            started = time.monotonic()
            if started < good_until:
                return document
            document = await self.make(hours, self.node.clock())
            took = time.monotonic() - started
            self.kept[hours] = (time.monotonic() + max(FRESH_SECONDS, took * (1 / SHARE - 1)), document)
            return document

    async def make(self, hours: int, now: datetime) -> dict[str, Any]:
        config = self.node.config
        since = now - timedelta(hours=hours)
        async with reading(self.node.engine) as connection:
            versions = await dashboard.line(connection, VERSIONS)
            await self.count(connection, versions, since, now, config)
            newest = await duels.listing(connection, 1)
            waiting = await dashboard.waiting(connection, versions[-1].watermark) if versions else 0
            articles = await dashboard.most_shown(connection, now - RECENT, NEWEST_LISTS, ARTICLES)
            ledger = await runs.listing(connection, RUNS)
            ruled = await rules.running(connection, now)
        if self.traffic.first is not None:
            await self.days.read(self.node.engine, self.traffic.first, now)
        starts, width = self.buckets(since, now)
        traffic = self.traffic_by(starts, width)
        return {
            "now": now.timestamp(),
            "window": {"hours": hours, "since": since.timestamp(), "bucket": width.total_seconds()},
            "settings": settings(config),
            "served": served(self.node, versions),
            "refused": self.node.live.refused,
            "fault": self.node.live.fault,
            "totals": self.totals(traffic, now),
            "duel": live_duel(newest[0], waiting, config) if newest and newest[0].closed_at is None else None,
            "holdback": held_back(versions[-1].holdback, config) if versions and config.holdback_share else None,
            "outcomes": self.outcomes(starts, width),
            "traffic": traffic,
            "returns": self.days.returns(now),
            "versions": [version(row) for row in versions],
            "jobs": [run(row) for row in ledger],
            "recent": NEWEST_LISTS,
            "articles": [article(row) for row in articles],
            "rules": [in_seconds(row) for row in described(self.node, ruled, now)],
            "newest": newest_live(self.node.live.catalogue, now),
        }

    async def count(
        self, connection: AsyncConnection, versions: Sequence[LineRow], since: datetime, now: datetime, config: Config
    ) -> None:
        """Brings what is remembered up to date."""
        until = time.monotonic() + HISTORY_SECONDS
        await self.traffic.read(connection, since, now, until)
        if versions:
            head = versions[-1].id
            await self.scores.read(connection, head, since, now, until + HISTORY_SECONDS)
            await self.evidence.read(connection, head, config.session_gap)

    def buckets(self, since: datetime, now: datetime) -> tuple[list[datetime], timedelta]:
        """The starts of the charts' buckets, from the first that has data on, and their width."""
        first = max(since, self.traffic.first or now)
        span = (now - first).total_seconds()
        width = timedelta(seconds=next((width for width in WIDTHS if width * BUCKETS >= span), WIDTHS[-1]))
        start = EPOCH + (first - EPOCH) // width * width
        return [start + i * width for i in range(int((now - start) / width) + 1)], width

    def traffic_by(self, starts: Sequence[datetime], width: timedelta) -> list[dict[str, float | int]]:
        counted = grouped(self.traffic.slices, starts, width)
        rows = []
        for start in starts:
            parts = counted.get(start, [NOTHING])
            sums = {name: sum(getattr(part, name) for part in parts) for name in ("lists", "shown", "clicks", "fallbacks")}
            rows.append({"at": start.timestamp(), **sums})
        return rows

    def outcomes(self, starts: Sequence[datetime], width: timedelta) -> dict[str, Any]:
        counted = grouped(self.scores.slices, starts, width)
        rows = []
        for start in starts:
            parts = counted.get(start, [NO_SCORE])
            sums = {name: sum(getattr(part, name) for part in parts) for name in ("wins", "losses", "ties")}
            rows.append({"at": start.timestamp(), **sums, **self.evidence.looks.as_of((start + width).timestamp())})
        any_settled = any(row["wins"] or row["losses"] or row["ties"] for row in rows)
        since = self.evidence.looks.since
        return {"since": since.timestamp() if since else None, "level": LEVEL, "buckets": rows if any_settled else []}

    def totals(self, traffic: Sequence[dict[str, float | int]], now: datetime) -> dict[str, float | int | None]:
        sums = {name: sum(row[name] for row in traffic) for name in ("lists", "shown", "clicks", "fallbacks")}
        live = len(self.node.live.catalogue.live(now))
        return {**sums, "articles": live, "readers_today": self.days.today(now)}


def grouped(slices: dict[datetime, Any], starts: Sequence[datetime], width: timedelta) -> dict[datetime, list[Any]]:
    """Slices by the bucket that they lie in."""
    found: dict[datetime, list[Any]] = {}
    if starts:
        first = slice_of(starts[0])
        for at, counts in slices.items():
            if at >= first:
                found.setdefault(starts[0] + (at - starts[0]) // width * width, []).append(counts)
    return found


def settings(config: Config) -> dict[str, Any]:
    guided = config.direction == "guided"
    return {
        "direction": config.direction,
        "minor_period": config.minor_period,
        "major_period": config.major_period,
        "feedback_window": config.feedback_window,
        "duel_window": config.duel_window if guided else None,
        "duel_loss_z": config.duel_loss_z if guided else None,
    }


def served(node: Node, versions: Sequence[LineRow]) -> dict[str, Any] | None:
    """What this process serves: the newest version, or an older one for the moment until it has followed."""
    row = next((row for row in versions if row.id == node.live.version_id), None)
    return {"version": row.id, "kind": row.kind, "at": row.created_at.timestamp()} if row else None


def live_duel(duel: DuelRow, waiting: int, config: Config) -> dict[str, Any]:
    """The running duel, and what would become of it if it were decided as it stands."""
    state = duel.state
    z = z_score(state) if state.impressions else math.nan
    as_if_full = config if config.direction == "random" else replace(config, duel_window=max(1, state.impressions))
    forecast = judge(state, (), as_if_full)[1] if state.impressions else Verdict.UNDECIDED
    return {
        "id": state.id,
        "opened": duel.opened_at.timestamp(),
        "impressions": state.impressions,
        "wins": state.wins,
        "losses": state.losses,
        "ties": state.impressions - state.wins - state.losses,
        "mean": state.total / state.impressions if state.impressions else None,
        "z": z if math.isfinite(z) else None,
        "waiting": waiting,
        "needed": max(0, config.duel_window - state.impressions),
        "forecast": forecast,
        "harm": share_of_proof(evidence(-state.unit_total, state.unit_squares), config.duel_harm_alpha),
    }


def held_back(state: HoldbackState, config: Config) -> dict[str, Any]:
    """The hold-back's comparison as of the newest version."""
    found = compare(state, 1 - LEVEL)
    return {
        "share": config.holdback_share,
        "reference": state.reference,
        "since": state.since or None,
        "lists": {"current": state.current_lists, "reference": state.reference_lists},
        "clicked": {"current": found.current, "reference": found.reference},
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "level": LEVEL,
        "harm": share_of_proof(evidence(-state.total, state.squares), config.rollback_alpha),
    }


def share_of_proof(log_evidence: Doubles, alpha: float) -> float:
    """How far the evidence has come, from 0 to the 1 at which something is done."""
    return float(np.clip(-log_evidence / np.log(alpha), 0.0, 1.0))


def version(row: LineRow) -> dict[str, Any]:
    restored = row.metrics.get("target") if row.kind == "rollback" else None
    return {
        "id": row.id,
        "parent": row.parent_id,
        "kind": row.kind,
        "at": row.created_at.timestamp(),
        "duel": row.duel_id,
        "verdict": row.ended,
        "restored": None if restored is None else int(restored),
        "automatic": bool(row.metrics.get("automatic")),
        "watermark": row.watermark,
        "digest": row.digest,
        "metrics": {name: value for name, value in row.metrics.items() if name not in ("target", "automatic")},
        "servable": row.servable,
    }


def run(row: Run) -> dict[str, Any]:
    return {
        "id": row.id,
        "job": row.job,
        "started": row.started_at.timestamp(),
        "ended": row.ended_at.timestamp() if row.ended_at else None,
        "outcome": row.outcome,
        "version": row.version_id,
        "reason": row.detail.get("reason"),
    }


def article(row: ShownArticle) -> dict[str, Any]:
    return asdict(row)


def in_seconds(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in rule.items()}


def newest_live(catalogue: Catalogue, now: datetime) -> list[dict[str, str]]:
    """The newest of the live articles, the newest first."""
    rows = catalogue.live(now)
    newest = rows[np.argsort(-catalogue.published[rows], kind="stable")[:NEWEST]]
    return [{"id": found.id, "title": found.title} for found in map(catalogue.article, newest.tolist())]
