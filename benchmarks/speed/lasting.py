"""Memory: with every reader in it, and after minutes of service."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.figures import Bench, Figure
from benchmarks.speed.load import each_once, open_loop
from benchmarks.speed.together import LONGEST

SOAK_RATE = 100.0  # lists per second, each for a reader drawn at random, …
SOAK_CLICKS = 30.0  # … and clicks per second beside them
WARM_UP = 0.2  # share of a soak after which memory is to stay where it is
EVERY = 1.0  # seconds between two looks at it
FLAT = 1.0  # megabytes per minute: what lists leave behind in their readers' memory at this rate is half of it


def memory(bench: Bench) -> list[Figure]:
    """Every reader asks once, and is kept from then on."""
    before = bench.api.resident_megabytes()
    began = time.perf_counter()
    errors = each_once(bench.api, "/rank", one_list_each(bench))
    seconds = time.perf_counter() - began
    return [
        Figure("resident memory with every reader", bench.api.resident_megabytes(), "MB", 580),
        Figure("resident memory before they came", before, "MB"),
        Figure("readers first asked for: per second", bench.sizes.readers / seconds, "1/s"),
        Figure("readers first asked for: errors", errors, "requests", 0),
    ]


def one_list_each(bench: Bench) -> Iterator[bytes]:
    candidates = [f"a{i}" for i in range(20)]
    for reader in range(bench.sizes.readers):
        yield json.dumps({"user_id": f"u{reader}", "k": 10, "candidates": candidates}).encode()


def soak(bench: Bench) -> list[Figure]:
    """Lists and clicks for minutes on end; the slope of the resident memory after a warm-up."""
    rng = np.random.default_rng(3)
    seconds = 60 * bench.soak_minutes
    lists = bench.rank_bodies(100, int(SOAK_RATE * min(seconds, LONGEST)), readers=bench.sizes.readers)
    pairs = rng.integers((bench.sizes.articles, bench.sizes.readers), size=(int(SOAK_CLICKS * seconds), 2))
    events = [click(f"soak-{time.time_ns()}-{i}", f"a{article}", f"u{reader}") for i, (article, reader) in enumerate(pairs)]
    stop = Event()
    with ThreadPoolExecutor() as pool:
        served = pool.submit(open_loop, bench.api, "/rank", lists, SOAK_RATE, seconds, stop)
        clicked = pool.submit(open_loop, bench.api, "/feedback", events, SOAK_CLICKS, seconds, stop)
        minutes, megabytes = watch(bench, seconds)
        stop.set()
    late = minutes >= WARM_UP * bench.soak_minutes
    slope = float(np.polyfit(minutes[late], megabytes[late], 1)[0])
    return [
        Figure(f"soak of {bench.soak_minutes:g} min: slope of resident memory", slope, "MB/min", FLAT),
        Figure("soak: resident memory at the end", float(megabytes[-1]), "MB", 580),
        Figure("soak: p99 of /rank", served.result().p99, "ms"),
        Figure("soak: errors", served.result().errors + clicked.result().errors, "requests", 0),
    ]


def click(event_id: str, article_id: str, user_id: str) -> bytes:
    event = {"event_id": event_id, "type": "click", "article_id": article_id, "user_id": user_id}
    return json.dumps({"events": [event]}).encode()


def watch(bench: Bench, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Resident megabytes of the API process, each with the minutes since the beginning.  (n,), (n,)"""
    began = time.perf_counter()
    found = []
    while (passed := time.perf_counter() - began) < seconds:
        found.append((passed / 60, bench.api.resident_megabytes()))
        time.sleep(EVERY)
    minutes, megabytes = np.array(found).T
    return minutes, megabytes
