"""Judged queries from SVMlight files as the LETOR, MSLR and Yahoo sets use them: `grade qid:7 1:0.5 2:0.1 … # comment`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drn.types import Floats, Ints

SUFFIXES = (".txt", ".dat", ".svm", ".svmlight", ".letor")
MOST_FEATURES = 100_000  # published sets have up to 700; a number beyond this is a mistake, not a reason to run out of memory
Row = tuple[int, Floats]  # grade, features by number from 1 (or 0) up to the last that the line names


class DataError(Exception):
    """The data is not there, or is not what it should be. The message says what was looked for, and where."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One query's documents: n of them with D features, each feature between 0 and 1 within the query."""

    features: Floats  # (n, D)
    grades: Ints  # (n,)


@dataclass(frozen=True, slots=True)
class Fold:
    number: int  # from 1
    train: tuple[Query, ...]
    held_out: tuple[Query, ...]


def load(folder: Path, wanted: Iterable[int] | None = None) -> list[Fold]:
    """The folds of a data set, all of them unless some are `wanted`.

    Either folders that hold a train and a test file each (Fold1/train.txt …), or at least three files that take turns: of
    n files fold f trains on n − 2 from the f-th on, leaves one for validation and holds out the one before the f-th.

    Raises:
        DataError: nothing of that kind is there, or a line cannot be read.
    """
    splits = find(folder)
    numbers = sorted(set(wanted)) if wanted is not None else list(range(1, len(splits) + 1))
    if missing := [number for number in numbers if not 1 <= number <= len(splits)]:
        raise DataError(f"there is no fold {missing[0]}: {folder} has {len(splits)}")
    paths = sorted({path for number in numbers for side in splits[number - 1] for path in side})
    rows = {path: parse(path) for path in paths}
    every = [features for lists in rows.values() for one in lists for _, features in one]
    columns = slice(int(not any(features[0] for features in every)), max(map(len, every)))
    queries = {path: tuple(query(one, columns) for one in rows[path]) for path in paths}
    return [
        Fold(number, *(tuple(one for path in side for one in queries[path]) for side in splits[number - 1])) for number in numbers
    ]


def find(folder: Path) -> list[tuple[list[Path], list[Path]]]:
    """Each fold's files: those to train on, those held out."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold fold files such as S1.txt … S5.txt or Fold1/train.txt")
    homes = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    if whole := [split for home in homes if (split := train_and_test(home))]:
        return whole
    files = data_files(folder)
    n = len(files)
    if n < 3:
        raise DataError(f"{folder} holds {n} data files ({', '.join(SUFFIXES)}); it takes 3, or a train and a test file")
    return [([files[(first + i) % n] for i in range(n - 2)], [files[first - 1]]) for first in range(n)]


def data_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in SUFFIXES and not p.stem.lower().startswith("readme"))


def train_and_test(folder: Path) -> tuple[list[Path], list[Path]] | None:
    """train.txt and test.txt, or what begins or ends so: trainingset.txt, set1.test.txt."""
    train, held_out = (
        [path for path in data_files(folder) if path.stem.lower().startswith(word) or path.stem.lower().endswith(word)]
        for word in ("train", "test")
    )
    return (train, held_out) if train and held_out else None


def parse(path: Path) -> list[list[Row]]:
    """The rows of a file, by query.

    Raises:
        DataError: naming the file and the line that cannot be read.
    """
    by_query: dict[str, list[Row]] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.split("#", 1)[0].split(None, 2)
            if not text:
                continue
            try:
                grade, name, pairs = int(float(text[0])), text[1], text[2] if len(text) > 2 else ""
                row = grade, features_of(pairs)
                if not name.startswith("qid:") or grade < 0:
                    raise ValueError(line)
            except (ValueError, IndexError):
                raise DataError(f"{path}, line {number}: not `grade qid:… 1:value 2:value …`: {line.strip()[:60]!r}") from None
            by_query.setdefault(name, []).append(row)
    if not by_query:
        raise DataError(f"{path} holds no query")
    return list(by_query.values())


def features_of(pairs: str) -> Floats:
    """`1:0.5 3:2` → (0, 0.5, 0, 2)."""
    values = np.array(pairs.replace(":", " ").split(), np.float64).reshape(-1, 2)
    if not np.isfinite(values).all() or (values[:, 0] < 0).any() or values[:, 0].max(initial=0) > MOST_FEATURES:
        raise ValueError(pairs)
    found = np.zeros(int(values[:, 0].max(initial=0)) + 1, np.float32)
    found[values[:, 0].astype(np.intp)] = values[:, 1]
    return found


def query(rows: Sequence[Row], columns: slice) -> Query:
    """Rows of one query with features that are not named at 0, then scaled by their smallest and largest value in it."""
    features = np.zeros((len(rows), columns.stop), np.float32)
    for document, (_, found) in zip(features, rows, strict=True):
        document[: len(found)] = found
    return Query(scaled(features[:, columns]), np.array([grade for grade, _ in rows], np.int32))


def scaled(features: Floats) -> Floats:
    """Min-max per column; a column that is the same for all documents becomes 0.  (n, D) → (n, D)"""
    low, high = features.min(axis=0), features.max(axis=0)
    span = np.where(high > low, high - low, np.float32(1))
    result: Floats = (features - low) / span
    result.setflags(write=False)
    return result


def judged(queries: Iterable[Query]) -> Iterator[Query]:
    """Those with a relevant document: the others say nothing about a ranking."""
    return (one for one in queries if one.grades.any())
