"""Probabilistic interleaving: two rankings become one list, and every slot knows whom its click would speak for.

Each slot tosses a coin between the two rankers; the chosen one draws among the candidates still left with
P(d) ∝ rank(d)^−τ (Hofmann, Whiteson & de Rijke, CIKM 2011). Credit is marginalised over the coins, so a click on
a slot is worth q = P_explore / (P_explore + P_current), whichever ranker happened to place it (Hofmann et al., TOIS 2013).

Shapes: n candidates, k shown slots, m of them not pinned, P pairs. Row 0 is current, row 1 is explore.
Probabilities are kept as logarithms and sums only ever add, so any τ and any n are sound.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drn.errors import InvalidInput
from drn.kernels import DOUBLE, INT, UNSIGNED, VOID, all_finite, kernel, reads, sorted_keys, writes
from drn.types import Bools, Floats, Interleaving, Ints


def ranks(scores: Floats) -> Ints:
    """The rank of each candidate, 1 for the highest score; equal scores rank by index.

    Args:
        scores: (n,)
    """
    order = np.argsort(-scores, kind="stable")  # (n,)
    rank = np.empty(len(scores), np.int32)
    rank[order] = np.arange(1, len(scores) + 1)
    return rank  # (n,)


def boosted(scores: Floats, boosts: Floats | None) -> Floats:
    """What is ranked: the scores, and for every ranker alike what editors add to them.  (…, n), (n,) → (…, n)"""
    return scores if boosts is None else scores + boosts


def interleave(
    current_scores: Floats,
    explore_scores: Floats,
    k: int,
    tau: float,
    rng: np.random.Generator,
    pinned: Mapping[int, int] | None = None,
) -> Interleaving:
    """Draws one list of min(k, n) candidates from the mixture of the two rankers.

    A ranker's draws without replacement are an exponential race, arrival of d = Exp(1) · rank(d)^τ. The race has
    no memory, so walking down each ranker's order of arrival and skipping what the other one has taken is an exact draw.

    Args:
        current_scores, explore_scores: (n,), finite
        pinned: position → candidate index. Pinned candidates leave the pool first; their slots carry credit 0.5 and
            propensity 1. A position beyond the end of a short list moves up to its end.

    Raises:
        InvalidInput: scores of different shapes or not finite, k < 1, τ < 0, or pins that contradict each other.
    """
    if current_scores.shape != explore_scores.shape:
        raise InvalidInput("the two rankers must score the same candidates")
    return interleave_by_seed(np.stack([current_scores, explore_scores]), k, tau, int(rng.integers(2**63)), pinned)


def interleave_by_seed(scores: Floats, k: int, tau: float, seed: int, pinned: Mapping[int, int] | None = None) -> Interleaving:
    """`interleave` with all chance from a seed below 2⁶³: to set up a generator takes longer than to draw the list.

    Args:
        scores: current's and explore's.  (2, n)
    """
    if tau < 0:
        raise InvalidInput("tau must not be negative")
    fixed = _fit(scores, k, pinned or {})
    if not fixed:
        return _frozen(*_draw(scores, min(k, scores.shape[1]), tau, seed))
    pool = np.delete(np.arange(scores.shape[1], dtype=np.int32), list(fixed.values()))
    drawn, free_credit, free_propensity = _draw(scores.take(pool, axis=1), min(k, scores.shape[1]) - len(fixed), tau, seed)
    shown, mask = _place(pool[drawn], fixed)
    return _frozen(shown, *_with_pins(free_credit, free_propensity, mask), mask)


def ranked_alone(current_scores: Floats, k: int, pinned: Mapping[int, int] | None = None) -> Interleaving:
    """The current network's own list of min(k, n), for requests that must not explore: no credit, no chance.

    Args:
        current_scores: (n,), finite
        pinned: position → candidate index

    Raises:
        InvalidInput: scores not finite, k < 1, or pins that contradict each other.
    """
    fixed = _fit(current_scores[None], k, pinned or {})
    pool = np.delete(np.arange(len(current_scores), dtype=np.int32), list(fixed.values()))
    best = np.argsort(-current_scores[pool], kind="stable")[: min(k, len(current_scores)) - len(fixed)]
    shown, mask = _place(pool[best], fixed)
    return _frozen(shown, np.full(len(shown), 0.5, np.float32), np.ones(len(shown), np.float32), mask)


def slot_shares(current_rank: Ints, explore_rank: Ints, shown: Ints, pinned: Bools, tau: float) -> tuple[Floats, Floats]:
    """Credit q = P_e / (P_e + P_c) and propensity ½(P_c + P_e) of every slot, given the slots above it. Exact.

    Args:
        current_rank, explore_rank: (n,), as `ranks` of all candidates; pinned ones are taken out here
        shown: (k,) candidate indices
        pinned: (k,)

    Returns:
        credit (k,), propensity (k,); 0.5 and 1 where pinned.
    """
    rank = _pool_ranks(current_rank, explore_rank, shown, pinned)  # (2, m)
    n = len(current_rank) - int(pinned.sum())
    free_credit, free_propensity = np.empty(rank.shape[1], np.float32), np.empty(rank.shape[1], np.float32)
    shares(rank, _log_ranks(n), tau, free_credit, free_propensity)
    return _with_pins(free_credit, free_propensity, pinned)


def outcome(credit: Floats, clicked: Bools) -> float:
    """Σ over clicked slots of (2q − 1): above 0 the impression speaks for explore, below 0 for current.

    Args:
        credit: (k,)
        clicked: (k,)
    """
    return float((2 * credit[clicked].astype(np.float64) - 1).sum())


def swap_ratios(
    current_rank: Ints,
    explore_rank: Ints,
    shown: Ints,
    pairs: NDArray[np.integer[Any]],
    tau: float,
    pinned: Bools | None = None,
) -> NDArray[np.float64]:
    """ρ = P(R*) / (P(R) + P(R*)), R* being the list with the two slots swapped, under the mixture Π_slots ½(P_c + P_e).

    The weight that makes a pairwise preference unbiased by position (Oosterhuis & de Rijke, CIKM 2018, §4, with
    the interleaving mixture in the place of one Plackett-Luce ranker), if τ is what the list was drawn with.

    Args:
        current_rank, explore_rank: (n,), as `ranks` of all candidates
        shown: (k,) candidate indices
        pairs: (P, 2) slots, none of them pinned
        pinned: (k,)

    Raises:
        InvalidInput: a pair names a pinned slot.
    """
    mask = np.zeros(len(shown), np.bool_) if pinned is None else pinned
    pairs = np.asarray(pairs, np.intp).reshape(-1, 2)
    if mask[pairs].any():
        raise InvalidInput("a pinned slot was not drawn, so it cannot be swapped")
    rank = _pool_ranks(current_rank, explore_rank, shown, mask)  # (2, m)
    slots = (np.cumsum(~mask) - 1)[pairs]  # (P, 2): the same slots, counted without pinned ones
    ratio = np.empty(len(slots))
    swapped_shares(rank, slots, _log_ranks(len(current_rank) - int(mask.sum())), tau, ratio)
    return ratio  # (P,)


@lru_cache(maxsize=32)
def _log_ranks_up_to(size: int) -> NDArray[np.float64]:
    table = np.log(np.arange(1, size + 1))
    table.setflags(write=False)
    return table


def _log_ranks(n: int) -> NDArray[np.float64]:
    """log 1 … log n. The tables are powers of two long, so a few of them serve every n."""
    return _log_ranks_up_to(1 << n.bit_length())[:n]


def _fit(scores: Floats, k: int, pinned: Mapping[int, int]) -> dict[int, int]:
    """The pins, moved up where the list is shorter than they expect. Checks everything that interleaving relies on."""
    n = scores.shape[-1]
    if scores.ndim != 2 or k < 1:
        raise InvalidInput("scores must be one row of numbers, and k at least 1")
    if not all_finite(scores):
        raise InvalidInput("a score is not finite")
    if not pinned:
        return {}
    if len(set(pinned.values())) < len(pinned) or not all(0 <= p < k and 0 <= i < n for p, i in pinned.items()):
        raise InvalidInput(f"pins must name different candidates, and positions below {k}")
    fixed, last = {}, min(k, n) - 1
    for position in sorted(pinned, reverse=True):
        fixed[min(position, last)] = pinned[position]
        last -= 1
    return fixed


def _draw(scores: Floats, m: int, tau: float, seed: int) -> tuple[Ints, Floats, Floats]:
    """m candidates of the pool, drawn one by one from the mixture, their credit and propensity.  (m,), (m,), (m,)"""
    keys = sorted_keys(-scores)  # (2, n)
    shown, credit, propensity = np.empty(m, np.int32), np.empty(m, np.float32), np.empty(m, np.float32)
    draw(keys, _log_ranks(scores.shape[1]), tau, seed, shown, credit, propensity)
    return shown, credit, propensity


@kernel(UNSIGNED, INT, INT)
def random_bits(seed: int, index: int) -> Any:
    """64 random bits of one place in a seed's sequence, after SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    z = np.uint64(seed) + np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(DOUBLE, UNSIGNED)
