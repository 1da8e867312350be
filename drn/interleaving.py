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
from drn.types import Bools, Floats, Interleaving, Ints

RANKERS = np.array([[0], [1]])  # the rows of everything that holds current and explore
SORT_WHOLE = 1_000  # below it sorting all candidates is faster than selecting the few that were drawn


def ranks(scores: Floats) -> Ints:
    """The rank of each candidate, 1 for the highest score; equal scores rank by index.

    Args:
        scores: (n,)
    """
    order = np.argsort(-scores, kind="stable")  # (n,)
    rank = np.empty(len(scores), np.int32)
    rank[order] = np.arange(1, len(scores) + 1)
    return rank  # (n,)


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
    scores = np.stack([current_scores, explore_scores]) if current_scores.shape == explore_scores.shape else None
    if scores is None or tau < 0:
        raise InvalidInput("the two rankers must score the same candidates, and tau must not be negative")
    fixed = _fit(scores, k, pinned or {})
    if not fixed:
        chosen, rank = _draw(scores, min(k, scores.shape[1]), tau, rng)
        return _with_shares(np.asarray(chosen, np.int32), np.zeros(len(chosen), np.bool_), rank, scores.shape[1], tau)
    pool = np.delete(np.arange(scores.shape[1], dtype=np.int32), list(fixed.values()))
    chosen, rank = _draw(scores[:, pool], min(k, scores.shape[1]) - len(fixed), tau, rng)
    shown, mask = _place(pool[chosen], fixed)
    return _with_shares(shown, mask, rank, len(pool), tau)


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
    best = pool[_top(current_scores[pool], min(k, len(current_scores)) - len(fixed))]
    shown, mask = _place(best, fixed)
    return _frozen(shown, np.full(len(shown), 0.5), np.ones(len(shown)), mask)


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
    free_credit, free_propensity = _shares(rank, len(current_rank) - int(pinned.sum()), tau)
    credit, propensity = np.full(len(shown), 0.5), np.ones(len(shown))
    credit[~pinned], propensity[~pinned] = free_credit, free_propensity
    return credit.astype(np.float32), propensity.astype(np.float32)


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
    the interleaving mixture in the place of one Plackett-Luce ranker).

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
    slot = (np.cumsum(~mask) - 1)[pairs]  # (P, 2): the same slots, counted without pinned ones
    swapped = np.repeat(rank[None], len(slot), axis=0)  # (P, 2, m)
    row = np.arange(len(slot))
    swapped[row, :, slot[:, 0]], swapped[row, :, slot[:, 1]] = rank[:, slot[:, 1]].T, rank[:, slot[:, 0]].T
    rest = _log_rest(rank, len(current_rank) - int(mask.sum()), tau)  # (2, 1)
    as_shown = np.logaddexp.reduce(_log_probabilities(rank, rest, tau), axis=-2).sum(axis=-1)  # ()
    as_swapped = np.logaddexp.reduce(_log_probabilities(swapped, rest, tau), axis=-2).sum(axis=-1)  # (P,)
    ratio: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * (as_swapped - as_shown))
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
    if not np.isfinite(scores).all():
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


def _draw(scores: Floats, m: int, tau: float, rng: np.random.Generator) -> tuple[list[int], NDArray[np.int64]]:
    """m candidates of the pool, drawn one by one from the mixture, and their ranks (2, m)."""
    n = scores.shape[1]
    race = np.log(rng.standard_exponential((2, n)))  # (2, n)
    race += tau * _log_ranks(n)
    coins: list[bool] = (rng.random(m) < 0.5).tolist()
    if n < SORT_WHOLE:
        order = np.argsort(-scores, axis=1, kind="stable")  # (2, n)
        arrivals = order[RANKERS, race.argsort(axis=1)[:, :m]]  # (2, m)
        chosen = _merge(arrivals, coins)
        rank = np.empty((2, n), np.int64)
        rank[0, order[0]] = rank[1, order[1]] = np.arange(1, n + 1)
        return chosen, rank[:, chosen]
    drawn = [_top(-row, m) for row in race]
    arrivals = np.stack([_top(row, int(ahead.max(initial=-1)) + 1)[ahead] for row, ahead in zip(scores, drawn, strict=True)])
    chosen = _merge(arrivals, coins)
    return chosen, _ranks_of(scores, chosen)


def _merge(arrivals: NDArray[np.int64], coins: list[bool]) -> list[int]:
    """Takes the next candidate that is still free from the ranker that each coin names."""
    taken: list[int] = []
    free = set(arrivals.ravel().tolist())
    queues = [iter(row) for row in arrivals.tolist()]
    for coin in coins:
        for candidate in queues[coin]:
            if candidate in free:
                free.remove(candidate)
                taken.append(candidate)
                break
    return taken


