"""How loops that numpy has no single word for are compiled by numba (decision 0010), and those that several modules share.

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


@kernel(BOOL, reads("i8", 2), reads("i4", 1), INT)
def live_and_distinct(times: NDArray[np.int64], rows: Ints, now: int) -> bool:
    """Whether each of these rows has from ≤ now < until and none comes twice; a negative row is none.

    Args:
        times: from and until are its last two columns.  (rows, ≥ 2)
        rows: (n,)
    """
    places = 4
    while places < 2 * len(rows):
        places *= 2
    met = np.full(places, -1, np.int32)  # a hash table: a row lies at its own place or at the next ones that were free
    for row in rows:
        if row < 0 or now < times[row, -2] or now >= times[row, -1]:
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
