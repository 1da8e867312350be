"""The benchmark as a command: run every method, print the table, write the CSV and the picture."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.learning.chart import Points, write_chart
from benchmarks.learning.newsroom.judge import BINS_PER_DAY
from benchmarks.learning.newsroom.methods import OURS, Options, Result, perform, tasks
from benchmarks.learning.newsroom.table import finished, markdown, record, rows, total, verdict
from benchmarks.learning.pool import perform as in_processes
from drn.errors import InvalidInput


def benchmark(options: Options, workers: int, csv: Path | None, picture: Path | None, as_markdown: bool) -> None:
    """Prints one row per method on standard output; progress goes to standard error. Runs that `csv` holds are not run again.

    Raises:
        InvalidInput: there is no folder to write to.
        InvalidConfig: there is no such scenario or hyper-parameter.
    """
    for method in (*options.methods, OURS):
        options.digest(method)  # raises
    for path in (csv, picture):
        if path and not path.parent.is_dir():
            raise InvalidInput(f"there is no folder {path.parent} to write {path.name} to")
    every = list(tasks(options))
    results = list(finished(csv, options).values())
    done = {one.task for one in results}
    left = [task for task in every if task not in done]
    with record(csv, options) as add:
        title = f"{options.days} days, {options.readers} readers"
        for one in in_processes(partial(perform, options=options), left, workers, title) if left else ():
            add(one)
            results.append(one)
    results.sort(key=lambda one: every.index(one.task))
    table = sorted(rows(results, options.shift_day), key=lambda row: options.methods.index(row.method))
    print(markdown(table) if as_markdown else "\n".join(map(str, table)))
    print("\n".join(verdict(table)))
    if picture:
        title = f"Clicks per article shown, mean of {len(options.seeds)} seeds"
        marks = () if options.shift_day is None else (options.shift_day,)
        write_chart(picture, title, "days", "CTR", {"": curves(results)}, panel_width=700, marks=marks)


def curves(results: Sequence[Result]) -> dict[str, Points]:
    """CTR of each day over all seeds, by method."""
    runs: defaultdict[str, list[Result]] = defaultdict(list)
    for one in results:
        runs[one.task.method].append(one)
    days = len(results[0].bins) // BINS_PER_DAY
    return {method: [(day + 0.5, ctr_of_day(own, day)) for day in range(days)] for method, own in runs.items()}


def ctr_of_day(runs: Sequence[Result], day: int) -> float:
    quarters = slice(day * BINS_PER_DAY, (day + 1) * BINS_PER_DAY)
    return total(counts for one in runs for counts in one.bins[quarters]).ctr
