"""One reader, as features need to know them: newest clicks, and which articles they were shown how often."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from drn.types import Ints


class Reader:
    """A reader's recent past by catalogue rows. A cache of the log: compact, because 100,000 of them live in one process.

    Args:
        history_clicks: how many of the newest clicks are kept.
    """

    __slots__ = ("_click_rows", "_click_times", "_history_clicks", "_shown_counts", "_shown_rows", "revision")

    def __init__(self, history_clicks: int) -> None:
        self._history_clicks = history_clicks
        self._click_rows = array("i")
        self._click_times = array("q")
        self._shown_rows: NDArray[np.int32] = np.empty(0, np.int32)
        self._shown_counts: NDArray[np.uint16] = np.empty(0, np.uint16)
        self.revision = 0  # grows with every click, so that a profile made of the clicks can be kept

    def click(self, row: int, at: int) -> None:
        """Adds a click at `at` (epoch seconds). Clicks may come out of order."""
        place = bisect_right(self._click_times, at)
        self._click_times.insert(place, at)
        self._click_rows.insert(place, row)
        if len(self._click_times) > self._history_clicks:
            del self._click_times[0], self._click_rows[0]
        self.revision += 1

    def show(self, rows: Ints | Iterable[int]) -> None:
        """Counts one more showing of each row (rows distinct)."""
        self.load_shown(np.asarray(rows, np.int32), np.ones(len(np.asarray(rows)), np.uint16))

    def load_shown(self, rows: NDArray[np.int32], counts: NDArray[np.uint16]) -> None:
        """Adds `counts` showings of `rows` (distinct)."""
        merged, inverse = np.unique(np.concatenate([self._shown_rows, rows]), return_inverse=True)
        totals = np.bincount(inverse, np.concatenate([self._shown_counts, counts]), len(merged))
        self._shown_rows = merged
        self._shown_counts = np.minimum(totals, 65_535).astype(np.uint16)

    def times_shown(self, rows: Ints) -> NDArray[np.uint16]:
        """How often each row was shown to this reader.  (n,)"""
        if not len(self._shown_rows):
            return np.zeros(len(rows), np.uint16)
        place = np.minimum(np.searchsorted(self._shown_rows, rows), len(self._shown_rows) - 1)
        return np.where(self._shown_rows[place] == rows, self._shown_counts[place], 0).astype(np.uint16)

    def times_read(self, rows: Ints) -> NDArray[np.uint16]:
        """How often each row is among the reader's newest clicks.  (n,)"""
        if not self._click_rows:
            return np.zeros(len(rows), np.uint16)
        clicked = self.click_rows
        size = int(max(clicked.max(), rows.max())) + 1
        return np.bincount(clicked, minlength=size)[rows].astype(np.uint16)

    @property
    def click_rows(self) -> Ints:
        """Rows of the newest clicks, oldest first.  (m,)"""
        return np.frombuffer(self._click_rows, np.int32).copy() if self._click_rows else np.empty(0, np.int32)

    def first_since(self, at: int) -> int:
        """Index of the first click at or after `at`."""
        return bisect_left(self._click_times, at)
