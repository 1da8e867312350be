"""`/rank` while a learner retrains on the other core."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import numpy as np

from benchmarks.speed.figures import STEADY, Bench, Figure
from benchmarks.speed.load import Latency, each_once, open_loop
from benchmarks.speed.processes import THREADS

FIRST = -10  # niceness of the load, which stands for other machines: it must not wait for the learner to look at the clock


def retraining(bench: Bench) -> list[Figure]:
    """p99 before, during and after a major retrain by the operator's command, on the core of PostgreSQL and load.

    It is followed from its start (reading the replay included) to its end, or for twice as long as it is measured without.
    """
    bodies = bench.rank_bodies(100)
    each_once(bench.api, "/rank", bodies)

    def measured(seconds: float, stop: Event | None = None) -> Latency:
        return open_loop(bench.api, "/rank", bodies, STEADY, seconds, stop)

    with first_in_line():
        before = measured(bench.latency_seconds / 2)
        with learning(bench.database.url) as ended:
            began = time.perf_counter()
            during = measured(2 * bench.latency_seconds, ended)
            seconds = time.perf_counter() - began
        after = measured(bench.latency_seconds / 2)
    without = np.concatenate([before.milliseconds, after.milliseconds])
    usual = float(np.percentile(without, 99))
    return [
        Figure("rank 100 during a major retrain: p99 / without", during.p99 / usual, "ratio", 2.5),
        Figure("rank 100 during a major retrain: p99", during.p99, "ms"),
        Figure("rank 100 without: p99", usual, "ms"),
        Figure("rank 100 during a major retrain: p50", during.p50, "ms"),
        Figure("rank 100 without: p50", float(np.median(without)), "ms"),
        Figure("seconds of the retrain that were seen", seconds, "s"),
        Figure("retrain: errors", before.errors + during.errors + after.errors, "requests", 0),
    ]


@contextmanager
def first_in_line() -> Iterator[None]:
    """This thread goes before others on its core, where it may."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


@contextmanager
def learning(url: str) -> Iterator[Event]:
    """A major retrain under way, and the event of its end; one that is not done when the block ends is stopped.

    Raises:
        RuntimeError: it failed, or found nothing to learn from.
    """
    command = [sys.executable, "-m", "jobs", "major-retrain"]
    environment = {**os.environ, **THREADS, "DATABASE_URL": url}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.setpriority(os.PRIO_PROCESS, process.pid, 0)  # before it has any threads, which inherit it
    ended = Event()
    waiting = Thread(target=lambda: (process.wait(), ended.set()))
    waiting.start()
    try:
        yield ended
    finally:
        finished = ended.is_set()
        process.terminate()
        waiting.join()
    output = process.stdout.read() if process.stdout else ""
    if finished and (process.returncode or "needed" in output):
        raise RuntimeError(f"no retraining: {output}")
