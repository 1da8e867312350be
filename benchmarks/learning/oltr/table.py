"""Runs as a table, with intervals, and as a CSV file."""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.learning.intervals import student
from benchmarks.learning.oltr.methods import Result
from benchmarks.learning.oltr.readers import NAMES


@dataclass(frozen=True, slots=True)
class Row:
    """One method: mean nDCG@10 by reader, half the 95 % interval of it (NaN from one repeat), and runs per reader."""

    method: str
    mean: tuple[float, ...]
    half: tuple[float, ...]
    runs: int

    def __str__(self) -> str:
        figures = "".join(f"  {name} {mean:.4f}" for name, mean in zip(NAMES, self.mean, strict=True))
        spread = " ".join("–" if np.isnan(half) else f"{half:.4f}" for half in self.half)
        return f"{self.method:<11}{figures}  n {self.runs}  ± {spread}"


def rows(results: Sequence[Result]) -> list[Row]:
    """One row per method, in the order of the results."""
    methods = dict.fromkeys(one.task.method for one in results)
    return [row(method, [one for one in results if one.task.method == method]) for method in methods]


def row(method: str, results: Sequence[Result]) -> Row:
    by_reader = [
        interval([(one.task.fold, one.curve.quality[-1]) for one in results if one.task.reader == name]) for name in NAMES
    ]
    runs = len(results) // len(NAMES)
    return Row(method, tuple(mean for mean, _ in by_reader), tuple(half for _, half in by_reader), runs)


def interval(values: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Mean of (fold, value) and half its 95 % interval, folds being given and repeats by chance.

    s² = Σ (x − x̄_fold)² / (runs − folds): some folds are harder than others, for every method alike.
    """
    folds = {fold for fold, _ in values}
    of_fold = {fold: np.array([value for other, value in values if other == fold]) for fold in folds}
    mean = float(np.mean([value for _, value in values]))
    freedom = len(values) - len(folds)
    if freedom < 1:
        return mean, float("nan")
    squares = sum(float(((found - found.mean()) ** 2).sum()) for found in of_fold.values())
    return mean, float(student(freedom) * np.sqrt(squares / freedom / len(values)))


@contextmanager
def record(path: Path | None) -> Iterator[Callable[[Result], None]]:
    """A function that adds a run to a CSV file, one line per point of its curve: what is done is kept if the rest is not."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "reader", "fold", "repeat", "impressions", "ndcg10"))

        def add(one: Result) -> None:
            task = one.task
            for impressions, quality in zip(one.curve.impressions, one.curve.quality, strict=True):
                writer.writerow((task.method, task.reader, task.fold, task.repeat, impressions, f"{quality:.6f}"))
            file.flush()

        yield add
