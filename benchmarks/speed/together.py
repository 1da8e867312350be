"""Two API processes at one log: what the second one costs, and how soon each knows what the other was told."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from os import kill
from threading import Event
from typing import Any

import numpy as np

from benchmarks.speed.figures import Bench, Figure, middle
from benchmarks.speed.load import CONNECTIONS, PATIENCE, Latency, Saturation, ask, each_once, open_loop, post, saturate
from benchmarks.speed.processes import Server
from drn.versions import rollback
from service.store import versions
from service.store.engine import create_engine, writing

CATCH_UP = 2.0  # seconds in which a process that was stopped follows what it missed
HAND_IN = 0.5  # seconds in which a process commits what it has in hand; PostgreSQL ends a commit that stands still for two
LONGEST_STOP = 3.0  # seconds: PostgreSQL ends a look at the log that stands still for five
BESIDE = 50.0  # requests per second at each process meanwhile
AROUND = 0.5  # seconds after everybody serves a version that still count as its swap
LONGEST = 600.0  # seconds that it may take in all
PAUSE = 0.002  # seconds between two looks


def two(bench: Bench) -> list[Figure]:
    """CPU time per request of two processes against one alone; in turns, so that a noisy moment meets both.

    Any reader comes to either process. Each has as many connections as the one alone: with half as many, groups that are
    committed together would be half as large, which alone takes a fifth more CPU. While one is measured the other is stopped.
    """
    bodies = bench.rank_bodies(100)
    halves = [[body for place, body in enumerate(bodies) if place % 2 == half] for half in (0, 1)]
    with bench.another_api() as second:
        servers = (bench.api, second)
        for server in servers:
            each_once(server, "/rank", bodies)
        alone, shared, apart = [], [], []
        for _ in range(bench.rounds):
            with stopped(second):
                alone.append(saturate(bench.api, "/rank", bodies, min(bench.seconds, LONGEST_STOP), CONNECTIONS))
            time.sleep(CATCH_UP)
            shared.append(both(servers, (bodies, bodies[::-1]), bench.seconds))
            apart.append(both(servers, halves, bench.seconds))
    one, any_, own = middle(alone), middle(shared), middle(apart)
    return [
        Figure("two processes: CPU per request / one's", any_.cpu_milliseconds / one.cpu_milliseconds, "ratio", 1.15),
        Figure("two processes: CPU per request", any_.cpu_milliseconds, "ms"),
        Figure("one process: CPU per request", one.cpu_milliseconds, "ms"),
        Figure("two, a reader always at the same: CPU / one's", own.cpu_milliseconds / one.cpu_milliseconds, "ratio"),
        Figure("two processes: errors", any_.errors + own.errors, "requests", 0),
    ]


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    time.sleep(HAND_IN)
    kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(server.pid, signal.SIGCONT)


def both(servers: Sequence[Server], bodies: Sequence[Sequence[bytes]], seconds: float) -> Saturation:
    """Both saturated at once, each by as many connections as one alone; CPU time per request over both."""
    with ThreadPoolExecutor() as pool:
        each = [
            pool.submit(saturate, server, "/rank", own, seconds, CONNECTIONS) for server, own in zip(servers, bodies, strict=True)
        ]
        found = [one.result() for one in each]
    requests = sum(one.requests for one in found)
    used = sum(one.cpu_milliseconds * one.requests for one in found)
    return Saturation(requests, sum(one.per_second for one in found), used / requests, sum(one.errors for one in found))


def news(bench: Bench) -> list[Figure]:
    """Seconds from a click to its effect on features, and from a published version to its service, in every process."""
    with bench.another_api() as second:
        servers = (bench.api, second)
        for server in servers:
            each_once(server, "/rank", bench.rank_bodies(100))
        return [*clicks(servers, bench), *swaps(servers, bench)]


def clicks(servers: Sequence[Server], bench: Bench) -> list[Figure]:
    """A warm reader clicks, told to one process; then lists are asked for until the logged features say so.

    The clock stops when such a list has arrived, so the list's own time is in it.
    """
    own, other = [], []
    candidates = [f"a{i}" for i in range(bench.sizes.articles - bench.times, bench.sizes.articles)]
    bodies = bench.rank_bodies(100)
    with beside(servers, bodies) as traffic, ThreadPoolExecutor() as pool:
        for number, article_id in enumerate(candidates):
            told, untold = servers if number % 2 else servers[::-1]
            user_id = f"u{number % bench.sizes.readers}"
            event = {"event_id": f"click-{time.time_ns()}", "article_id": article_id, "type": "click", "user_id": user_id}
            clicked = time.perf_counter()
            post(told, "/feedback", json.dumps({"events": [event]}).encode())
            seen = [pool.submit(until_read, server, user_id, article_id) for server in (told, untold)]
            own.append(seen[0].result() - clicked)
            other.append(seen[1].result() - clicked)
    return [
        Figure("click to features, every process: p99", p99([*own, *other]), "s", 1),
        Figure("click to features, the process told: p50", float(np.median(own)), "s"),
        Figure("click to features, the other: p50", float(np.median(other)), "s"),
        Figure("click to features: errors", sum(each.result().errors for each in traffic), "requests", 0),
    ]


def until_read(server: Server, user_id: str, article_id: str) -> float:
    """When the features of this reader and article first showed a click."""
    body = json.dumps({"user_id": user_id, "candidates": [article_id], "k": 1}).encode()
    deadline = time.perf_counter() + PATIENCE
    while (asked := time.perf_counter()) < deadline:
        answer = post(server, "/rank", body)
        arrived = time.perf_counter()
        decision = ask(server, "GET", f"/decisions/{answer['request_id']}")
        if decision["items"][0]["features"].get("already_read", 0) > 0:
            return arrived
        time.sleep(PAUSE)
    raise RuntimeError(f"{server.name} did not see the click within {asked - deadline + PATIENCE:.0f} s")


def swaps(servers: Sequence[Server], bench: Bench) -> list[Figure]:
    """A version is committed; then lists are asked for until each process serves it, with other requests under way."""
    seconds, windows = [], []
    bodies = bench.rank_bodies(100)
    with beside(servers, bodies) as traffic, ThreadPoolExecutor() as pool:
        for _ in range(bench.times // 2):
            version_id, published = asyncio.run(publish(bench.database.url))
            seen = [pool.submit(until_served, server, version_id) for server in servers]
            served = [each.result() for each in seen]
            seconds += [at - published for at in served]
            windows.append((published, max(served) + AROUND))
            time.sleep(2 * AROUND)
    found = [each.result() for each in traffic]
    during = [inside(each, windows) for each in found]
    after = [inside(each, [(end, end + AROUND) for _, end in windows]) for each in found]
    slowest, otherwise = (
        max(float(each.milliseconds[some].max()) for each, some in zip(found, chosen, strict=True)) for chosen in (during, after)
    )
    usual = p99(np.concatenate([each.milliseconds[~swap] for each, swap in zip(found, during, strict=True)]))
    return [
        Figure("version published to served everywhere: p99", p99(seconds), "s", 1),
        Figure("version published to served: p50", float(np.median(seconds)), "s"),
        Figure("slowest request during swaps / p99 outside", slowest / usual, "ratio", 2),
        Figure("slowest request during swaps", slowest, "ms"),
        Figure("slowest request as long after swaps / p99 outside", otherwise / usual, "ratio"),
        Figure("p99 outside swaps", usual, "ms"),
        Figure("swaps: errors", sum(each.errors for each in found), "requests", 0),
    ]


async def publish(url: str) -> tuple[int, float]:
    """Appends a version as learners and rollbacks do; its id, and when it was about to be committed."""
    engine = create_engine(url)
    try:
        async with writing(engine) as connection:
            head = await versions.head(connection)
            assert head is not None
            version = rollback(head, head, datetime.now(UTC))
            await versions.append(connection, version)
            return version.id, time.perf_counter()
    finally:
        await engine.dispose()


def until_served(server: Server, version_id: int) -> float:
    """When a list of this version had arrived."""
    body = json.dumps({"candidates": ["a0"], "k": 1}).encode()
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        if post(server, "/rank", body)["model_version"] >= version_id:
            return time.perf_counter()
        time.sleep(PAUSE)
    raise RuntimeError(f"{server.name} did not serve version {version_id} within {PATIENCE:g} s")


@contextmanager
def beside(servers: Sequence[Server], bodies: Sequence[bytes]) -> Iterator[list[Future[Latency]]]:
    """`BESIDE` requests per second at each process until the block ends; what became of them is known then."""
    stop = Event()
    with ThreadPoolExecutor(len(servers)) as pool:
        found = [pool.submit(open_loop, server, "/rank", bodies, BESIDE, LONGEST, stop) for server in servers]
        try:
            yield found
        finally:
            stop.set()


def inside(latency: Latency, windows: Sequence[tuple[float, float]]) -> Any:
    """Which requests were under way in one of the windows.  (n,)"""
    ended = latency.due + latency.milliseconds / 1_000
    return np.any([(ended >= begin) & (latency.due <= end) for begin, end in windows], axis=0)


def p99(values: Any) -> float:
    return float(np.percentile(values, 99))
