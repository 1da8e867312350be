"""Methods as rows, for all days after the first and for each day; differences from the product, paired by list."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.ebnerd.lists import METRICS, Doubles, Judged
from jobs.errors import UnreadableLog

Z95 = 1.96  # two-sided 95 % of a normal distribution: there are hundreds of readers
COLUMNS = ("auc", "mrr", "ndcg5", "ndcg10")
HEADER = ("method", "days", "n", *COLUMNS, *(f"{name}_{side}" for name in COLUMNS for side in ("less", "half")), "seconds")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One method on some days: mean METRICS over its n lists, and its difference from the product's with half its interval.

    `less` is the method minus `drn` on the same lists, `half` half the 95 % interval over readers; NaN where nothing is compared.
    """

    method: str
    days: str
    n: int
    mean: Doubles  # (4,)
    less: Doubles  # (4,)
    half: Doubles  # (4,)
    seconds: float  # CPU time that the method took

    def __str__(self) -> str:
        figures = "".join(f"  {name} {value:.4f}" for name, value in zip(METRICS, self.mean, strict=True))
        spread = f"  AUC − drn {self.less[0]:+.4f} ± {self.half[0]:.4f}" if np.isfinite(self.less[0]) else ""
        return f"{self.method:<18}{figures}  n {self.n}{spread}"

    def fields(self) -> list[str]:
        """In the order of HEADER."""
        compared = [value for pair in zip(self.less, self.half, strict=True) for value in pair]
        return [self.method, self.days, str(self.n), *(f"{x:.6f}" for x in (*self.mean, *compared)), f"{self.seconds:.1f}"]


def rows(method: str, judged: Judged, reference: Judged | None, seconds: float) -> Iterator[Row]:
    """The row of days 2 and later, or of all where the log is shorter, then one per day."""
    later = judged.days() >= 2
    if later.any():
        yield row(method, f"2-{judged.days().max()}", judged, reference, later, seconds)
    else:
        yield row(method, "1", judged, reference, ~later, seconds)
        return
    for day in np.unique(judged.days()):
        yield row(method, str(day), judged, reference, judged.days() == day, seconds)


def row(method: str, days: str, judged: Judged, reference: Judged | None, chosen: NDArray[np.bool_], seconds: float) -> Row:
    own = judged.where(chosen)
    told = np.isfinite(own.quality[:, 0])
    mean = own.quality[told].mean(axis=0) if told.any() else np.full(len(METRICS), np.nan)
    less, half = np.full((2, len(METRICS)), np.nan)
    if reference is not None and reference is not judged:
        less, half = paired(own, reference.where(chosen))
    return Row(method, days, int(told.sum()), mean, less, half, seconds)


def paired(own: Judged, reference: Judged) -> tuple[Doubles, Doubles]:
    """Mean difference over lists and half its 95 % interval, by the delta method over readers: lists of one are not independent.

        d̄ = Σ_r D_r / Σ_r n_r,   s² = R/(R − 1) · Σ_r (D_r − n_r·d̄)² / (Σ_r n_r)²

    with D_r the sum of the differences over the n_r lists of reader r, of R.  (4,), (4,)
    """
    difference = own.quality - reference.quality  # (N, 4)
    told = np.isfinite(difference[:, 0])
    if not told.any():
        return np.full(len(METRICS), np.nan), np.full(len(METRICS), np.nan)
    names = [user if user is not None else f"list {place}" for place, user in enumerate(own.users)]
    _, reader = np.unique(np.array(names)[told], return_inverse=True)
    counts = np.bincount(reader)  # (R,)
    sums = np.stack([np.bincount(reader, column) for column in difference[told].T], axis=1)  # (R, 4)
    mean = sums.sum(axis=0) / counts.sum()
    if len(counts) < 2:
        return mean, np.full(len(METRICS), np.nan)
    squares = ((sums - counts[:, None] * mean) ** 2).sum(axis=0) * len(counts) / (len(counts) - 1)
    return mean, Z95 * np.sqrt(squares) / counts.sum()


@contextmanager
def record(path: Path | None) -> Iterator[Callable[[Iterable[Row]], None]]:
    """A function that adds rows to a CSV file: what is measured is kept if the rest is not."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)

        def add(measured: Iterable[Row]) -> None:
            writer.writerows(each.fields() for each in measured)
            file.flush()

        yield add


def read(path: Path) -> list[Row]:
    """The rows that `record` wrote.

    Raises:
        UnreadableLog: the file is absent or was not written by it.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [parse(fields) for fields in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableLog(f"{path} is no table of this benchmark: {error}") from error


def parse(fields: Mapping[str, str]) -> Row:
    def numbers(suffix: str = "") -> Doubles:
        return np.array([float(fields[name + suffix]) for name in COLUMNS])

    return Row(
        fields["method"],
        fields["days"],
        int(fields["n"]),
        numbers(),
        numbers("_less"),
        numbers("_half"),
        float(fields["seconds"]),
    )


def markdown(measured: Sequence[Row]) -> str:
    """The rows of all days as a table for docs/, `drn` in bold."""
    lines = ["| | AUC | MRR | nDCG@5 | nDCG@10 | AUC less `drn`'s | nDCG@10 less `drn`'s | CPU |", "|---" * 8 + "|"]
    for each in measured:
        if each.days.isdigit() and any("-" in other.days for other in measured):
            continue
        compared = [f"{each.less[i]:+.4f} ± {each.half[i]:.4f}" if np.isfinite(each.less[i]) else "" for i in (0, 3)]
        name, figures = f"`{each.method}`", [f"{value:.4f}" for value in each.mean]
        if each.method == "drn":
            name, figures = f"**{name}**", [f"**{figure}**" for figure in figures]
        lines.append(f"| {' | '.join([name, *figures, *compared, f'{each.seconds:.0f} s'])} |")
    return "\n".join(lines) + "\n"
