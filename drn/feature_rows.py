"""The loops behind `drn.features`: numbers of a logged observation, feature by feature, before they are made relative."""

import numpy as np
from numpy.typing import NDArray

from drn.errors import InvalidInput
from drn.kernels import DOUBLE, FLOAT, INT, VOID, Doubles, kernel, reads, writes
from drn.types import Floats


@kernel(VOID, reads("u2", 2), reads("u2", 1), reads("u2", 2), reads("i8", 1), FLOAT, writes("f4", 2), writes("f4", 2))
def cross(
    profile: NDArray[np.uint16],
    totals: NDArray[np.uint16],
    content: NDArray[np.uint16],
    group_ends: NDArray[np.int64],
    interest_prior: float,
    matches: Floats,
    interests: Floats,
) -> None:
    """Reader × news: each group's matches and interests, window by window.  (V, C), (V,), (n, M), (G,) → twice (G·V, n)"""
    windows, slots = profile.shape
    n = len(content)
    clicks_of = np.zeros((slots + 1, 8), np.float32)  # a slot's windows in one register; an empty column finds zeros
    for window in range(windows):
        for place in range(slots):
            clicks_of[place, window] = profile[window, place]
    found = np.empty((n, 8), np.float32)
    first = 0
    for group in range(len(group_ends)):
        found[:] = 0
        for column in range(first, group_ends[group]):
            for i in range(n):
                place = min(content[i, column], slots)
                for window in range(8):
                    found[i, window] += clicks_of[place, window]
        first = group_ends[group]
        for window in range(windows):
            match, interest = matches[group * windows + window], interests[group * windows + window]
            share = np.float32(1) / (np.float32(totals[window]) + interest_prior)
            for i in range(n):
                match[i] = found[i, window] + 1
                interest[i] = found[i, window] * share


@kernel(
    VOID,
    reads("u2", 2),
    reads("u2", 1),
    reads("u2", 2),
    reads("u4", 2),
    reads("u4", 2),
    reads("u2", 2),
    reads("i4", 1),
    reads("i8", 1),
    FLOAT,
    FLOAT,
    FLOAT,
    writes("f4", 2),
)
def raw_features(
    profile: NDArray[np.uint16],
    totals: NDArray[np.uint16],
    content: NDArray[np.uint16],
    counts: NDArray[np.uint32],
    category_counts: NDArray[np.uint32],
    seen: NDArray[np.uint16],
    age: NDArray[np.int32],
    group_ends: NDArray[np.int64],
    prior_clicks: float,
    prior_exposures: float,
    interest_prior: float,
    out: Floats,
) -> None:
    """The rows of FEATURES, those of LOGARITHMS before their logarithm is taken.  (F, n)

    Counts and matches are x + 1, rates (clicks + a) / (exposures + b), age 1 + hours. A match is how often the group's
    properties occur among the reader's clicks of a window; interest is the same as a share of them, smoothed. A category's CTR is
    the reader's own: their clicks in it within the longest window by how often it was shown to them.

    Args:
        profile (V, C), totals (V,), content (n, M), counts (n, 2W), category_counts (n, 2), seen (n, 7), age (n,): the
            observation's
        group_ends: one past the last content column of each group.  (G,)
        out: filled here.  (F, n)
    """
    n, columns = content.shape
    windows = len(totals)
    crossed, w = len(group_ends) * windows, counts.shape[1] // 2
    fit = group_ends[-1] == columns and out.shape == (2 * crossed + 3 * w + 10, n)
    fit = fit and seen.shape[1] == 7 and category_counts.shape[1] == 2
    if windows > 8 or len(profile) != windows or not fit or min(len(counts), len(category_counts), len(seen), len(age)) < n:
        raise InvalidInput("the observation's arrays do not fit each other")
    matches, seen_rows, count_rows = out[:crossed], out[crossed : crossed + 4], out[crossed + 4 : crossed + 3 * w + 6]
    interests, likenesses = out[-4 - crossed : -4], out[-4:]
    category_clicks = matches[2 * windows - 1]  # of the reader within the longest window, and 1

    cross(profile, totals, content, group_ends, interest_prior, matches, interests)
    for i in range(n):
        seen_rows[0, i] = seen[i, 0] + 1
        seen_rows[1, i] = seen[i, 1] + 1
        seen_rows[2, i] = seen[i, 2] + 1
        seen_rows[3, i] = (category_clicks[i] - 1 + prior_clicks) / (np.float32(seen[i, 2]) + prior_exposures)
        for like in range(3):
            likenesses[like, i] = np.float32(seen[i, 3 + like]) / 1_000
        likenesses[3, i] = seen[i, 6]
        for window in range(w):
            clicks, exposures = np.float32(counts[i, window]), np.float32(counts[i, w + window])
            count_rows[window, i] = clicks + 1
            count_rows[w + window, i] = exposures + 1
            count_rows[2 * w + window, i] = (clicks + prior_clicks) / (exposures + prior_exposures)
        clicks, exposures = np.float32(category_counts[i, 0]), np.float32(category_counts[i, 1])
        count_rows[3 * w, i] = (clicks + prior_clicks) / (exposures + prior_exposures)
        count_rows[3 * w + 1, i] = 1 + np.float32(age[i]) / np.float32(3_600)


