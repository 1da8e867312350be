"""Loops over candidates that numpy has no single word for, compiled by numba. What a decision costs is here (decision 0010).

A kernel is a function of its arguments alone: numba freezes the globals that it sees and keeps the machine code on disk, so
a constant of another module would go stale, and so would a kernel of another module; `prefetch`, a hint, may. A kernel is
compiled for the types that stand above it, at the first import after an installation; afterwards its code is loaded. Arrays
are C-contiguous, and best made by the caller: to return one costs more than to fill it. Sums may be taken in any order, but
one process always takes the same one, so equal input gives equal bits.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from drn.types import Floats, Ints

Doubles = NDArray[np.float64]
Formula = TypeVar("Formula", bound=Callable[..., Any])
VOID = numba.void
BOOL = numba.boolean
INT = numba.int64
UNSIGNED = numba.uint64
FLOAT = numba.float32
DOUBLE = numba.float64
LINE = 64  # bytes of memory that travel together
ADDRESS, WORD = ir.IntType(8).as_pointer(), ir.IntType(32)
PREFETCH = ir.FunctionType(ir.VoidType(), [ADDRESS, WORD, WORD, WORD])
ANY_ORDER = {"reassoc", "contract", "nsz"}  # lets sums run in vector registers; NaN and infinity keep their meaning


def reads(kind: str, dimensions: int) -> Any:
    """An array argument that is only read; it may be read-only, as what comes from the log is."""
    return numba.types.Array(numba.from_dtype(np.dtype(kind)), dimensions, "C", readonly=True)


def writes(kind: str, dimensions: int) -> Any:
    """An array that the kernel makes, or fills for its caller."""
    return numba.types.Array(numba.from_dtype(np.dtype(kind)), dimensions, "C")


def tuple_of(*kinds: Any) -> Any:
    """Several values that a kernel returns."""
    return numba.types.Tuple(kinds)  # type: ignore[no-untyped-call]  # numba has types for some of itself


def kernel(returns: Any, *arguments: Any) -> Callable[[Formula], Formula]:
    """Compiles a function for these types, or loads what was compiled for this machine before."""
    signature = returns(*arguments)

    def compiled(formula: Formula) -> Formula:
        try:
            return cast("Formula", numba.njit(signature, cache=True, error_model="numpy", fastmath=ANY_ORDER)(formula))
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            # No directory can be written (NUMBA_CACHE_DIR may name one), so every start compiles anew.
            return cast("Formula", numba.njit(signature, error_model="numpy", fastmath=ANY_ORDER)(formula))

    return compiled


def prefetching(_: Any, matrix: Any, row: Any) -> Any:
    """The type of `prefetch`, and its machine code: an instruction for each line of memory of a row that begins with one."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = builder.extract_value(array.strides, 0)
        offset, line = builder.mul(stride, builder.sext(arguments[1], stride.type)), stride.type(LINE)
        ask = builder.module.declare_intrinsic("llvm.prefetch", [ADDRESS], PREFETCH)
        with cgutils.for_range(builder, builder.add(builder.udiv(stride, line), stride.type(1))) as each:
            place = builder.add(offset, builder.mul(each.index, line))
            address = builder.gep(builder.bitcast(array.data, ADDRESS), [place])
            builder.call(ask, [address, WORD(0), WORD(3), WORD(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return VOID(matrix, row), code


prefetch = cast("Callable[[NDArray[Any], Any], None]", intrinsic(prefetching))
"""Asks for a row of a matrix some rows before it is read: by itself a processor looks ahead over two or three random ones."""


@kernel(BOOL, reads("f4", 2))
def all_finite(numbers: Floats) -> bool:
    """Whether there is neither NaN nor infinity among them."""
    for row in range(numbers.shape[0]):
        for i in range(numbers.shape[1]):
            if not np.isfinite(numbers[row, i]):
                return False
    return True


@kernel(VOID, reads("f4", 2), reads("f4", 1), reads("f4", 1), writes("f4", 2))
def standardise(features: Floats, centre: Floats, spread: Floats, out: Floats) -> None:
    """(x − centre) / spread of each feature's typical values.  (c, n), (c,), (c,) → (c, n)"""
    for f in range(features.shape[0]):
        scale = np.float32(1) / spread[f]
        for i in range(features.shape[1]):
            out[f, i] = (features[f, i] - centre[f]) * scale


@kernel(VOID, reads("f4", 2), writes("f8", 1), writes("f8", 1))
def moments(features: Floats, mean: Doubles, scale: Doubles) -> None:
    """Each feature's mean over the list, and 1 / its standard deviation there, 0 where all are equal.  (c, n) → (c,), (c,)"""
    n = features.shape[1]
    for f in range(features.shape[0]):
        total = 0.0
        for i in range(n):
            total += features[f, i]
        mean[f] = total / n
        variance = 0.0
        for i in range(n):
            variance += (features[f, i] - mean[f]) ** 2
        spread = np.sqrt(variance / n)
        scale[f] = 1 / spread if spread > 1e-4 else 0.0


@kernel(VOID, reads("f4", 2), writes("f4", 2))
def z_scores(features: Floats, out: Floats) -> None:
    """Each feature's distance from its mean over the list, in standard deviations, 0 where all are equal, within ±5.  (c, n)"""
    mean, scale = np.empty(len(features)), np.empty(len(features))
    moments(features, mean, scale)
    for f in range(features.shape[0]):
        for i in range(features.shape[1]):
            out[f, i] = min(max((features[f, i] - mean[f]) * scale[f], -5.0), 5.0)


def shares_below(features: Floats, out: Floats) -> None:
    """The share of the list with a smaller value of each feature, from −1 (none) to +1; equal values share one.  (c, n)"""
    places(sorted_keys(features), out)


def sorted_keys(features: Floats) -> NDArray[np.uint64]:
    """The order of each row, ascending, equal features by index, which is in the lower half of each number.  (c, n) → (c, n)"""
    keys = np.empty(features.shape, np.uint64)
    sort_keys(features, keys)
    keys.sort(axis=1)  # numpy's runs in vector registers
    return keys


@kernel(VOID, reads("f4", 2), writes("u8", 2))
def sort_keys(features: Floats, keys: NDArray[np.uint64]) -> None:
    """Numbers that sort as the features do, equal ones by index, which is in the lower half.  (c, n) → (c, n)"""
    c, n = features.shape
    for f in range(c):
        bits = features[f].view(np.int32)
        for i in range(n):
            # Negative floats sort backwards by their bits; −0 equals 0.
            ascending = bits[i] ^ ((bits[i] >> 31) & np.int32(0x7FFFFFFF)) if features[f, i] != 0 else np.int32(0)
            keys[f, i] = (np.uint64(np.int64(ascending) + 0x80000000) << np.uint64(32)) | np.uint64(i)


@kernel(VOID, reads("u8", 2), writes("f4", 2))
def places(keys: NDArray[np.uint64], out: Floats) -> None:
    """2b/n − 1, b being the number of smaller values, from sorted keys.  (c, n) → (c, n)"""
    c, n = keys.shape
    for f in range(c):
        below = np.float32(-1)
        for place in range(n):
            if place == 0 or keys[f, place] >> np.uint64(32) != keys[f, place - 1] >> np.uint64(32):
                below = np.float32(2 * place / n - 1)
            out[f, keys[f, place] & np.uint64(0xFFFFFFFF)] = below


@kernel(VOID, reads("u2", 2), reads("i4", 1), reads("i8", 1), reads("i8", 1), writes("u2", 2), writes("u2", 1))
def click_profile(
    content: NDArray[np.uint16],
    clicked: Ints,
    times: NDArray[np.int64],
    since: NDArray[np.int64],
    counts: NDArray[np.uint16],
    totals: NDArray[np.uint16],
) -> None:
    """How often each content slot occurs among the clicks of each of V nested windows, and how many clicks there are.

    Args:
        content: slots of every article, C or more where a column is empty.  (rows, M)
        clicked, times: rows and times of the clicks, oldest first.  (m,), (m,)
        since: when each window begins, the shortest window first.  (V,)
        counts (V, C), totals (V,): filled here.
    """
    windows, slots = counts.shape
    end = len(clicked)
    for window in range(windows):
        for place in range(slots):
            counts[window, place] = counts[window - 1, place] if window else 0
        while end > 0 and times[end - 1] >= since[window]:
            end -= 1
            for column in range(content.shape[1]):
                place = content[clicked[end], column]
                if place < slots:
                    counts[window, place] += 1
        totals[window] = len(clicked) - end


@kernel(VOID, reads("i4", 1), reads("u2", 1), reads("i4", 1), INT, writes("u2", 2))
def counts_of(known: Ints, counts: NDArray[np.uint16], rows: Ints, column: int, out: NDArray[np.uint16]) -> None:
    """The counts of these rows, 0 where a row is not known; known ones are distinct.  (u,), (u,), (n,) → a column of `out`"""
    places = 4
    while places < 2 * len(known):
        places *= 2
    table = np.full(places, -1, np.int32)  # a hash table of indices: halving intervals is a branch guessed wrong at each step
    for index in range(len(known)):
        place = known[index] & (places - 1)
        while table[place] >= 0:
            place = (place + 1) & (places - 1)
        table[place] = index
    for i in range(len(rows)):
        place = rows[i] & (places - 1)
        while table[place] >= 0 and known[table[place]] != rows[i]:
            place = (place + 1) & (places - 1)
        out[i, column] = counts[table[place]] if table[place] >= 0 else 0


@kernel(VOID, reads("u2", 2), reads("i4", 1), reads("i4", 1), INT, INT, writes("u2", 2))
def likeness(stems: NDArray[np.uint16], rows: Ints, clicked: Ints, last: int, best: int, out: NDArray[np.uint16]) -> None:
    """Cosine of each row's set of stems with that of the last click, and the highest with any of the clicks; thousandths.

    Args:
        stems: by row, 0 from where there are no more, at most 255 in all.  (rows, STEMS)
        rows: (n,)
        clicked: rows of at most eight clicks, oldest first.  (m,)
        last, best: columns of `out` (n, ·) that are filled, 0 without clicks or stems; they may be one.
    """
    out[:, last], out[:, best] = 0, 0
    clicks = len(clicked)
    if not clicks:
        return
    # By stem, a byte for each click that has it, all eight in one number: what a row shares with each is one sum, without a
    # branch that could be guessed wrong.
    having, bytewise = np.zeros(65_536, np.uint8), np.zeros(256, np.uint64)
    for clicked_by in range(256):
        for click in range(8):
            bytewise[clicked_by] |= np.uint64((clicked_by >> click) & 1) << np.uint64(8 * click)
    sizes = np.zeros(8, np.int64)
    for click in range(clicks):
        for stem in stems[clicked[click]]:
            if stem:
                having[stem] |= np.uint8(1 << click)
                sizes[click] += 1
    for i in range(len(rows)):
        prefetch(stems, rows[min(i + 8, len(rows) - 1)])
        row, shared, size = rows[i], np.uint64(0), 0
        for place in range(stems.shape[1]):
            shared += bytewise[having[stems[row, place]]]
        if not shared:
            continue
        for place in range(stems.shape[1]):
            size += stems[row, place] != 0
        highest, newest = 0.0, 0.0
        for click in range(clicks):
            common = np.float64((shared >> np.uint64(8 * click)) & np.uint64(255))
            newest = 1_000 * common / np.sqrt(np.float64(max(size * sizes[click], 1)))
            highest = max(highest, newest)
        out[i, last] = np.uint16(newest)
        out[i, best] = np.uint16(highest)


@kernel(
    VOID,
    reads("i4", 1),
    reads("u2", 1),
    reads("i4", 1),
    reads("u2", 1),
    reads("i4", 1),
    INT,
    reads("u2", 2),
    reads("i4", 1),
    INT,
    reads("i4", 1),
    writes("u2", 2),
)
def relations(
    shown: Ints,
    showings: NDArray[np.uint16],
    read: Ints,
    readings: NDArray[np.uint16],
    category: Ints,
    categories: int,
    stems: NDArray[np.uint16],
    clicked: Ints,
    page: int,
    rows: Ints,
    out: NDArray[np.uint16],
) -> None:
    """What each row has to do with one reader, and with the page that the list stands on: `Observation.seen`.

    Args:
        shown, showings: what the reader was shown, and how often; distinct.  (u,), (u,)
        read, readings: the same of what they read.
        category, stems: of every article, the former below `categories`.  (rows,), (rows, STEMS)
        clicked: rows of the newest clicks, at most eight, oldest first.  (m,)
        page: the row of the page's own article, −1 without one.
        rows: (n,)
        out: filled here.  (n, 7)
    """
    counts_of(shown, showings, rows, 0, out)
    counts_of(read, readings, rows, 1, out)
    of_category = np.zeros(categories, np.int64)
    for i in range(len(shown)):
        of_category[category[shown[i]]] += showings[i]
    likeness(stems, rows, clicked, 3, 4, out)
    likeness(stems, rows, np.full(1 if page >= 0 else 0, page, np.int32), 5, 5, out)
    for i in range(len(rows)):
        out[i, 2] = min(of_category[category[rows[i]]], 65_535)
        out[i, 6] = rows[i] == page


@kernel(VOID, reads("u2", 1), writes("f4", 1))
def from_halves(halves: NDArray[np.uint16], out: Floats) -> None:
    """Finite floats of 16 bits, given as bits, without 2¹¹²: numpy takes ten times as long.  (E,) → (E,)

    A half's exponent and fraction, moved to a float's places, are that half by 2⁻¹¹².
    """
    bits = out.view(np.uint32)
    for i in range(len(halves)):
        half = np.uint32(halves[i])
        bits[i] = ((half & np.uint32(0x8000)) << np.uint32(16)) | ((half & np.uint32(0x7FFF)) << np.uint32(13))


@kernel(VOID, reads("u2", 2), reads("f4", 1), writes("f4", 1))
def products(halves: NDArray[np.uint16], weights: Floats, out: Floats) -> None:
    """Each row's product with the weights; its numbers are halves (`from_halves`).  (n, E), (E,) → (n,)"""
    n, size = halves.shape
    numbers, scaled = np.empty((n, size), np.float32), weights * np.float32(2.0**112)
    from_halves(halves.reshape(-1), numbers.reshape(-1))  # all at once: a row is too short for a loop of its own
    for i in range(n):
        total = np.float32(0)
        for component in range(size):
            total += numbers[i, component] * scaled[component]
        out[i] = total


@kernel(VOID, reads("u2", 2), reads("i4", 1), writes("f4", 1))
def mean_of_halves(halves: NDArray[np.uint16], rows: Ints, out: Floats) -> None:
    """The mean of these rows, one at least; their numbers are halves (`from_halves`).  (rows, E), (m,) → (E,)"""
    numbers = np.empty(len(out), np.float32)
    out[:] = 0
    for row in rows:
        from_halves(halves[row], numbers)
        for component in range(len(out)):
            out[component] += numbers[component] * np.float32(2.0**112)
    for component in range(len(out)):
        out[component] /= len(rows)


@kernel(VOID, reads("i8", 1), reads("i4", 1), INT, writes("i4", 1))
def ages(published: NDArray[np.int64], rows: Ints, now: int, out: Ints) -> None:
    """Seconds since publication, 0 before it, within 31 bits.  (rows,), (n,) → (n,)"""
    for i in range(len(rows)):
        out[i] = min(max(now - published[rows[i]], 0), 2**31 - 1)


@kernel(BOOL, reads("i8", 1), reads("i8", 1), reads("i4", 1), INT)
def live_and_distinct(live_from: NDArray[np.int64], live_until: NDArray[np.int64], rows: Ints, now: int) -> bool:
    """Whether each of these rows has from ≤ now < until and none comes twice; a negative row is none.  (rows,), (rows,), (n,)"""
    places = 4
    while places < 2 * len(rows):
        places *= 2
    met = np.full(places, -1, np.int32)  # a hash table: a row lies at its own place or at the next ones that were free
    for row in rows:
        if row < 0 or now < live_from[row] or now >= live_until[row]:
            return False
        place = row & (places - 1)
        while met[place] >= 0:
            if met[place] == row:
                return False
            place = (place + 1) & (places - 1)
        met[place] = row
    return True


@kernel(VOID, writes("u4", 2), writes("u4", 3), reads("i8", 1), reads("i8", 1), reads("i4", 1), reads("i8", 1), INT)
def count_each(
    counts: NDArray[np.uint32],
    buckets: NDArray[np.uint32],
    heads: NDArray[np.int64],
    lengths: NDArray[np.int64],
    rows: Ints,
    seconds: NDArray[np.int64],
    kind: int,
) -> None:
    """Counts one event per row and second in each of W windows, unless it has left that window; rows may repeat.

    (rows, 2W), (2W, B, rows), (W,), (W,), (n,), (n,)
    """
    length = buckets.shape[1]
    for i in range(len(rows)):
        for window in range(len(heads)):
            bucket = seconds[i] // lengths[window]
            if bucket > heads[window] - length:
                column = kind * len(heads) + window
                buckets[column, bucket % length, rows[i]] += np.uint32(1)
                counts[rows[i], column] += np.uint32(1)