def uniform(bits: Any) -> float:
    """A number between 0 and 1, neither of which it can be."""
    return (np.float64(bits >> np.uint64(12)) + 0.5) * 2.0**-52


@kernel(VOID, reads("f8", 1), DOUBLE, INT, INT, writes("i4", 1))
def first_arrivals(log_ranks: NDArray[np.float64], tau: float, seed: int, offset: int, out: Ints) -> None:
    """The places of the first m ≥ 1 arrivals among n, in their order; chance begins at `offset` in the seed's sequence.

    Args:
        log_ranks: log 1 … log n.  (n,)
        out: filled here.  (m,), m ≤ n
    """
    m, arrived, in_time = len(out), 0, np.inf
    times = np.empty(m)
    for place in range(len(log_ranks)):
        u = uniform(random_bits(seed, offset + place))
        # Exp(1) = −log u is at least 1 − u, so nearly all low ranks are late without a logarithm. The bound is of an earlier
        # place, for which more was in time, and allows for rounding.
        if 1 - u > in_time:
            continue
        time = np.log(-np.log(u)) + tau * log_ranks[place]
        if arrived == m:
            in_time = 1.001 * np.exp(times[m - 1] - tau * log_ranks[place])
        if arrived < m:
            arrived += 1
        elif time >= times[m - 1]:
            continue
        slot = arrived - 1
        while slot > 0 and time < times[slot - 1]:
            times[slot], out[slot] = times[slot - 1], out[slot - 1]
            slot -= 1
        times[slot], out[slot] = time, place