@kernel(VOID, reads("u8", 2), writes("f4", 2))
def places(keys: NDArray[np.uint64], out: Floats) -> None:
    """2b/n − 1, b being the number of smaller values: from −1 (none) to 1; equal values share one.  (c, n) → (c, n)

    Args:
        keys: sorted, as `kernels.sorted_keys` of the values.
    """
    c, n = keys.shape
    for f in range(c):
        below = np.float32(-1)
        for place in range(n):
            if place == 0 or keys[f, place] >> np.uint64(32) != keys[f, place - 1] >> np.uint64(32):
                below = np.float32(2 * place / n - 1)
            out[f, keys[f, place] & np.uint64(0xFFFFFFFF)] = below


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


@kernel(VOID, reads("u2", 2), reads("u2", 1), reads("u1", 1), DOUBLE, INT, reads("i8", 1), INT, FLOAT, writes("f4", 1))
def reader_features(
    profile: NDArray[np.uint16],
    totals: NDArray[np.uint16],
    context: NDArray[np.uint8],
    mean_age: float,
    n: int,
    context_offsets: NDArray[np.int64],
    context_size: int,
    interest_prior: float,
    out: Floats,
) -> None:
    """[V × C properties as shares of clicks | V totals | one-hot hour, weekday, device, surface | freshness | length].

    Args:
        mean_age: of the logarithms.
        out: filled here.  (R,)
    """
    windows, slots = profile.shape
    if len(context) != len(context_offsets):
        raise InvalidInput("a context is as many slots as there are offsets")
    out[windows * (slots + 1) :] = 0
    for window in range(windows):
        clicks = np.float32(totals[window]) + interest_prior
        for place in range(slots):
            out[window * slots + place] = profile[window, place] / clicks
        out[windows * slots + window] = np.log1p(totals[window]) / 4
    for field in range(len(context)):
        if context_offsets[field] + context[field] >= context_size:
            raise InvalidInput("a context slot is out of range")
        out[windows * slots + windows + context_offsets[field] + context[field]] = 1
    out[-2] = (mean_age - 2) / 2
    out[-1] = (np.log1p(n) - 2.5) / 2


@kernel(
    VOID,
    reads("f4", 2),
    reads("u8", 2),
    reads("u2", 2),
    reads("u2", 1),
    reads("u1", 1),
    INT,
    reads("i8", 1),
    INT,
    FLOAT,
    writes("f4", 2),
    writes("f8", 1),
    writes("f8", 1),
    writes("f4", 1),
)
def relative_features(
    values: Floats,
    keys: NDArray[np.uint64],
    profile: NDArray[np.uint16],
    totals: NDArray[np.uint16],
    context: NDArray[np.uint8],
    age_row: int,
    context_offsets: NDArray[np.int64],
    context_size: int,
    interest_prior: float,
    below: Floats,
    mean: Doubles,
    scale: Doubles,
    reader: Floats,
) -> None:
    """What the list as a whole says: places and moments of its features, and the reader's inputs, its freshness among them.

    Args:
        values: the features.  (F, n)
        keys: of those whose places are wanted, sorted.  (P, n)
        age_row: that of `values` which has ages.
        below (P, n), mean (F,), scale (F,), reader (R,): filled here.
    """
    places(keys, below)
    moments(values, mean, scale)
    reader_features(
        profile, totals, context, mean[age_row], values.shape[1], context_offsets, context_size, interest_prior, reader
    )


@kernel(VOID, reads("f4", 2), reads("f4", 1), reads("f4", 1), writes("f4", 2))
def standardise(features: Floats, centre: Floats, spread: Floats, out: Floats) -> None:
    """(x − centre) / spread of each feature's typical values.  (c, n), (c,), (c,) → (c, n)"""
    for f in range(features.shape[0]):
        scale = np.float32(1) / spread[f]
        for i in range(features.shape[1]):
            out[f, i] = (features[f, i] - centre[f]) * scale


@kernel(VOID, reads("f4", 2), reads("f8", 1), reads("f8", 1), writes("f4", 2))
def z_scores(features: Floats, mean: Doubles, scale: Doubles, out: Floats) -> None:
    """Each feature's distance from its mean over the list, in standard deviations (`moments`), within ±5.  (c, n)"""
    for f in range(features.shape[0]):
        for i in range(features.shape[1]):
            out[f, i] = min(max((features[f, i] - mean[f]) * scale[f], -5.0), 5.0)
