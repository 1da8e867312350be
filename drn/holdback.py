"""The hold-back: a small share of lists that nothing explores, half by a frozen version and half by current alone.

Which half is a coin of the request's id, so each list is an experiment of its own: whoever asked, whatever came before,
both halves expect the same clicks while the two networks are as good as each other. A share of *readers* would compare
two crowds instead, and tell a keen crowd from a better network only where there are thousands of them.
Current answers its half without exploring, too: else the frozen version would win by what exploration costs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

import numpy as np

from drn.config import Config
from drn.rewards import clicked
from drn.statistics import evidence, evidence_of_difference, radius
from drn.types import ClosedImpression, DuelState, HoldbackState
from drn.verdicts import FAULT_ALPHA, unequal

BITS = 63


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shares of lists with a click, and bounds of current − reference that hold at every look."""

    current: float | None
    reference: float | None
    difference: float | None
    low: float
    high: float


def half(request_id: str, share: float) -> int:
    """1: answered by current alone, −1: by the reference, 0: not held back. A function of the id, the same in every process."""
    drawn = int.from_bytes(blake2b(request_id.encode(), digest_size=8, person=b"hold-back").digest(), "little")
    if drawn >> 1 >= share * 2**BITS:
        return 0
    return 1 if drawn & 1 else -1


def settle(state: HoldbackState, closed: Iterable[ClosedImpression], config: Config) -> HoldbackState:
    """Adds the closed lists that were held back under this reference.

    A list is worth 1 if it got a click, else 0; what it adds is ±(worth − the mean before it), for current +. That its
    request may have forbidden exploration itself adds only lists that current answered in both halves, which cancel out.
    """
    if state.reference is None:
        return state
    for one in closed:
        impression = one.impression
        side = half(impression.request_id, config.holdback_share)
        if side and not impression.explore and impression.version_id >= state.reference:
            state = add(state, side, bool(clicked(one).any()))
    return state


def add(state: HoldbackState, side: int, click: bool) -> HoldbackState:
    lists = state.current_lists + state.reference_lists
    expected = (state.current_clicked + state.reference_clicked + 0.5) / (lists + 1)
    unit = side * (click - expected)
    name = "current" if side > 0 else "reference"
    counts = {
        f"{name}_lists": getattr(state, f"{name}_lists") + 1,
        f"{name}_clicked": getattr(state, f"{name}_clicked") + click,
    }
    return replace(state, total=state.total + unit, squares=state.squares + unit**2, **counts)


def begin(version_id: int, now: datetime) -> HoldbackState:
    """A comparison with this version that begins now."""
    return HoldbackState(version_id, now.timestamp())


def carry_on(state: HoldbackState, version_id: int, config: Config, now: datetime) -> HoldbackState:
    """The comparison as of a new version, which becomes the reference after `holdback_period`, or when current has won.

    The first period has no reference: an untrained network is no measure. One that has lost stays as it is until it is
    rolled back: it must not become its own measure.
    """
    if not config.holdback_share:
        return HoldbackState()
    if not state.since:
        return HoldbackState(since=now.timestamp())
    if lost(state, config):
        return state
    due = now - datetime.fromtimestamp(state.since, now.tzinfo) >= timedelta(seconds=config.holdback_period)
    return begin(version_id, now) if due or won(state, config) else state


def won(state: HoldbackState, config: Config) -> bool:
    """Whether current is proven better than the reference."""
    return bool(evidence(state.total, state.squares) >= -np.log(config.rollback_alpha))


def lost(state: HoldbackState, config: Config) -> bool:
    """Whether current is proven worse than the reference, at any look: in vain with probability at most `rollback_alpha`."""
    return bool(evidence(-state.total, state.squares) >= -np.log(config.rollback_alpha))


def lopsided(state: HoldbackState) -> bool:
    """Whether the halves are proven to be of unequal size: lists of one half get lost somewhere, and prove nothing."""
    lists = state.current_lists + state.reference_lists
    return bool(evidence_of_difference(state.current_lists - state.reference_lists, lists) >= -np.log(FAULT_ALPHA))


def fault(duel: DuelState, state: HoldbackState) -> str | None:
    """What the line's own sums prove to be wrong with the machine; None if they prove nothing."""
    if unequal(duel):
        return "the interleaved lists did not give both networks equal chances: no duel is to be believed"
    if lopsided(state):
        return "the halves of the hold-back are of unequal size: lists of one half are lost somewhere"
    return None


def compare(state: HoldbackState, alpha: float) -> Comparison:
    """The two halves for a person to look at; the bounds are those of the mean difference over all lists so far."""
    lists = state.current_lists + state.reference_lists
    if not lists:
        return Comparison(None, None, None, -1.0, 1.0)
    current, reference = (
        clicks / each if each else None
        for clicks, each in (
            (state.current_clicked, state.current_lists),
            (state.reference_clicked, state.reference_lists),
        )
    )
    middle, wide = 2 * state.total / lists, 2 * float(radius(state.squares, alpha)) / lists
    return Comparison(current, reference, middle, max(-1.0, middle - wide), min(1.0, middle + wide))
