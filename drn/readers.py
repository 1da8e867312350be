"""One reader, as features need to know them: newest clicks, and which articles they were shown how often."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drn.kernels import kernel, reads, tuple_of, writes
from drn.observation_rows import counts_of
from drn.types import Ints


class Times(NamedTuple):
    """How often something happened to each of a few rows."""

    rows: NDArray[np.int32]  # ascending
    counts: NDArray[np.uint16]  # within 16 bits

    @classmethod
    def of(cls, rows: Ints, counts: NDArray[np.int64]) -> "Times":
        """The counts of equal rows added up."""
        if not len(rows):
            return NEVER
        order = rows.argsort(kind="stable")
        ordered = rows[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        totals = np.minimum(np.add.reduceat(counts[order], first), 65_535)
        return cls(ordered[first], totals.astype(np.uint16))


NEVER = Times(np.empty(0, np.int32), np.empty(0, np.uint16))


class Reader:
    """A reader's recent past by catalogue rows. A cache of the log: compact, because 100,000 of them live in one process.

    Args:
        history_clicks: how many of the newest clicks are kept.
    """

    __slots__ = ("_click_rows", "_click_times", "_history_clicks", "_read", "_shown", "revision")

    def __init__(self, history_clicks: int) -> None:
        self._history_clicks = history_clicks
        self._click_rows = array("i")
        self._click_times = array("q")
        self._shown = NEVER
        self._read: Times | None = NEVER  # None: to be counted anew
        self.revision = 0  # grows with every click, so that a profile made of the clicks can be kept

    def click(self, row: int, at: int) -> None:
        """Adds a click at `at` (epoch seconds). Clicks may come out of order."""
        place = bisect_right(self._click_times, at)
        self._click_times.insert(place, at)
        self._click_rows.insert(place, row)
        if len(self._click_times) > self._history_clicks:
            del self._click_times[0], self._click_rows[0]
        self._read = None
        self.revision += 1

    def show(self, rows: Ints | Iterable[int]) -> None:
        """Counts one more showing of each row; one that is named twice was shown once, a negative one is none."""
        self._shown = Times(*counted_once_more(*self._shown, np.asarray(rows, np.int32)))

    def load_shown(self, rows: NDArray[np.int32], counts: NDArray[np.uint16]) -> None:
        """Adds `counts` showings of `rows` (distinct)."""
        self._shown = Times.of(
            np.concatenate([self._shown.rows, rows]), np.concatenate([self._shown.counts, counts]).astype(np.int64)
        )

    def seen(self, rows: Ints) -> NDArray[np.uint16]:
        """How often each row was shown to this reader, and how often it is among the reader's newest clicks.  (n, 2)"""
        times = np.empty((len(rows), 2), np.uint16)
        for column, (known, counts) in enumerate((self.shown, self.read)):
            counts_of(known, counts, rows, column, times)
        return times

    @property
    def shown(self) -> Times:
        """The rows that were shown to this reader, and how often."""
        return self._shown

    @property
    def read(self) -> Times:
        """The rows of this reader's newest clicks, and how often they were clicked."""
        if self._read is None:
            clicked = self.click_rows
            self._read = Times.of(clicked, np.ones(len(clicked), np.int64))
        return self._read

    @property
    def click_rows(self) -> Ints:
        """Rows of the newest clicks, oldest first.  (m,)"""
        return np.frombuffer(self._click_rows.tobytes(), np.int32)

    @property
    def click_times(self) -> NDArray[np.int64]:
        """Epoch seconds of the newest clicks, oldest first.  (m,)"""
        return np.frombuffer(self._click_times.tobytes(), np.int64)


@kernel(writes("i4", 1), reads("i4", 1))
def ascending(rows: Ints) -> Ints:
    """The same rows in order, each put where it belongs among those before it: a list is short.  (n,) → (n,)"""
    ordered = rows.copy()
    for i in range(1, len(rows)):
        place = i
        while place > 0 and ordered[place - 1] > rows[i]:
            ordered[place] = ordered[place - 1]
            place -= 1
        ordered[place] = rows[i]
    return ordered


@kernel(tuple_of(writes("i4", 1), writes("u2", 1)), reads("i4", 1), reads("u2", 1), reads("i4", 1))
def counted_once_more(known: Ints, counts: NDArray[np.uint16], rows: Ints) -> tuple[Ints, NDArray[np.uint16]]:
    """The rows and counts with one more of each of `rows`, however often it is there, but for negative ones.

    (u,), (u,), (n,) → (≥ u,), (≥ u,); the known ones are distinct and ascend, as do those returned
    """
    rows = ascending(rows)
    distinct = 0
    for i in range(len(rows)):
        if rows[i] >= 0 and (i == 0 or rows[i] != rows[i - 1]):
            rows[distinct] = rows[i]
            distinct += 1
    rows = rows[:distinct]
    added = 0
    place = 0
    for row in rows:
        while place < len(known) and known[place] < row:
            place += 1
        if place == len(known) or known[place] != row:
            added += 1
    merged, totals = np.empty(len(known) + added, np.int32), np.empty(len(known) + added, np.uint16)
    place, at = 0, 0
    for row in rows:
        while place < len(known) and known[place] < row:
            merged[at], totals[at] = known[place], counts[place]
            place += 1
            at += 1
        merged[at], totals[at] = row, 1
        if place < len(known) and known[place] == row:
            totals[at] = counts[place] + 1 if counts[place] < 65_535 else 65_535
            place += 1
        at += 1
    merged[at:], totals[at:] = known[place:], counts[place:]
    return merged, totals
