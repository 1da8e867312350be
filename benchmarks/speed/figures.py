"""The figures, one function per row or group of rows of the table."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg

from benchmarks.speed.filling import Sizes
from benchmarks.speed.load import CONNECTIONS, Saturation, each_once, open_loop, post, saturate
from benchmarks.speed.processes import THREADS, Server, api, free_port
from service.store.embedded import Server as Database

BODIES = 400  # different requests, so that readers and candidates vary
OLD_LISTS = 10_000  # of different ones, because what was read once is kept
FEW = 4  # connections where requests are so long that more would only queue


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, and the most (or, with `at_least`, the least) that it should be."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False

    @property
    def to_reach(self) -> str:
        return "" if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit:g}"

    @property
    def met(self) -> str:
        if self.limit is None:
            return ""
        return "yes" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "no"


@dataclass(frozen=True, slots=True)
class Bench:
    """Both servers and their database, what it is filled with, and how long each measurement takes."""

    database: Database
    api: Server
    floor: Server
    core: set[int]  # theirs
    sizes: Sizes
    seconds: float
    rounds: int
    latency_seconds: float
    times: int  # that something is tried whose time varies from one to the next
    soak_minutes: float
    grown: int  # impressions in the log that has grown

    def rank_bodies(self, candidates: int | None, count: int = BODIES, readers: int = BODIES) -> list[bytes]:
        return rank_bodies(self.sizes, candidates, count, readers)

    def another_api(self, database: Database | None = None, *, core: set[int] | None = None) -> AbstractContextManager[Server]:
        """One more API process: beside load and PostgreSQL, where it does not take the first one's core."""
        url = (database or self.database).url
        return api(url, free_port(), core or os.sched_getaffinity(0), 2 * self.sizes.articles)

    def compare(self, path: str, bodies: Sequence[bytes], connections: int) -> tuple[Saturation, Saturation]:
        """Both servers in turn, several times: a noisy moment of the machine meets both. Medians by CPU time."""
        rounds = [
            tuple(saturate(server, path, bodies, self.seconds, connections) for server in (self.api, self.floor))
            for _ in range(self.rounds)
        ]
        return middle([each[0] for each in rounds]), middle([each[1] for each in rounds])


def rank_bodies(sizes: Sizes, candidates: int | None, count: int = BODIES, readers: int = BODIES) -> list[bytes]:
    """Requests of `readers` readers at most, drawn at random, for random candidates; None asks for the live catalogue."""
    rng = np.random.default_rng(2)
    bodies: list[dict[str, Any]] = []
    for _ in range(count):
        body: dict[str, Any] = {"user_id": f"u{rng.integers(min(sizes.readers, readers))}", "k": 10}
        body["context"] = {"device": "mobile", "surface": "home"}
        if candidates is not None:
            body["candidates"] = [f"a{i}" for i in rng.choice(sizes.articles, candidates, replace=False)]
        bodies.append(body)
    return [json.dumps(body).encode() for body in bodies]


def middle(found: Sequence[Saturation]) -> Saturation:
    """Medians of each figure, and all errors."""
    return Saturation(
        sum(each.requests for each in found),
        float(np.median([each.per_second for each in found])),
        float(np.median([each.cpu_milliseconds for each in found])),
        sum(each.errors for each in found),
    )


def start(bench: Bench) -> list[Figure]:
    return [
        Figure("start to ready", bench.api.seconds_to_ready, "s", 15),
        Figure("resident memory at start", bench.api.resident_megabytes(), "MB", 580),
    ]