@kernel(VOID, reads("u8", 2), reads("f8", 1), DOUBLE, INT, writes("i4", 1), writes("i4", 2))
def race(keys: NDArray[np.uint64], log_ranks: NDArray[np.float64], tau: float, seed: int, shown: Ints, rank: Ints) -> None:
    """The drawn list and both ranks of its candidates. Each ranker's first m arrivals are enough to fill m slots.

    Args:
        keys: the pool in each ranker's order; the lower half is the candidate.  (2, n)
        log_ranks: log 1 … log n.  (n,)
        shown (m,), rank (2, m): filled here.
    """
    n, m = keys.shape[1], len(shown)
    if m == 0:
        return
    arrivals = np.empty((2, m), np.int32)
    for ranker in range(2):
        first_arrivals(log_ranks, tau, seed, ranker * n, arrivals[ranker])
        for slot in range(m):
            arrivals[ranker, slot] = np.int32(keys[ranker, arrivals[ranker, slot]] & np.uint64(0xFFFFFFFF))

    slot_of = np.full(n, -1, np.int32)
    following = np.zeros(2, np.int64)
    for slot in range(m):
        coin = np.int64(random_bits(seed, 2 * n + slot) >> np.uint64(63))
        while slot_of[arrivals[coin, following[coin]]] >= 0:
            following[coin] += 1
        shown[slot] = arrivals[coin, following[coin]]
        slot_of[shown[slot]] = slot
    for ranker in range(2):
        for place in range(n):
            slot = slot_of[np.int64(keys[ranker, place] & np.uint64(0xFFFFFFFF))]
            if slot >= 0:
                rank[ranker, slot] = place + 1


