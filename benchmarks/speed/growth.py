"""The same service at a log that has grown: two databases in one PostgreSQL, an API process at each, measured in turns."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

import numpy as np
import psycopg

from benchmarks.speed.figures import STEADY, Bench, Figure, clicks_on_lists, single_events
from benchmarks.speed.filling import fill
from benchmarks.speed.lasting import one_list_each
from benchmarks.speed.load import each_once, open_loop, saturate
from benchmarks.speed.processes import Server, family_cpu_seconds
from benchmarks.speed.together import stopped
from service.store import migrate

WITHIN = 1.1  # times what it is with the smaller log
NEW_READERS = 300  # who are read from the log, in each round others


Work: TypeAlias = Callable[[], int]
"""Some requests to one server; how many there were."""


@dataclass(frozen=True, slots=True)
class Site:
    """A log, and the API process that serves it."""

    server: Server
    postmaster: int

    def cost(self, work: Work) -> float:
        """Milliseconds of CPU per request, of the API process and PostgreSQL together."""
        before = self.server.cpu_seconds() + family_cpu_seconds(self.postmaster)
        count = work()
        return 1_000 * (self.server.cpu_seconds() + family_cpu_seconds(self.postmaster) - before) / count


def growth(bench: Bench) -> list[Figure]:
    """Every figure at the large log ÷ the same at the small one, and the large one's own."""
    with psycopg.connect(bench.database.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE grown TEMPLATE template0")
    large = replace(bench.database, url=bench.database.address("grown"))
    migrate.upgrade(large.url)
    began = time.perf_counter()
    asyncio.run(fill(large.url, replace(bench.sizes, impressions=bench.grown)))
    filled = time.perf_counter() - began
    with bench.another_api(large, core=bench.core) as server:
        sites = Site(bench.api, large.pid), Site(server, large.pid)

        def works(kind: Callable[[Bench, Server], Work]) -> list[Work]:
            return [kind(bench, site.server) for site in sites]

        return [
            *compared("rank 100: CPU with PostgreSQL's", sites, works(warm_lists), bench.rounds, WITHIN),
            *compared("feedback, 1 event: CPU with PostgreSQL's", sites, works(single_clicks), bench.rounds, WITHIN),
            *compared("a reader first asked for: CPU with PostgreSQL's", sites, works(first_lists), bench.rounds, None),
            *latencies(bench, sites),
            Figure(f"start to ready at {bench.grown:,}", server.seconds_to_ready, "s", 15),
            Figure(f"resident memory at {bench.grown:,}", server.resident_megabytes(), "MB", 580),
            Figure(f"filled with {bench.grown:,}", filled, "s"),
        ]


def compared(name: str, sites: Sequence[Site], works: Sequence[Work], rounds: int, limit: float | None) -> list[Figure]:
    """The median cost at the one site ÷ at the other, who take turns; whoever has to wait is stopped meanwhile."""
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for place, other in ((0, 1), (1, 0)):
            with stopped(sites[other].server):
                found[place].append(sites[place].cost(works[place]))
    small, large = (float(np.median(each)) for each in found)
    return [Figure(f"{name}, grown / not", large / small, "ratio", limit), Figure(f"{name}, grown", large, "ms")]


def warm_lists(bench: Bench, server: Server) -> Work:
    bodies = bench.rank_bodies(100)
    each_once(server, "/rank", bodies)
    return lambda: saturate(server, "/rank", bodies, bench.seconds).requests


def single_clicks(bench: Bench, server: Server) -> Work:
    bodies = single_events(clicks_on_lists(bench.sizes, server))
    return lambda: saturate(server, "/feedback", bodies, bench.seconds).requests


def first_lists(bench: Bench, server: Server) -> Work:
    """Each time other readers, who are read from the log."""
    bodies = one_list_each(bench)

    def work() -> int:
        some = list(islice(bodies, NEW_READERS))
        each_once(server, "/rank", some)
        return len(some)

    return work


def latencies(bench: Bench, sites: Sequence[Site]) -> list[Figure]:
    bodies = bench.rank_bodies(100)
    small, large = (open_loop(site.server, "/rank", bodies, STEADY, bench.latency_seconds) for site in sites)
    return [
        Figure("rank 100 at 100/s: p50, grown / not", large.p50 / small.p50, "ratio", WITHIN),
        Figure("rank 100 at 100/s: p99, grown / not", large.p99 / small.p99, "ratio"),
        Figure("rank 100 at 100/s: p50, grown", large.p50, "ms"),
        Figure("rank 100 at 100/s: p99, grown", large.p99, "ms"),
    ]