def ranking(bench: Bench) -> list[Figure]:
    """Saturation and latency with 100 candidates."""
    bodies = bench.rank_bodies(100)
    each_once(bench.api, "/rank", bodies)  # every reader is read from the log once, and that is not what is measured
    ours, floor = bench.compare("/rank", bodies, 32)
    rate = ours.per_second / 2
    latency = open_loop(bench.api, "/rank", bodies, rate, bench.latency_seconds)
    least = open_loop(bench.floor, "/rank", bodies, rate, bench.latency_seconds)
    return [
        Figure("rank 100: requests per second / floor", ours.per_second / floor.per_second, "ratio", 1 / 3, at_least=True),
        Figure("rank 100: floor's CPU / CPU per request", floor.cpu_milliseconds / ours.cpu_milliseconds, "ratio", 1 / 3, True),
        Figure("rank 100: requests per second", ours.per_second, "1/s"),
        Figure("floor 100: requests per second", floor.per_second, "1/s"),
        Figure("rank 100: CPU per request", ours.cpu_milliseconds, "ms"),
        Figure("floor 100: CPU per request", floor.cpu_milliseconds, "ms"),
        Figure("rank 100: errors at saturation", ours.errors, "requests", 0),
        Figure("rank 100 at half rate: p50 / floor", latency.p50 / least.p50, "ratio", 5),
        Figure("rank 100 at half rate: p99 / floor", latency.p99 / least.p99, "ratio", 4),
        Figure("rank 100 at half rate: p50", latency.p50, "ms"),
        Figure("rank 100 at half rate: p99", latency.p99, "ms"),
        Figure("floor 100 at that rate: p50", least.p50, "ms"),
        Figure("floor 100 at that rate: p99", least.p99, "ms"),
        Figure("rank 100 at half rate: errors", latency.errors, "requests", 0),
    ]


STEADY = 100.0  # requests per second of a busy regional newspaper


def steady(bench: Bench) -> list[Figure]:
    """Latency at a steady 100 requests/s, with 100 candidates. The bounds in milliseconds are for a quiet machine."""
    bodies = bench.rank_bodies(100)
    each_once(bench.api, "/rank", bodies)
    ours, floor = (open_loop(server, "/rank", bodies, STEADY, bench.latency_seconds) for server in (bench.api, bench.floor))
    return [
        Figure("rank 100 at 100/s: p50", ours.p50, "ms", 5),
        Figure("rank 100 at 100/s: p99", ours.p99, "ms", 25),
        Figure("floor 100 at 100/s: p50", floor.p50, "ms"),
        Figure("floor 100 at 100/s: p99", floor.p99, "ms"),
        Figure("rank 100 at 100/s: errors", ours.errors, "requests", 0),
    ]


def long_lists(bench: Bench) -> list[Figure]:
    """1,000 candidates, and the whole live catalogue."""
    ours, floor = bench.compare("/rank", bench.rank_bodies(1_000, 100), FEW)
    hundred = saturate(bench.api, "/rank", bench.rank_bodies(100), bench.seconds, FEW)
    whole = saturate(bench.api, "/rank", bench.rank_bodies(None, 100), bench.seconds, FEW)
    return [
        Figure("rank 1,000: CPU per request / floor", ours.cpu_milliseconds / floor.cpu_milliseconds, "ratio", 4),
        Figure("rank 1,000: CPU per request", ours.cpu_milliseconds, "ms"),
        Figure("floor 1,000: CPU per request", floor.cpu_milliseconds, "ms"),
        Figure(
            f"rank all {bench.sizes.articles}: CPU / one of 100", whole.cpu_milliseconds / hundred.cpu_milliseconds, "ratio", 60
        ),
        Figure(f"rank all {bench.sizes.articles}: CPU per request", whole.cpu_milliseconds, "ms"),
        Figure("rank 1,000 and all: errors", ours.errors + whole.errors, "requests", 0),
    ]


def decisions(bench: Bench) -> list[Figure]:
    """A decision in process, against peers that are installed."""
    command = [sys.executable, "-m", "benchmarks.speed.in_process", str(bench.sizes.articles)]
    environment = {**os.environ, **THREADS}  # read when numpy is imported, so in a process of its own
    found: dict[str, float] = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    figures = [Figure("decision in process, 100 candidates: CPU", found["decision"], "us")]
    if "lightgbm" in found:
        figures += [
            Figure("decision / LightGBM, 200 trees", found["decision"] / found["lightgbm"], "ratio", 2),
            Figure("LightGBM, 200 trees, 100 candidates: CPU", found["lightgbm"], "us"),
        ]
    if "vw_text" in found:
        figures += [
            Figure("decision / VW cb_explore_adf, its text format", found["decision"] / found["vw_text"], "ratio", 1),
            Figure("VW cb_explore_adf, its text format, 100 candidates: CPU", found["vw_text"], "us"),
            Figure("VW cb_explore_adf, examples parsed before: CPU", found["vw_parsed"], "us"),
        ]
    return figures


