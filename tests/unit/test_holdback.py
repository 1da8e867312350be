from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.learning.watching.halves import units
from drn.config import Config
from drn.holdback import add, begin, carry_on, compare, half, lopsided, lost, settle, won
from drn.statistics import e_process
from drn.types import Event, HoldbackState

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
CONFIG = Config(holdback_share=0.5, holdback_period=3_600.0)
IDS = [f"r{i}" for i in range(20_000)]


def closed(request_id: str, click: bool = False, *, explore: bool = False, version_id: int = 5) -> Any:
    """As much of a closed impression as the hold-back looks at."""
    shown = ("a1", "a2")
    impression = SimpleNamespace(
        request_id=request_id,
        explore=explore,
        version_id=version_id,
        article_ids=shown,
        interleaving=SimpleNamespace(shown=np.arange(2)),
    )
    events = (Event("e", "a2", "click", NOON, request_id=request_id),) if click else ()
    return SimpleNamespace(impression=impression, events=events)


def of(side: int, number: int) -> list[str]:
    return [name for name in IDS if half(name, CONFIG.holdback_share) == side][:number]


def test_the_share_is_held_back_in_equal_halves_by_the_id_alone():
    sides = np.array([half(name, 0.1) for name in IDS])
    assert np.mean(sides != 0) == pytest.approx(0.1, abs=0.01)
    assert np.mean(sides[sides != 0] > 0) == pytest.approx(0.5, abs=0.05)
    assert [half(name, 0.1) for name in IDS[:100]] == sides[:100].tolist()
    assert {half(name, 0.0) for name in IDS} == {0}
    assert {half(name, 1.0) for name in IDS} == {-1, 1}


def test_a_larger_share_changes_nobodys_half():
    small = {name: side for name in IDS if (side := half(name, 0.1))}
    assert all(half(name, 0.3) == side for name, side in small.items())


def test_two_lists_by_hand():
    """A click in current's half, expected ½: +½. None in the reference's, expected (1 + ½)/2: −(0 − ¾) = +¾."""
    state = add(add(begin(5, NOON), 1, True), -1, False)
    counted = replace(begin(5, NOON), current_lists=1, current_clicked=1, reference_lists=1)
    assert state == replace(counted, total=1.25, squares=0.8125)


def test_lists_that_were_held_back_under_this_reference_count_and_no_others():
    mine, theirs = of(1, 1)[0], of(-1, 1)[0]
    nobody = next(name for name in IDS if half(name, CONFIG.holdback_share) == 0)
    others = [closed(nobody, True), closed(mine, True, explore=True), closed(mine, True, version_id=4)]
    assert settle(begin(5, NOON), others, CONFIG) == begin(5, NOON)
    state = settle(begin(5, NOON), [closed(mine, True, version_id=9), closed(theirs)], CONFIG)
    assert (state.current_lists, state.current_clicked, state.reference_lists, state.reference_clicked) == (1, 1, 1, 0)
    assert settle(HoldbackState(), [closed(mine, True)], CONFIG) == HoldbackState()


def test_the_running_sums_say_what_the_simulation_says():
    rng = np.random.default_rng(2)
    side, clicked, state = 2 * rng.integers(2, size=300) - 1, rng.random(300) < 0.4, begin(5, NOON)
    for one, click in zip(side.tolist(), clicked.tolist(), strict=True):
        state = add(state, one, click)
    assert state.total == pytest.approx(units(side, clicked).sum())
    assert state.squares == pytest.approx((units(side, clicked) ** 2).sum())
    assert lost(state, CONFIG) == (e_process(units(side, clicked), "less")[-1] >= np.log(100))


def compared(clicked: int, reference_clicked: int, lists: int = 400) -> HoldbackState:
    """Alternating halves; the first of each half are those with a click."""
    state = begin(5, NOON)
    for i in range(lists):
        state = add(add(state, 1, i < clicked), -1, i < reference_clicked)
    return state


def test_who_lost_and_who_won():
    assert lost(compared(80, 200), CONFIG)
    assert won(compared(200, 80), CONFIG)
    even = compared(150, 150)
    assert not lost(even, CONFIG)
    assert not won(even, CONFIG)
    assert not lost(HoldbackState(), CONFIG)


def test_the_first_period_passes_without_a_reference():
    waiting = carry_on(HoldbackState(), 2, CONFIG, NOON)
    assert waiting == HoldbackState(since=NOON.timestamp())
    assert carry_on(waiting, 3, CONFIG, NOON + timedelta(minutes=59)) == waiting
    later = NOON + timedelta(hours=1)
    assert carry_on(waiting, 4, CONFIG, later) == begin(4, later)


def test_the_reference_is_replaced_after_its_period_or_once_it_has_been_beaten():
    even, better = compared(150, 150), compared(200, 80)
    soon, late = NOON + timedelta(minutes=1), NOON + timedelta(hours=1)
    assert carry_on(even, 9, CONFIG, soon) == even
    assert carry_on(even, 9, CONFIG, late) == begin(9, late)
    assert carry_on(better, 9, CONFIG, soon) == begin(9, soon)


def test_a_network_that_has_lost_never_becomes_its_own_measure():
    worse = compared(80, 200)
    assert carry_on(worse, 9, CONFIG, NOON + timedelta(days=9)) == worse


def test_a_share_of_zero_holds_nobody_back():
    off = replace(CONFIG, holdback_share=0.0)
    assert carry_on(compared(80, 200), 9, off, NOON) == HoldbackState()


def test_halves_of_unequal_size_are_a_fault_of_the_machine():
    state = replace(begin(5, NOON), current_lists=500, reference_lists=500)
    assert not lopsided(state)
    assert lopsided(replace(state, reference_lists=350))
    assert not lopsided(HoldbackState())


def test_the_comparison_for_a_person_holds_the_truth():
    found = compare(compared(80, 200), 0.05)
    assert (found.current, found.reference) == (0.2, 0.5)
    assert found.low < found.difference < found.high < 0
    nothing = compare(HoldbackState(), 0.05)
    assert (nothing.difference, nothing.low, nothing.high) == (None, -1.0, 1.0)
