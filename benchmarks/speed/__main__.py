"""`python -m benchmarks.speed [--quick] [--csv FILE]`: fills a PostgreSQL of its own, starts the servers, measures, prints."""

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed import beside_learning, figures, growth, lasting, regression, together
from benchmarks.speed.figures import Bench, Figure
from benchmarks.speed.filling import Sizes, fill
from benchmarks.speed.processes import api, cores, floor, free_port
from benchmarks.speed.table import machine, show, write
from service.store import embedded, migrate

# Commits reach the disk, as they would in service; and as after some days of it, no write-ahead log has to be made anew.
SETTINGS = {"max_wal_size": "4GB", "min_wal_size": "4GB"}
GROUPS = {
    "start": figures.start,
    "steady": figures.steady,
    "ranking": figures.ranking,
    "lists": figures.long_lists,
    "decisions": figures.decisions,
    "feedback": figures.feedback,
    "absent": figures.not_in_memory,
    "two": together.two,
    "news": together.news,
    "retraining": beside_learning.retraining,
    "memory": lasting.memory,
    "idle": figures.idle,
    "soak": lasting.soak,
    "growth": growth.growth,
}
LONG = ("soak", "growth")  # only when they are asked for: a quarter of an hour each


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small log and short measurements: under three minutes")
    parser.add_argument("--csv", type=Path, help="write name,value,unit,to_reach,met to this file")
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, default=[name for name in GROUPS if name not in LONG], help="some groups of rows"
    )
    parser.add_argument("--articles", type=int, default=10_000)
    parser.add_argument("--readers", type=int, help="default 100,000; 2,000 with --quick")
    parser.add_argument("--impressions", type=int, help="already in the log; default 1,000,000; 20,000 with --quick")
    parser.add_argument("--soak", type=float, default=10, metavar="MINUTES", help="of the group `soak`; default 10")
    parser.add_argument("--grown", type=int, help="impressions of the group `growth`; default ten times as many")
    parser.add_argument("--check", action="store_true", help="only the ratios that a regression shows in, against the baseline")
    parser.add_argument("--write-baseline", action="store_true", help="make the ratios of now that baseline")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    logging.disable(logging.INFO)
    if options.write_baseline:
        regression.write_baseline()
        return 0
    if options.check:
        return verdict()
    if shutil.which("wrk") is None:
        print("wrk is needed for saturation: apt-get install wrk", file=sys.stderr)
        return 2
    quick = options.quick
    sizes = Sizes(
        options.articles,
        options.readers or (2_000 if quick else 100_000),
        options.impressions or (20_000 if quick else 1_000_000),
    )
    measured, others = cores()
    os.sched_setaffinity(0, others)  # PostgreSQL and wrk inherit it
    found: list[Figure] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as directory, embedded.tied(Path(directory), SETTINGS) as database:
        began = time.perf_counter()
        migrate.upgrade(database.url)
        asyncio.run(fill(database.url, sizes))
        tell(f"filled {sizes}", began)
        with api(database.url, free_port(), measured, 2 * sizes.articles) as ours, floor(free_port(), measured) as least:
            seconds, rounds, latency_seconds, times = (4, 2, 8, 10) if quick else (8, 5, 60, 60)
            grown = options.grown or 10 * sizes.impressions
            bench = Bench(database, ours, least, measured, sizes, seconds, rounds, latency_seconds, times, options.soak, grown)
            for name in options.only:
                began = time.perf_counter()
                try:
                    found += GROUPS[name](bench)
                except RuntimeError as error:  # the other groups are worth having
                    failed.append(f"{name} was not measured: {error}")
                tell(name, began)
    show(found, f"servers on core {sorted(measured)}, load and PostgreSQL on {sorted(others)}: {machine()}")
    if options.csv:
        write(found, options.csv)
    print("".join(f"{each}\n" for each in failed), end="", file=sys.stderr)
    return 1 if failed else 0


def verdict() -> int:
    """What the check says, as an exit status."""
    slower = regression.check()
    for name, ratio, baseline in slower:
        print(f"slower: {name} is {ratio:.2f}, {ratio / baseline:.2f} times the baseline of {baseline:.2f}", file=sys.stderr)
    return 1 if slower else 0


def tell(what: str, began: float) -> None:
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
