from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drn.config import Config
from drn.transitions import TERMINAL, Experience, entry, links, preference_pairs
from drn.types import ClosedImpression, Context, Entry, Impression, Interleaving, Observation

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EMPTY = Interleaving(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.bool_))
NOTHING = Observation(*(np.zeros(0) for _ in range(10)))  # type: ignore[arg-type]  # links never look at features
CONFIG = Config(session_gap=1_800.0)


def visit(seq: int, minutes: int, user: str | None) -> ClosedImpression:
    at, none = NOON + timedelta(minutes=minutes), np.zeros(0, np.float32)
    impression = Impression(f"r{seq}", at, user, Context(), 1, 0, 1, True, (), (), NOTHING, none, none, EMPTY)
    return ClosedImpression(impression, (), seq)


def entries(log: list[ClosedImpression]) -> list[Entry]:
    return [entry(one) for one in log]


VISITS = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["u", "v", "w", None])), max_size=30).map(
    lambda drawn: [visit(seq, *one) for seq, one in enumerate(drawn, start=1)]
)


@given(VISITS)
def test_next_states_are_chains_forward_in_time_of_one_reader(log):
    found = links(entries(log), CONFIG)
    successors = [link.successor for link in found if link.successor != TERMINAL]
    assert len(set(successors)) == len(successors)
    for before, link in zip(log, found, strict=True):
        if link.successor != TERMINAL:
            after = log[link.successor].impression
            assert after.user_id == before.impression.user_id is not None
            assert timedelta() <= after.at - before.impression.at <= timedelta(minutes=30)
            assert link.returned_at == after.at


@given(VISITS)
def test_every_reader_has_exactly_one_last_visit(log):
    found = links(entries(log), CONFIG)
    last = [one.impression.user_id for one, link in zip(log, found, strict=True) if link.returned_at is None]
    known = [user for user in last if user is not None]
    assert sorted(known) == sorted({one.impression.user_id for one in log} - {None})


@given(VISITS)
def test_activeness_never_leaves_its_range(log):
    assert all(link.level is None or 0 < link.level <= 1 for link in links(entries(log), CONFIG))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=12))
def test_preferences_are_all_pairs_of_free_clicked_and_free_passed_over_slots(slots):
    clicked, examined, pinned = np.array(slots, np.bool_).reshape(-1, 3).T
    k = len(slots)
    zeros = np.zeros(k, np.float32)
    one = Experience(NOTHING, 0.0, np.arange(k, dtype=np.int32), clicked, examined, pinned, zeros, zeros, zeros)
    expected = {
        (i, j) for i in range(k) for j in range(k) if clicked[i] and examined[j] and not (clicked[j] or pinned[i] or pinned[j])
    }
    pairs = [tuple(pair) for pair in preference_pairs(one).tolist()]
    assert len(pairs) == len(expected)
    assert set(pairs) == expected
