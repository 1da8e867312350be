"""`python -m benchmarks.speed [--quick] [--csv FILE]`: fills a PostgreSQL of its own, starts the servers, measures, prints."""

import argparse
import asyncio
import csv
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.speed.figures import Bench, Figure, decisions, feedback, idle, long_lists, ranking, start, steady
from benchmarks.speed.filling import Sizes, fill
from benchmarks.speed.processes import api, cores, floor, free_port
from service.store import embedded, migrate

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}  # commits reach the disk, as they would in service
GROUPS = {
    "start": start,
    "steady": steady,
    "ranking": ranking,
    "lists": long_lists,
    "decisions": decisions,
    "feedback": feedback,
    "idle": idle,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small log and short measurements: under three minutes")
    parser.add_argument("--csv", type=Path, help="write name,value,unit,to_reach,met to this file")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="some groups of rows")
    parser.add_argument("--articles", type=int, default=10_000)
    parser.add_argument("--readers", type=int, help="default 100,000; 2,000 with --quick")
    parser.add_argument("--impressions", type=int, help="already in the log; default 1,000,000; 20,000 with --quick")
    return parser.parse_args()


def main() -> int:
    options = arguments()
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
    logging.disable(logging.INFO)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory, embedded.tied(Path(directory), SETTINGS) as database:
        began = time.perf_counter()
        migrate.upgrade(database.url)
        asyncio.run(fill(database.url, sizes))
        print(f"filled {sizes} in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        with api(database.url, free_port(), measured, 2 * sizes.articles) as ours, floor(free_port(), measured) as least:
            bench = Bench(ours, least, sizes, *((4, 2, 8) if quick else (8, 5, 60)))
            for name in options.only:
                figures += GROUPS[name](bench)
    show(figures, measured, others)
    if options.csv:
        write(figures, options.csv)
    return 0


def show(figures: Sequence[Figure], measured: set[int], others: set[int]) -> None:
    table = Table(title=f"{os.cpu_count()} cores: servers on {sorted(measured)}, load and PostgreSQL on {sorted(others)}")
    for heading in ("what", "measured", "unit", "to reach", "met"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, figure.to_reach, figure.met)
    Console(width=120).print(table)
    for peer, module in (("VW", "vowpalwabbit"), ("LightGBM", "lightgbm")):
        if importlib.util.find_spec(module) is None:
            print(f"{peer} is not installed, so nothing is compared with it")


def write(figures: Sequence[Figure], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "value", "unit", "to_reach", "met"])
        for figure in figures:
            writer.writerow([figure.name, f"{figure.value:.6g}", figure.unit, figure.to_reach, figure.met])


if __name__ == "__main__":
    sys.exit(main())
