"""The loops behind `drn.features.observe`: what is known of candidates by their catalogue rows, and of one reader's past.

`observe_list` is all of them in one call, because to enter a compiled loop takes as long as many of them.
"""

import numpy as np
from numpy.typing import NDArray

from drn.kernels import BOOL, INT, VOID, kernel, prefetch, reads, writes
from drn.types import Floats, Ints

LATEST = 8  # newest clicks that candidates' words are compared with
RECENT = 50  # newest clicks that the reader's mean embedding is made of
SPREAD = 2_654_435_769  # 2³² by the golden ratio: rows that follow each other come to lie apart (Knuth, TAOCP 3, §6.4)


@kernel(VOID, reads("u2", 2), reads("i4", 1), reads("i8", 1), INT, reads("i8", 1), writes("u2", 2), writes("u2", 1))
def click_profile(
    content: NDArray[np.uint16],
    clicked: Ints,
    times: NDArray[np.int64],
    now: int,
    lengths: NDArray[np.int64],
    counts: NDArray[np.uint16],
    totals: NDArray[np.uint16],
) -> None:
    """How often each content slot occurs among the clicks of each of V nested windows, and how many clicks there are.

    Args:
        content: slots of every article, C or more where a column is empty.  (rows, M)
        clicked, times: rows and times of the clicks, oldest first.  (m,), (m,)
        lengths: of the windows, which end at `now`, the shortest first; all in seconds.  (V,)
        counts (V, C), totals (V,): filled here.
    """
    windows, slots = counts.shape
    end = len(clicked)
    for window in range(windows):
        for place in range(slots):
            counts[window, place] = counts[window - 1, place] if window else 0
        while end > 0 and times[end - 1] >= now - lengths[window]:
            end -= 1
            for column in range(content.shape[1]):
                place = content[clicked[end], column]
                if place < slots:
                    counts[window, place] += 1
        totals[window] = len(clicked) - end