@kernel(writes("f8", 2), reads("i4", 2), reads("f8", 1), DOUBLE)
def log_rest(rank: Ints, log_ranks: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    """log Σ rank^−τ over the candidates that were never shown, −inf when all were.  (2, m), (n,) → (2, 1)"""
    n = len(log_ranks)
    rest = np.full((2, 1), -np.inf)
    for ranker in range(2):
        shown = np.zeros(n, np.bool_)
        for slot in range(rank.shape[1]):
            shown[rank[ranker, slot] - 1] = True
        best = 0
        while best < n and shown[best]:
            best += 1
        if best < n:
            total = 0.0
            for place in range(best, n):
                if not shown[place]:
                    total += np.exp(-tau * (log_ranks[place] - log_ranks[best]))
            rest[ranker, 0] = np.log(total) - tau * log_ranks[best]
    return rest


@kernel(VOID, reads("i4", 2), reads("f8", 2), reads("f8", 1), DOUBLE, writes("f8", 2))
def log_probabilities(
    rank: Ints, rest: NDArray[np.float64], log_ranks: NDArray[np.float64], tau: float, out: NDArray[np.float64]
) -> None:
    """log P(slot's candidate | slots above) under each ranker: rank^−τ over the same sum of all that was left.  (2, m)"""
    for ranker in range(2):
        left = rest[ranker, 0]  # never shown, and shown here or below
        for slot in range(rank.shape[1] - 1, -1, -1):
            weight = -tau * log_ranks[rank[ranker, slot] - 1]
            left = max(left, weight) + np.log1p(np.exp(-abs(left - weight)))
            out[ranker, slot] = weight - left


@kernel(VOID, reads("i4", 2), reads("f8", 1), DOUBLE, writes("f4", 1), writes("f4", 1))
def shares(rank: Ints, log_ranks: NDArray[np.float64], tau: float, credit: Floats, propensity: Floats) -> None:
    """Credit (m,) and propensity (m,) of drawn slots with ranks (2, m) in a pool of n."""
    log_p = np.empty(rank.shape)
    log_probabilities(rank, log_rest(rank, log_ranks, tau), log_ranks, tau, log_p)
    for slot in range(rank.shape[1]):
        current, explore = log_p[0, slot], log_p[1, slot]
        credit[slot] = 0.5 + 0.5 * np.tanh(0.5 * (explore - current))  # = P_e / (P_e + P_c), without overflow
        propensity[slot] = 0.5 * (np.exp(current) + np.exp(explore))


@kernel(VOID, reads("i4", 2), reads("i8", 2), reads("f8", 1), DOUBLE, writes("f8", 1))
def swapped_shares(
    rank: Ints, slots: NDArray[np.int64], log_ranks: NDArray[np.float64], tau: float, out: NDArray[np.float64]
) -> None:
    """P(R*) / (P(R) + P(R*)) of each pair of slots (P, 2) of a list with ranks (2, m)."""
    rest = log_rest(rank, log_ranks, tau)
    log_p = np.empty(rank.shape)
    swapped = rank.copy()
    as_shown = 0.0
    for pair in range(-1, len(slots)):  # the list as it was shown first
        if pair >= 0:
            a, b = slots[pair]
            swapped[:, a], swapped[:, b] = rank[:, b], rank[:, a]
        log_probabilities(swapped, rest, log_ranks, tau, log_p)
        likelihood = 0.0
        for slot in range(rank.shape[1]):
            high, low = max(log_p[0, slot], log_p[1, slot]), min(log_p[0, slot], log_p[1, slot])
            likelihood += high + np.log1p(np.exp(low - high))
        if pair < 0:
            as_shown = likelihood
        else:
            swapped[:, a], swapped[:, b] = rank[:, a], rank[:, b]
            out[pair] = 0.5 + 0.5 * np.tanh(0.5 * (likelihood - as_shown))


@kernel(VOID, reads("u8", 2), reads("f8", 1), DOUBLE, INT, writes("i4", 1), writes("f4", 1), writes("f4", 1))
def draw(
    keys: NDArray[np.uint64],
    log_ranks: NDArray[np.float64],
    tau: float,
    seed: int,
    shown: Ints,
    credit: Floats,
    propensity: Floats,
) -> None:
    """`race` and the `shares` of what it has drawn, which are filled.  (2, n), (n,) → (m,), (m,), (m,)"""
    rank = np.empty((2, len(shown)), np.int32)
    race(keys, log_ranks, tau, seed, shown, rank)
    shares(rank, log_ranks, tau, credit, propensity)


def _pool_ranks(current_rank: Ints, explore_rank: Ints, shown: Ints, pinned: Bools) -> Ints:
    """The ranks (2, m) of the drawn candidates among the pool, which pinned ones have left."""
    rank = np.stack([current_rank[shown], explore_rank[shown]])  # (2, k)
    free, fixed = rank[:, ~pinned], rank[:, pinned]
    above = (free[:, :, None] > fixed[:, None, :]).sum(axis=2)
    return np.ascontiguousarray(free - above, np.int32)


def _place(free: NDArray[np.integer[Any]], fixed: Mapping[int, int]) -> tuple[Ints, Bools]:
    """The list (k,) with pinned candidates at their positions and the others, in order, around them."""
    mask = np.zeros(len(free) + len(fixed), np.bool_)
    mask[list(fixed)] = True
    shown = np.empty(len(mask), np.int32)
    shown[~mask] = free
    shown[list(fixed)] = list(fixed.values())
    return shown, mask


def _with_pins(free_credit: Floats, free_propensity: Floats, pinned: Bools) -> tuple[Floats, Floats]:
    """Credit and propensity of all slots: 0.5 and 1 where pinned.  (m,), (m,), (k,) → (k,), (k,)"""
    credit, propensity = np.full(len(pinned), 0.5, np.float32), np.ones(len(pinned), np.float32)
    credit[~pinned], propensity[~pinned] = free_credit, free_propensity
    return credit, propensity


def _frozen(shown: Ints, credit: Floats, propensity: Floats, pinned: Bools | None = None) -> Interleaving:
    merged = Interleaving(shown, credit, propensity, np.zeros(len(shown), np.bool_) if pinned is None else pinned)
    for array in (merged.shown, merged.credit, merged.propensity, merged.pinned):
        array.setflags(write=False)
    return merged
