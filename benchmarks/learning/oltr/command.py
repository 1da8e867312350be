"""The benchmark as a command: run every method, print the table, write the CSV and the picture."""

import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.learning.chart import Points, write_chart
from benchmarks.learning.oltr.letor import DataError, load
from benchmarks.learning.oltr.methods import Options, Result, Task, Worker, tasks
from benchmarks.learning.oltr.readers import NAMES
from benchmarks.learning.oltr.table import record, rows


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
        for one in perform(every, options, workers):
            add(one)
            results.append(one)
    results.sort(key=lambda one: every.index(one.task))
    for row in rows(results):
        print(row)
    if picture:
        title = f"Held-out nDCG@10 while learning, mean of {rows(results)[0].runs} runs"
        write_chart(picture, title, "impressions", "nDCG@10", curves(results))


def perform(every: Sequence[Task], options: Options, workers: int) -> Iterator[Result]:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read by the workers' BLAS when they start
        os.environ[name] = "1"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    spawn = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads in an unknown state
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=Worker.start, initargs=(options,)) as pool,
    ):
        bar = progress.add_task(f"{options.impressions:,} impressions per run", total=len(every))
        try:
            for future in as_completed([pool.submit(Worker.perform, task) for task in every]):
                progress.advance(bar)
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
