"""Counts in sliding windows: integers in buckets, so the order in which events arrive cannot change them.

A window of length L is kept in `BUCKETS` buckets and covers between L·23/24 and L.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from drn.kernels import count_each
from drn.types import Ints

BUCKETS = 24  # per window: its far edge is sharp to 4 %
Scalar = TypeVar("Scalar", bound=np.generic)


class SlidingCounts:
    """How often two kinds of event (column 0 … W−1 and W … 2W−1) happened to each row within each of W windows.

    Args:
        windows: lengths in seconds, each a multiple of BUCKETS.
    """

    def __init__(self, windows: Sequence[int], rows: int = 0) -> None:
        self._lengths = np.array(windows, np.int64) // BUCKETS
        self._heads = np.zeros(len(windows), np.int64)  # newest bucket of each window
        self._next = 0  # the first second that lies in a newer bucket of some window
        self.counts: NDArray[np.uint32] = np.zeros((rows, 2 * len(windows)), np.uint32)
        self._buckets: NDArray[np.uint32] = np.zeros((2 * len(windows), BUCKETS, rows), np.uint32)

    def extend(self, rows: int) -> None:
        """Makes room for `rows` rows in all."""
        self.counts = extended(self.counts, rows)
        self._buckets = extended(self._buckets.transpose(2, 0, 1), rows).transpose(1, 2, 0).copy()

    def add_each(self, rows: Ints, seconds: NDArray[np.int64], kind: int) -> None:
        """Counts one event of one kind for each row at its second (since 1970); rows may repeat, in any order.  (n,), (n,)

        Call `advance` first, to the last of these seconds.
        """
        count_each(self.counts, self._buckets, self._heads, self._lengths, rows, seconds, kind)

    def advance(self, at: int) -> None:
        """Lets what `at` (epoch seconds) has left behind fall out of its window. Time never runs backwards."""
        if at < self._next:
            return
        for window, head in enumerate((at // self._lengths).tolist()):
            behind = head - int(self._heads[window])
            if behind <= 0:
                continue
            gone = (self._heads[window] + 1 + np.arange(min(behind, BUCKETS))) % BUCKETS
            for column in (window, window + len(self._lengths)):
                self.counts[:, column] -= self._buckets[column, gone].sum(axis=0, dtype=np.uint32)
                self._buckets[column, gone] = 0
            self._heads[window] = head
        self._next = int(((self._heads + 1) * self._lengths).min())

    def move(self, old: int, new: int, counts: "SlidingCounts", row: int, window: int) -> None:
        """Takes from one row and gives to another what `counts` has of its own `row` within one of its windows.

        These counts have that window alone; both have advanced to the same second.
        """
        for kind in range(2):
            column = kind * len(counts._lengths) + window
            self._buckets[kind, :, old] -= counts._buckets[column, :, row]
            self._buckets[kind, :, new] += counts._buckets[column, :, row]
            self.counts[old, kind] -= counts.counts[row, column]
            self.counts[new, kind] += counts.counts[row, column]

    def load(self, rows: Ints, times: NDArray[np.int64], buckets: NDArray[np.int64], kind: int, window: int) -> None:
        """Adds `times[i]` events for `rows[i]` in bucket `buckets[i]` (epoch // bucket length); rows may repeat.

        Call `advance` first: buckets that have left the window are ignored.
        """
        column = kind * len(self._lengths) + window
        inside = (buckets > self._heads[window] - BUCKETS) & (buckets <= self._heads[window])
        added = times[inside].astype(np.uint32)
        np.add.at(self._buckets, (column, buckets[inside] % BUCKETS, rows[inside]), added)
        np.add.at(self.counts, (rows[inside], column), added)


def extended(rows: NDArray[Scalar], capacity: int, fill: int = 0) -> NDArray[Scalar]:
    """The same rows followed by empty ones, `capacity` in all."""
    longer = np.full((capacity, *rows.shape[1:]), fill, rows.dtype)
    longer[: len(rows)] = rows
    return longer