def _top(scores: NDArray[np.floating[Any]], m: int) -> NDArray[np.int64]:
    """The m candidates with the highest scores, in order; equal scores by index, as `ranks` has it."""
    if m < len(scores):
        bar = -np.partition(-scores, m)[m]  # nothing below the (m + 1)-th score can be among the first m
        among = np.flatnonzero(scores >= bar)
    else:
        among = np.arange(len(scores))
    return among[np.argsort(-scores[among], kind="stable")[:m]]


def _ranks_of(scores: Floats, chosen: list[int]) -> NDArray[np.int64]:
    """The ranks (2, m) of a few candidates, counted instead of sorted."""
    rank = np.empty((2, len(chosen)), np.int64)
    for row, own in zip(rank, scores, strict=True):
        for slot, candidate in enumerate(chosen):
            score = own[candidate]
            row[slot] = 1 + np.count_nonzero(own > score) + np.count_nonzero(own[:candidate] == score)
    return rank


def _pool_ranks(current_rank: Ints, explore_rank: Ints, shown: Ints, pinned: Bools) -> NDArray[np.int64]:
    """The ranks (2, m) of the drawn candidates among the pool, which pinned ones have left."""
    rank = np.stack([current_rank[shown], explore_rank[shown]]).astype(np.int64)  # (2, k)
    free, fixed = rank[:, ~pinned], rank[:, pinned]
    above: NDArray[np.int64] = (free[:, :, None] > fixed[:, None, :]).sum(axis=2)
    return free - above


def _log_rest(rank: NDArray[np.int64], n: int, tau: float) -> NDArray[np.float64]:
    """log Σ rank^−τ over the candidates that were never shown, (2, 1); −inf when all were."""
    if rank.shape[1] == n:
        return np.full((2, 1), -np.inf)
    weight = np.empty((2, n))
    np.multiply(_log_ranks(n), -tau, out=weight)
    weight[0, rank[0] - 1] = weight[1, rank[1] - 1] = -np.inf
    peak = weight.max(axis=1, keepdims=True)
    rest: NDArray[np.float64] = peak + np.log(np.exp(weight - peak).sum(axis=1, keepdims=True))
    return rest


def _log_probabilities(rank: NDArray[np.int64], rest: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    """log P(slot's candidate | slots above) under each ranker: rank^−τ over the same sum of all that was left."""
    weight = -tau * np.log(rank)  # (…, 2, m)
    left = np.empty((*weight.shape[:-1], weight.shape[-1] + 1))
    left[..., :1], left[..., 1:] = rest, weight[..., ::-1]
    np.logaddexp.accumulate(left, axis=-1, out=left)
    return weight - left[..., :0:-1]  # left: never shown, and shown here or below


def _shares(rank: NDArray[np.int64], n: int, tau: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Credit (m,) and propensity (m,) of drawn slots with ranks (2, m) in a pool of n."""
    log_p = _log_probabilities(rank, _log_rest(rank, n, tau), tau)  # (2, m)
    credit: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * (log_p[1] - log_p[0]))  # = P_e / (P_e + P_c), without overflow
    propensity: NDArray[np.float64] = 0.5 * np.exp(log_p).sum(axis=0)
    return credit, propensity


def _place(free: NDArray[np.integer[Any]], fixed: Mapping[int, int]) -> tuple[Ints, Bools]:
    """The list (k,) with pinned candidates at their positions and the others, in order, around them."""
    mask = np.zeros(len(free) + len(fixed), np.bool_)
    mask[list(fixed)] = True
    shown = np.empty(len(mask), np.int32)
    shown[~mask] = free
    shown[list(fixed)] = list(fixed.values())
    return shown, mask


def _with_shares(shown: Ints, mask: Bools, rank: NDArray[np.int64], n: int, tau: float) -> Interleaving:
    free_credit, free_propensity = _shares(rank, n, tau)
    if len(free_credit) == len(shown):
        return _frozen(shown, free_credit, free_propensity, mask)
    credit, propensity = np.full(len(shown), 0.5), np.ones(len(shown))
    credit[~mask], propensity[~mask] = free_credit, free_propensity
    return _frozen(shown, credit, propensity, mask)


def _frozen(shown: Ints, credit: NDArray[np.float64], propensity: NDArray[np.float64], mask: Bools) -> Interleaving:
    merged = Interleaving(shown, credit.astype(np.float32), propensity.astype(np.float32), mask)
    for array in (merged.shown, merged.credit, merged.propensity, merged.pinned):
        array.setflags(write=False)
    return merged
