"""Article ids to the numbers of their rows, a whole request's at once.

A dictionary of strings spreads over all memory, and each look-up waits for several of its places: at 100 candidates that was
an eighth of a decision. Here hashes, lengths and letters lie side by side in three arrays, and compiled loops look all ids up.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drn.kernels import BOOL, INT, UNSIGNED, VOID, kernel, reads, writes
from drn.types import Ints
from drn.windows import extended

Place: TypeAlias = int | np.int64
SEPARATOR = "\0"  # which no id from outside holds, because PostgreSQL cannot store it


class IdTable:
    """Ids in the order in which they were added: the first has row 0. A hash table with open addressing, at most half full."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._letters = np.empty(1024, np.uint8)  # of all ids, one after the other
        self._ends = np.zeros(64, np.int64)  # (≥ rows + 1,): where in `_letters` each row's begin, and those before it end
        self._places = np.zeros(128, np.uint64)  # (p,), p a power of two: hash's upper half and row + 1; 0 where free

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, article_id: object) -> bool:
        return article_id in self._rows

    def row(self, article_id: str) -> int | None:
        return self._rows.get(article_id)

    def add(self, article_id: str) -> int:
        """The row of an id that is not there yet."""
        row, letters = len(self._rows), np.frombuffer(encoded(article_id), np.uint8)
        self._rows[article_id] = row
        if row + 2 > len(self._ends):
            self._ends = extended(self._ends, 2 * len(self._ends))
        begin = int(self._ends[row])
        end = self._ends[row + 1] = begin + len(letters)
        if end > len(self._letters):
            self._letters = extended(self._letters, int(2 * end))
        self._letters[begin:end] = letters
        if 2 * len(self._rows) > len(self._places):
            self._places = np.zeros(2 * len(self._places), np.uint64)
            enter(self._letters, self._ends, 0, row + 1, self._places)
        else:
            enter(self._letters, self._ends, row, row + 1, self._places)
        return row

    def find(self, article_ids: Sequence[str]) -> Ints:
        """The row of each id, −1 where it is not there; ids may repeat.  (n,)"""
        found = np.empty(len(article_ids), np.int32)
        asked = np.frombuffer(encoded(SEPARATOR.join(article_ids)), np.uint8)
        if look_up(asked, self._letters, self._ends, self._places, found) != len(found):  # none, or one with a separator in it
            found[:] = [self._rows.get(article_id, -1) for article_id in article_ids]
        return found


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # different texts are different bytes, whatever they hold


@kernel(UNSIGNED, UNSIGNED)
def mixed(state: Any) -> Any:
    """64 bits of which each depends on all of the state's (SplitMix64's last steps; Steele, Lea & Flood, OOPSLA 2014)."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(VOID, reads("u1", 1), reads("i8", 1), INT, INT, writes("u8", 1))
def enter(letters: NDArray[np.uint8], ends: NDArray[np.int64], first: int, stop: int, places: NDArray[np.uint64]) -> None:
    """Enters these rows, which are not there yet, into a table with room for them."""
    mask = np.uint64(len(places) - 1)
    for row in range(first, stop):
        state = np.uint64(0)
        for i in range(ends[row], ends[row + 1]):
            state = (state ^ np.uint64(letters[i])) * np.uint64(0x100000001B3)
        key = mixed(state)
        place = key & mask
        while places[place]:
            place = (place + np.uint64(1)) & mask
        places[place] = ((key >> np.uint64(32)) << np.uint64(32)) | np.uint64(row + 1)


@kernel(BOOL, reads("u1", 1), INT, INT, reads("u1", 1), reads("i8", 1), INT)
def same_letters(
    asked: NDArray[np.uint8], begin: Place, stop: Place, letters: NDArray[np.uint8], ends: NDArray[np.int64], row: Place
) -> bool:
    """Whether asked[begin:stop] is the row's id."""
    start = ends[row]
    if ends[row + 1] - start != stop - begin:
        return False
    same = True
    for j in range(stop - begin):
        same = same and letters[start + j] == asked[begin + j]
    return same


@kernel(INT, reads("u1", 1), reads("u1", 1), reads("i8", 1), reads("u8", 1), writes("i4", 1))
def look_up(
    asked: NDArray[np.uint8], letters: NDArray[np.uint8], ends: NDArray[np.int64], places: NDArray[np.uint64], found: Ints
) -> int:
    """Looks up the ids that lie in `asked`, a byte of 0 between each two; how many there are. `found` may be too short for them.

    Equal hashes are not enough: the letters are compared. Hashing, finding and comparing are loops of their own, because then
    the processor waits for the memory of many ids at once.
    """
    mask, upper, n = np.uint64(len(places) - 1), np.uint64(32), len(found)
    keys, stops = np.empty(n, np.uint64), np.empty(n, np.int64)
    count, state = 0, np.uint64(0)
    for i in range(len(asked) + 1):
        if i < len(asked) and asked[i]:
            state = (state ^ np.uint64(asked[i])) * np.uint64(0x100000001B3)
            continue
        if count < n:
            keys[count], stops[count] = mixed(state), i
        count, state = count + 1, np.uint64(0)
    if count != n:
        return count
    for i in range(n):
        place = keys[i] & mask
        while places[place] and places[place] >> upper != keys[i] >> upper:
            place = (place + np.uint64(1)) & mask
        found[i] = np.int64(places[place] & np.uint64(0xFFFFFFFF)) - 1
    begin: Place = 0
    for i in range(n):
        stop = stops[i]
        if found[i] >= 0 and not same_letters(asked, begin, stop, letters, ends, found[i]):
            found[i] = -1
            place = keys[i] & mask
            while places[place]:  # two hashes agree in half of their bits
                row = np.int64(places[place] & np.uint64(0xFFFFFFFF)) - 1
                if same_letters(asked, begin, stop, letters, ends, row):
                    found[i] = row
                    break
                place = (place + np.uint64(1)) & mask
        begin = stop + 1
    return count