def feedback(bench: Bench) -> list[Figure]:
    """Clicks on lists that were really served, one by one and a hundred at a time."""
    clicks = clicks_on_lists(bench.sizes, bench.api)
    single = single_events(clicks)
    batches = [json.dumps({"events": clicks[i : i + 100]}).encode() for i in range(0, len(clicks), 100)]
    ours, floor = bench.compare("/feedback", single, CONNECTIONS)
    many = saturate(bench.api, "/feedback", batches, bench.seconds, CONNECTIONS)
    return [
        Figure(
            "feedback, 100 events: events/s / one by one", 100 * many.per_second / ours.per_second, "ratio", 10, at_least=True
        ),
        Figure("feedback, 1 event: requests/s / floor", ours.per_second / floor.per_second, "ratio", 0.4, at_least=True),
        Figure("feedback, 1 event: floor's CPU / CPU", floor.cpu_milliseconds / ours.cpu_milliseconds, "ratio", 0.4, True),
        Figure("feedback, 1 event: events per second", ours.per_second, "1/s"),
        Figure("feedback, 100 events: CPU / 1 event's", many.cpu_milliseconds / ours.cpu_milliseconds, "ratio"),
        Figure("feedback, 100 events: events per second", 100 * many.per_second, "1/s"),
        Figure("feedback: errors", ours.errors + many.errors, "requests", 0),
    ]


def clicks_on_lists(sizes: Sizes, server: Server) -> list[dict[str, str]]:
    """Events on every place of lists that were served; whoever sends them puts a number for the `@`: none is sent twice."""
    served = [post(server, "/rank", body) for body in rank_bodies(sizes, 100, 100)]
    return [
        {"event_id": f"{i}-{j}-@", "type": "click", "article_id": item["article_id"], "request_id": answer["request_id"]}
        for i, answer in enumerate(served)
        for j, item in enumerate(answer["items"])
    ]


def single_events(clicks: Sequence[dict[str, str]]) -> list[bytes]:
    return [json.dumps({"events": [click]}).encode() for click in clicks]


def not_in_memory(bench: Bench) -> list[Figure]:
    """Readers who come for the first time, and clicks on lists that were served before this process began."""
    known = bench.rank_bodies(100)
    each_once(bench.api, "/rank", known)
    new = [json.dumps(json.loads(body) | {"user_id": "new-@"}).encode() for body in known]
    ranked, first = (saturate(bench.api, "/rank", bodies, bench.seconds) for bodies in (known, new))
    old = clicks_on_old_lists(bench.database, min(OLD_LISTS, bench.sizes.impressions))
    recent = clicks_on_lists(bench.sizes, bench.api)
    again = [recent[i % len(recent)] for i in range(len(old))]
    (kept, kept_errors), (read, read_errors) = (spent(bench.api, single_events(clicks)) for clicks in (again, old))
    return [
        Figure("rank 100, new readers: CPU / known readers'", first.cpu_milliseconds / ranked.cpu_milliseconds, "ratio", 1.5),
        Figure("rank 100, new readers: requests per second", first.per_second, "1/s"),
        Figure("feedback, 1 event on an old list: CPU / on a list in memory", read / kept, "ratio", 2),
        Figure("feedback, 1 event on an old list: CPU", 1_000 * read / len(old), "ms"),
        Figure("not in memory: errors", ranked.errors + first.errors + kept_errors + read_errors, "requests", 0),
    ]


def clicks_on_old_lists(database: Database, count: int) -> list[dict[str, str]]:
    """One event on each of some lists that the log was filled with."""
    with psycopg.connect(database.url) as connection:
        lists = connection.execute("SELECT request_id, shown[1] FROM impressions ORDER BY seq LIMIT %s", [count]).fetchall()
    return [
        {"event_id": f"{request_id}-@", "type": "click", "article_id": first, "request_id": request_id}
        for request_id, first in lists
    ]


def spent(server: Server, bodies: Sequence[bytes]) -> tuple[float, int]:
    """Seconds of CPU that these requests take the server, and how many of them it did not answer with success."""
    numbered = [body.replace(b"@", b"%d" % (time.time_ns() + i)) for i, body in enumerate(bodies)]
    before = server.cpu_seconds()
    errors = each_once(server, "/feedback", numbered)
    return server.cpu_seconds() - before, errors


def idle(bench: Bench) -> list[Figure]:
    """What following the log costs a process that nobody asks anything, and its memory at the end."""
    before = bench.api.cpu_seconds()
    time.sleep(bench.seconds)
    used = bench.api.cpu_seconds() - before
    return [
        Figure("idle: CPU", 100 * used / bench.seconds, "% of a core"),
        Figure("resident memory at the end", bench.api.resident_megabytes(), "MB", 580),
    ]
