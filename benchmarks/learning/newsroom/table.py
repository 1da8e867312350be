"""Runs as a table with intervals over seeds, as Markdown, and as a CSV file that an interrupted benchmark goes on from."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from functools import reduce
from math import isfinite
from operator import add
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.intervals import interval
from benchmarks.learning.newsroom.judge import BINS_PER_DAY, Counts
from benchmarks.learning.newsroom.methods import OURS, ROWS, Options, Result, Task

COUNTED = tuple(spec.name for spec in fields(Counts))
HEADER = ("settings", "signal", "method", "seed", "quarter", *COUNTED)
BEFORE_DAYS = 5  # what quality was before a shift
REGAINED = 0.95  # of what a method had, or the best retrained peer if that had more: there it has recovered
RESAMPLES = 400

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over seeds, and half its 95 % interval (NaN from one seed)."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(*interval(values))

    def text(self, digits: int, sign: str = "") -> str:
        half = "–" if np.isnan(self.half) else f"{self.half:.{digits}f}"
        return f"{self.mean:{sign}.{digits}f} ± {half}"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Days from a shift until quality was back on the mean curve, and the middle 95 % of resampled seeds; inf: not in the run."""

    days: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.days:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One method over all its seeds. Gaps are its figures minus the product's default's, seed by seed."""

    method: str
    ctr: Figure
    precision: Figure
    ndcg: Figure
    ils: Figure
    returns: Figure
    regret: Figure
    recovery: Recovery | None  # None without a shift
    ctr_gap: Figure | None  # None without runs of the product's default
    returns_gap: Figure | None
    runs: int

    def __str__(self) -> str:
        parts = [
            f"{self.method:<11}",
            f"CTR {self.ctr.text(4)}",
            f"P@5 {self.precision.text(4)}",
            f"nDCG {self.ndcg.text(3)}",
            f"ILS {self.ils.text(3)}",
            f"return {self.returns.text(3)}",
            f"regret {self.regret.text(3)}",
            f"recovery {self.recovery or '–'}",
            f"n {self.runs}",
        ]
        if self.ctr_gap and self.returns_gap and self.method != OURS:
            parts.append(f"less {OURS}: CTR {self.ctr_gap.text(4, '+')} return {self.returns_gap.text(3, '+')}")
        return "  ".join(parts)


def rows(results: Sequence[Result], shift_day: int | None) -> list[Row]:
    """One row per method, in the order of the results."""
    by_method: defaultdict[str, dict[int, tuple[Counts, ...]]] = defaultdict(dict)
    for one in results:
        by_method[one.task.method][one.task.seed] = one.bins
    totals = {method: {seed: total(bins) for seed, bins in runs.items()} for method, runs in by_method.items()}
    peers = [runs.values() for method, runs in by_method.items() if ROWS[method].retrained]
    bar = 0.0 if shift_day is None else max((level_before(*curves(list(runs)), shift_day) for runs in peers), default=0.0)
    return [row(method, by_method[method], totals, shift_day, bar) for method in by_method]


def row(
    method: str,
    runs: Mapping[int, tuple[Counts, ...]],
    totals: Mapping[str, Mapping[int, Counts]],
    shift_day: int | None,
    bar: float,
) -> Row:
    own = totals[method]

    def over_seeds(value: Callable[[Counts], float]) -> Figure:
        return Figure.of([value(own[seed]) for seed in sorted(own)])

    def gap(value: Callable[[Counts], float]) -> Figure | None:
        ours = totals.get(OURS, {})
        both = sorted(own.keys() & ours.keys())
        return Figure.of([value(own[seed]) - value(ours[seed]) for seed in both]) if both else None

    return Row(
        method=method,
        ctr=over_seeds(lambda counts: counts.ctr),
        precision=over_seeds(lambda counts: counts.precision),
        ndcg=over_seeds(lambda counts: counts.quality),
        ils=over_seeds(lambda counts: counts.ils),
        returns=over_seeds(lambda counts: counts.returns),
        regret=over_seeds(lambda counts: counts.regret),
        recovery=None if shift_day is None else recovery(list(runs.values()), shift_day, bar),
        ctr_gap=gap(lambda counts: counts.ctr),
        returns_gap=gap(lambda counts: counts.returns),
        runs=len(runs),
    )


def total(bins: Iterable[Counts]) -> Counts:
    return reduce(add, bins, Counts())


def recovery(runs: Sequence[Sequence[Counts]], shift_day: int, bar: float) -> Recovery:
    """How long quality took to come back, for the mean over seeds, with a bootstrap over seeds beside it."""
    quality, judged = curves(runs)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(runs), size=(RESAMPLES, len(runs)))
    again = [recovered_after(quality[seeds], judged[seeds], shift_day, bar) for seeds in drawn]
    low, high = np.quantile(again, (0.025, 0.975), method="nearest")
    return Recovery(recovered_after(quality, judged, shift_day, bar), float(low), float(high))


def curves(runs: Sequence[Sequence[Counts]]) -> tuple[Doubles, Doubles]:
    """Sums of nDCG over lists by quarter of a day, and how many lists there were.  (seeds, quarters), (seeds, quarters)"""
    quality = np.array([[counts.ndcg for counts in bins] for bins in runs], np.float64)
    return quality, np.array([[counts.judged for counts in bins] for bins in runs], np.float64)


def level_before(quality: Doubles, judged: Doubles, shift_day: int) -> float:
    """Mean nDCG of the five days before the shift, of what `curves` gives."""
    before = slice(max(0, shift_day - BEFORE_DAYS) * BINS_PER_DAY, shift_day * BINS_PER_DAY)
    return float(quality[:, before].sum() / max(judged[:, before].sum(), 1))


def recovered_after(quality: Doubles, judged: Doubles, shift_day: int, bar: float = 0.0) -> float:
    """Days after the shift at which the first day begins whose mean nDCG is 95 % of what there was to lose; inf if none.

    That is the method's own level before the shift or, if higher, `bar`, the level of the best retrained peer: who had learned
    nothing has not recovered because there was nothing to lose, and who had learned more has more to get back.
    """
    shift = shift_day * BINS_PER_DAY
    level = REGAINED * max(level_before(quality, judged, shift_day), bar)
    ndcg, lists = quality.sum(axis=0), judged.sum(axis=0)  # (quarters,)
    for start in range(shift, len(ndcg) - BINS_PER_DAY + 1):
        day = slice(start, start + BINS_PER_DAY)
        if ndcg[day].sum() >= level * lists[day].sum():
            return (start - shift) / BINS_PER_DAY
    return float("inf")


def markdown(table: Sequence[Row]) -> str:
    """The table for docs/."""
    lines = [
        f"| | CTR | against `{OURS}` | P@5 | nDCG | ILS | returns | against `{OURS}` | cost of exploring | recovery, days |",
        "|---" * 10 + "|",
    ]
    for row in table:
        name = f"**`{row.method}`**" if row.method == OURS else f"`{row.method}`"
        gaps = [gap.text(4, "+") if gap and row.method != OURS else "" for gap in (row.ctr_gap, row.returns_gap)]
        figures = [
            row.ctr.text(4),
            gaps[0],
            row.precision.text(4),
            row.ndcg.text(3),
            row.ils.text(3),
            row.returns.text(3),
            gaps[1],
            f"{100 * row.regret.mean:.1f} %",
            str(row.recovery or "–"),
        ]
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines)


def verdict(table: Sequence[Row]) -> list[str]:
    """What the issue of the table is: the default against the best of the others."""
    ours = next((row for row in table if row.method == OURS), None)
    others = [row for row in table if row.method != OURS]
    if ours is None or not others:
        return []
    said = []
    for name, figure in (("CTR", lambda row: row.ctr), ("return", lambda row: row.returns)):
        best = max(others, key=lambda row: figure(row).mean)
        apart = figure(ours).mean - figure(ours).half > figure(best).mean + figure(best).half
        verdict = "intervals apart" if apart else "intervals overlap"
        said.append(f"{name}: {OURS} {figure(ours).text(4)}, best other {best.method} {figure(best).text(4)}: {verdict}")
    peers = {row.method: row.recovery for row in others if ROWS[row.method].retrained and row.recovery}
    if ours.recovery and peers:
        best = min(peers, key=lambda method: peers[method].days)
        reached = isfinite(ours.recovery.days) and ours.recovery.days <= peers[best].days / 2
        half = "at most half" if reached else "more than half"
        said.append(f"recovery: {OURS} {ours.recovery} days, best retrained peer {best} {peers[best]}: {half}")
    return said


def finished(path: Path | None, options: Options) -> dict[Task, Result]:
    """The runs of these options that a CSV file holds whole."""
    if path is None or not path.exists():
        return {}
    wanted = {method: options.digest(method) for method in options.methods}
    found: defaultdict[Task, dict[int, Counts]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            method, seed = line["method"], int(line["seed"])
            if wanted.get(method) == line["settings"] and seed in options.seeds:
                found[Task(method, seed)][int(line["quarter"])] = counts_of(line)
    whole = range(options.days * BINS_PER_DAY)
    return {task: Result(task, tuple(bins[i] for i in whole)) for task, bins in found.items() if bins.keys() == set(whole)}


def counts_of(line: Mapping[str, str]) -> Counts:
    return Counts(*((float if spec.type is float else int)(line[spec.name]) for spec in fields(Counts)))


@contextmanager
def record(path: Path | None, options: Options) -> Iterator[Callable[[Result], None]]:
    """A function that adds a run to a CSV file, a line per quarter of a day: what is done is kept if the rest is not."""
    if path is None:
        yield lambda _: None
        return
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(HEADER)

        def write(one: Result) -> None:
            method, seed = one.task.method, one.task.seed
            for number, counts in enumerate(one.bins):
                figures = (f"{value:.6g}" if isinstance(value, float) else value for value in astuple(counts))
                writer.writerow((options.digest(method), options.signal, method, seed, number, *figures))
            file.flush()

        yield write
