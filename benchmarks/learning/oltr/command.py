"""The benchmark as a command: run every method, print the table, write the CSV and the picture."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.learning.chart import Points, write_chart
from benchmarks.learning.oltr.letor import DataError, load
from benchmarks.learning.oltr.methods import Options, Result, Worker, tasks
from benchmarks.learning.oltr.readers import NAMES
from benchmarks.learning.oltr.table import record, rows
from benchmarks.learning.pool import perform


def benchmark(options: Options, workers: int, csv: Path | None, picture: Path | None) -> None:
    """Prints one row per method on standard output; progress goes to standard error.

    Raises:
        DataError: the data is missing or cannot be read, or there is no folder to write to.
    """
    for path in (csv, picture):
        if path and not path.parent.is_dir():
            raise DataError(f"there is no folder {path.parent} to write {path.name} to")
    every = list(tasks(options, load(options.data, options.folds)))
    results = []
    with record(csv) as add:
        title = f"{options.impressions:,} impressions per run"
        for one in perform(Worker.perform, every, workers, title, Worker.start, (options,)):
            add(one)
            results.append(one)
    results.sort(key=lambda one: every.index(one.task))
    for row in rows(results):
        print(row)
    if picture:
        title = f"Held-out nDCG@10 while learning, mean of {rows(results)[0].runs} runs"
        write_chart(picture, title, "impressions", "nDCG@10", curves(results))


def curves(results: Sequence[Result]) -> dict[str, dict[str, Points]]:
    """Mean learning curve by reader and method."""
    found: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for one in results:
        found[one.task.reader, one.task.method].append(one)
    panels: dict[str, dict[str, Points]] = {name: {} for name in NAMES}
    for (reader, method), runs in found.items():
        mean = np.mean([one.curve.quality for one in runs], axis=0)
        panels[reader][method] = list(zip(map(float, runs[0].curve.impressions), map(float, mean), strict=True))
    return panels