@kernel(VOID, reads("i4", 1), reads("u2", 1), reads("i4", 1), INT, writes("u2", 2))
def counts_of(known: Ints, counts: NDArray[np.uint16], rows: Ints, column: int, out: NDArray[np.uint16]) -> None:
    """The counts of these rows, 0 where a row is not known; known ones are distinct.  (u,), (u,), (n,) → a column of `out`"""
    shift = 30
    while 1 << (32 - shift) < 2 * len(known):
        shift -= 1
    places = 1 << (32 - shift)
    table = np.full(places, -1, np.int32)  # a hash table of indices: halving intervals is a branch guessed wrong at each step
    for index in range(len(known)):
        place = ((known[index] * SPREAD) & 0xFFFFFFFF) >> shift
        while table[place] >= 0:
            place = (place + 1) & (places - 1)
        table[place] = index
    for i in range(len(rows)):
        place = ((rows[i] * SPREAD) & 0xFFFFFFFF) >> shift
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
    # By stem, a bit for each click that has it. Spread over the bytes of a number, what a row shares with all clicks is one sum.
    having, sizes = np.zeros(65_536, np.uint8), np.zeros(8, np.int64)
    for click in range(clicks):
        for stem in stems[clicked[click]]:
            if stem:
                having[stem] |= np.uint8(1 << click)
                sizes[click] += 1
    ones = np.uint64(0x0101010101010101)
    for i in range(len(rows)):
        prefetch(stems, rows[min(i + 8, len(rows) - 1)])
        row, shared, size = rows[i], np.uint64(0), 0
        while size < stems.shape[1] and stems[row, size]:
            bits = (np.uint64(having[stems[row, size]]) * ones) & np.uint64(0x8040201008040201)  # in each byte one of the bits
            shared += ((bits + np.uint64(0x7F7F7F7F7F7F7F7F)) >> np.uint64(7)) & ones  # 1 in the place of any
            size += 1
        if not shared:
            continue
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
        clicked: rows of the reader's clicks, oldest first, of which the newest count.  (m,)
        page: the row of the page's own article, −1 without one.
        rows: (n,)
        out: filled here.  (n, 7)
    """
    counts_of(shown, showings, rows, 0, out)
    counts_of(read, readings, rows, 1, out)
    of_category = np.zeros(categories, np.int64)
    for i in range(len(shown)):
        of_category[category[shown[i]]] += showings[i]
    likeness(stems, rows, clicked[max(len(clicked) - LATEST, 0) :], 3, 4, out)
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


@kernel(VOID, reads("u2", 2), reads("i4", 1), writes("f4", 1))
def mean_of_halves(halves: NDArray[np.uint16], rows: Ints, out: Floats) -> None:
    """The mean of these rows, zeros without any; their numbers are halves (`from_halves`).  (rows, E), (m,) → (E,)"""
    numbers = np.empty(len(out), np.float32)
    out[:] = 0
    for row in rows:
        from_halves(halves[row], numbers)
        for component in range(len(out)):
            out[component] += numbers[component] * np.float32(2.0**112)
    for component in range(len(out)):
        out[component] /= max(len(rows), 1)


@kernel(BOOL, reads("u2", 2), reads("f4", 1), writes("f4", 1))
def products(halves: NDArray[np.uint16], weights: Floats, out: Floats) -> bool:
    """Each row's product with the weights, and True, unless all of these are 0.  (n, E), (E,) → (n,)

    The rows' numbers are halves (`from_halves`).
    """
    n, size = halves.shape
    if not weights.any():
        return False
    numbers, scaled = np.empty((n, size), np.float32), weights * np.float32(2.0**112)
    from_halves(halves.reshape(-1), numbers.reshape(-1))  # all at once: a row is too short for a loop of its own
    for i in range(n):
        total = np.float32(0)
        for component in range(size):
            total += numbers[i, component] * scaled[component]
        out[i] = total
    return True


@kernel(
    VOID,
    reads("i8", 2),
    reads("u2", 2),
    reads("u4", 2),
    reads("i4", 1),
    reads("u4", 2),
    reads("u2", 2),
    reads("u2", 2),
    INT,
    reads("i4", 1),
    INT,
    INT,
    reads("i4", 1),
    reads("i8", 1),
    reads("i4", 1),
    reads("u2", 1),
    reads("i4", 1),
    reads("u2", 1),
    reads("i8", 1),
    writes("i4", 1),
    writes("u2", 2),
    writes("u4", 2),
    writes("u4", 2),
    writes("u2", 2),
    writes("u2", 2),
    writes("u2", 2),
    writes("u2", 1),
    writes("f4", 1),
)
def observe_list(
    times: NDArray[np.int64],
    content: NDArray[np.uint16],
    counts: NDArray[np.uint32],
    category: Ints,
    category_counts: NDArray[np.uint32],
    stems: NDArray[np.uint16],
    embedding: NDArray[np.uint16],
    categories: int,
    rows: Ints,
    now: int,
    page: int,
    clicked: Ints,
    click_times: NDArray[np.int64],
    shown: Ints,
    showings: NDArray[np.uint16],
    read: Ints,
    readings: NDArray[np.uint16],
    lengths: NDArray[np.int64],
    age_out: Ints,
    content_out: NDArray[np.uint16],
    counts_out: NDArray[np.uint32],
    category_counts_out: NDArray[np.uint32],
    embedding_out: NDArray[np.uint16],
    seen_out: NDArray[np.uint16],
    profile_out: NDArray[np.uint16],
    totals_out: NDArray[np.uint16],
    reader_embedding_out: Floats,
) -> None:
    """What is known of articles at `now` (epoch seconds), and of the reader whom the list is for: nearly all of an observation.

    Articles are looked at in one loop, to wait for several tables at once.

    Args:
        times (rows, 3; when it was published is the first), content (rows, M), counts (rows, 2W), category (rows,), below
            `categories`, stems (rows, STEMS), embedding (rows, E; halves): of every article
        category_counts: of every category.  (categories, 2)
        rows: of the candidates.  (n,)
        page: the row of the page's own article, −1 without one.
        clicked, click_times: the reader's clicks, oldest first.  (m,), (m,)
        shown, showings: what the reader was shown, and how often; distinct.  (u,), (u,)
        read, readings: the same of what they read.
        lengths: of the windows in which clicks are counted, the shortest first, in seconds.  (V,)
        age_out: seconds since publication, 0 before it, within 31 bits.  (n,)
        content_out (n, M), counts_out (n, 2W), category_counts_out (n, 2), embedding_out (n, E), seen_out (n, 7), profile_out
            (V, C), totals_out (V,), reader_embedding_out (E,): filled here, as in `Observation`
    """
    n = len(rows)
    for i in range(n):
        row, ahead = rows[i], rows[min(i + 8, n - 1)]
        prefetch(content, ahead)
        prefetch(counts, ahead)
        prefetch(embedding, ahead)
        age_out[i] = min(max(now - times[row, 0], 0), 2**31 - 1)
        for column in range(content.shape[1]):
            content_out[i, column] = content[row, column]
        for column in range(counts.shape[1]):
            counts_out[i, column] = counts[row, column]
        for column in range(2):
            category_counts_out[i, column] = category_counts[category[row], column]
        for component in range(embedding.shape[1]):
            embedding_out[i, component] = embedding[row, component]
    relations(shown, showings, read, readings, category, categories, stems, clicked, page, rows, seen_out)
    click_profile(content, clicked, click_times, now, lengths, profile_out, totals_out)
    mean_of_halves(embedding, clicked[max(len(clicked) - RECENT, 0) :], reader_embedding_out)
