"""`python -m benchmarks.speed --check`: a quick form of the ratios, held against `baseline.csv`; a slower one fails.

Only CPU time is compared, and only as a ratio of ours to a fixed piece of work that takes turns with it in the same run: the
floor's for requests, numpy's for a decision. Other work on the machine, and how fast the machine is, meet both. What is left of
the noise is far below the 30 % that fail (docs/decisions/0012).
"""

import asyncio
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.speed.figures import clicks_on_lists, rank_bodies, single_events
from benchmarks.speed.filling import Sizes, begin
from benchmarks.speed.in_process import decision
from benchmarks.speed.load import each_once
from benchmarks.speed.processes import THREADS, Server, api, cores, floor, free_port
from service.store import embedded, migrate

BASELINE = Path(__file__).with_name("baseline.csv")
SLOWER = 1.3  # times the baseline: a regression
TRIES = 3  # a regression is there every time, a bad moment of the machine is not
SIZES = Sizes(articles=2_000, readers=100, impressions=0)
ROUNDS = 7  # of which the median counts
CLIENTS = 16  # at once, so that as much is committed together on a slow machine as on a fast one
DECISION = "decision in process / numpy"


@dataclass(frozen=True, slots=True)
class Requests:
    """Some requests of one kind; `@` in them is replaced by a number that grows."""

    name: str
    path: str
    bodies: Sequence[bytes]

    def cost(self, server: Server, numbers: Iterator[int]) -> float:
        """Seconds of CPU that they take the server.

        Raises:
            RuntimeError: some were not answered with success.
        """
        bodies = [body.replace(b"@", b"%d" % next(numbers)) for body in self.bodies]
        before = server.cpu_seconds()
        if errors := each_once(server, self.path, bodies, CLIENTS):
            raise RuntimeError(f"{errors} of {len(bodies)} requests to {self.path} failed")
        return server.cpu_seconds() - before


def check() -> list[tuple[str, float, float]]:
    """The ratios that are slower than the baseline by more than `SLOWER`, as (name, ratio, baseline); prints all.

    Raises:
        FileNotFoundError: there is no baseline.
    """
    baseline = read(BASELINE)
    best: dict[str, float] = {}
    with measuring() as measure:
        for _ in range(TRIES):
            suspects = [name for name in baseline if name not in best or best[name] > SLOWER * baseline[name]]
            if not suspects:
                break
            for name, ratio in measure(suspects).items():
                best[name] = min(ratio, best.get(name, ratio))
    for name, ratio in best.items():
        print(f"{name}: {ratio:.2f}, {ratio / baseline[name]:.2f} times the baseline")
    return [(name, ratio, baseline[name]) for name, ratio in best.items() if ratio > SLOWER * baseline[name]]


def write_baseline() -> None:
    """Makes the ratios of now the baseline: the median of `TRIES` runs each."""
    with measuring() as measure:
        runs = [measure(()) for _ in range(TRIES)]
    with BASELINE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "ratio"])
        writer.writerows([name, f"{np.median([run[name] for run in runs]):.3g}"] for name in runs[0])


def read(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        return {row["name"]: float(row["ratio"]) for row in csv.DictReader(file)}


Measure = Callable[[Sequence[str]], dict[str, float]]
"""Ratios by name, ours ÷ the fixed work's: of the names that are given, or all."""


@contextmanager
def measuring() -> Iterator[Measure]:
    """Both servers, at a database of their own."""
    measured, others = cores()
    os.sched_setaffinity(0, others)
    numbers = count(time.time_ns())
    with tempfile.TemporaryDirectory() as directory, embedded.tied(Path(directory), embedded.SCRATCH) as database:
        migrate.upgrade(database.url)
        asyncio.run(begin(database.url, SIZES, datetime.now(UTC)))
        with api(database.url, free_port(), measured) as ours, floor(free_port(), measured) as least:
            kinds = requests(ours)

            def measure(names: Sequence[str]) -> dict[str, float]:
                wanted = [kind for kind in kinds if not names or kind.name in names]
                found = {kind.name: ratio(kind, ours, least, numbers) for kind in wanted}
                return found if names and DECISION not in names else {**found, DECISION: decision_ratio()}

            yield measure


def requests(server: Server) -> list[Requests]:
    lists = rank_bodies(SIZES, 100, 200, SIZES.readers)
    each_once(server, "/rank", lists)  # every reader is read from the log once, and that is not what is measured
    clicks = clicks_on_lists(SIZES, server)
    batches = [json.dumps({"events": clicks[i : i + 100]}).encode() for i in range(0, len(clicks), 100)]
    new = [json.dumps(json.loads(body) | {"user_id": "new-@"}).encode() for body in lists]
    return [
        Requests("rank 100: CPU / floor's", "/rank", lists),
        Requests("rank 100, new readers: CPU / floor's", "/rank", new),
        Requests("rank 1,000: CPU / floor's", "/rank", rank_bodies(SIZES, 1_000, 40, SIZES.readers)),
        Requests("feedback, 1 event: CPU / floor's", "/feedback", single_events(clicks)[:600]),
        # Ten batches would take the floor too little to measure.
        Requests("feedback, 100 events: CPU / floor's", "/feedback", 10 * batches),
    ]


def ratio(kind: Requests, ours: Server, least: Server, numbers: Iterator[int]) -> float:
    """The median of what our server takes ÷ what the floor takes, each round both."""
    return float(np.median([kind.cost(ours, numbers) / kind.cost(least, numbers) for _ in range(ROUNDS)]))


def decision_ratio() -> float:
    """In a process of its own: numpy reads how many threads it may use when it is imported."""
    command = [sys.executable, "-m", "benchmarks.speed.regression"]
    output = subprocess.run(command, env={**os.environ, **THREADS}, stdout=subprocess.PIPE, check=True).stdout
    return float(output)


def decided(calls: int = 100) -> float:
    """The median of the CPU time of decisions ÷ that of as many turns of the fixed work."""
    decide, _ = decision(SIZES.articles)
    reference = fixed_work()

    def seconds(work: Callable[[int], object]) -> float:
        started = time.process_time()
        for i in range(calls):
            work(i)
        return time.process_time() - started

    seconds(decide), seconds(reference)
    return float(np.median([seconds(decide) / seconds(reference) for _ in range(3 * ROUNDS)]))


def fixed_work() -> Callable[[int], object]:
    """As a decision is made: small array operations, look-ups in dictionaries, and products of the networks' sizes."""
    rng = np.random.default_rng(0)
    inputs, hidden, out = (rng.normal(size=shape).astype(np.float32) for shape in ((100, 64), (64, 64), (64, 32)))
    places: Mapping[str, int] = {f"a{i}": i for i in range(1_000)}
    names = list(places)[::10]

    def work(_: int) -> object:
        rows = np.array([places[name] for name in names])
        scores = np.maximum(inputs @ hidden, 0) @ out
        for _ in range(10):
            scores = scores - scores.mean(axis=0)
            order = scores[:, 0].argsort(kind="stable")
            scores = np.log1p(np.abs(scores[order]))
        return rows[scores.sum(axis=1).argsort()].tolist()

    return work


if __name__ == "__main__":
    print(decided())
