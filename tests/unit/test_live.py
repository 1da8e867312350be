from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drn.catalogue import WINDOWS
from drn.config import Config
from drn.ranking import decide
from drn.types import Article, Event, RankRequest
from drn.versions import initial_version
from service.live import LONGEST_GAP, SETTLED_SECONDS, Applied, Live
from service.store.impressions import ShownList

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
CONFIG = Config(advantage_layers=(4,), value_layers=(4,), embedding_size=0)


@pytest.fixture
def live() -> Live:
    live = Live(CONFIG, cached_readers=2)
    for i in range(5):
        live.put(Article(f"a{i}", f"title number {i}", NOW - timedelta(hours=i), category=f"c{i}"))
    return live


def click(event_id: str, article_id: str, user_id: str | None = "u1", kind: str = "click") -> Event:
    return Event(event_id, article_id, kind, NOW, user_id=user_id)


def shown(seq: int, article_ids: Sequence[str]) -> ShownList:
    return ShownList(f"r{seq}", seq, NOW, "u1", tuple(article_ids))


def clicks(live: Live, article_id: str) -> int:
    row = live.catalogue.row(article_id)
    assert row is not None
    return int(live.catalogue.counts[row, 0])


def test_a_click_counts_for_the_article_and_its_reader(live: Live) -> None:
    live.keep("u1", live.build_reader([], {}))
    live.note([(1, click("e1", "a0"))], ours=True)
    reader = live.cached_reader("u1")
    assert reader is not None
    assert reader.seen(np.array([0, 1], np.int32))[:, 1].tolist() == [1, 0]
    assert clicks(live, "a0") == 1


def test_a_place_in_the_log_is_applied_once(live: Live) -> None:
    for _ in range(2):
        live.note([(7, click("e1", "a0"))], ours=True)
        live.note([(7, click("e1", "a0"))], ours=False)
        live.show([shown(3, ["a0", "a1"])], ours=True)
    assert clicks(live, "a0") == 1
    assert live.catalogue.counts[0, 5] == 1


def test_lists_that_were_committed_together_count_one_by_one_but_for_articles_nobody_knows(live: Live) -> None:
    live.keep("u1", live.build_reader([], {}))
    live.show([shown(1, ["a1", "gone", "a0"]), shown(2, []), shown(1, ["a2"]), shown(3, ["a1"])], ours=True)
    reader = live.cached_reader("u1")
    assert reader is not None
    assert reader.seen(np.arange(5, dtype=np.int32))[:, 0].tolist() == [1, 2, 0, 0, 0]
    assert live.catalogue.counts[:5, len(WINDOWS)].tolist() == [1, 2, 0, 0, 0]


def test_other_events_are_no_clicks(live: Live) -> None:
    live.note([(1, click("e1", "a0", kind="dwell"))], ours=True)
    assert clicks(live, "a0") == 0


def test_news_from_another_process_drops_a_reader_who_may_hold_it_already(live: Live) -> None:
    look = live.begin_look(in_doubt=False)
    live.keep("u1", live.build_reader([("a0", NOW)], {}))
    live.end_look(look)
    look = live.begin_look(in_doubt=False)
    live.note([(1, click("e1", "a0"))], ours=False)
    assert live.cached_reader("u1") is None
    assert clicks(live, "a0") == 1


def test_news_from_another_process_reaches_a_reader_who_cannot_hold_it_yet(live: Live) -> None:
    live.keep("u1", live.build_reader([], {}))
    live.end_look(live.begin_look(in_doubt=False))
    live.begin_look(in_doubt=False)
    live.note([(1, click("e1", "a0"))], ours=False)
    live.show([shown(1, ["a1"])], ours=False)
    reader = live.cached_reader("u1")
    assert reader is not None
    assert reader.seen(np.array([0, 1], np.int32))[:, 1].tolist() == [1, 0]
    assert reader.seen(np.array([0, 1], np.int32))[:, 0].tolist() == [0, 1]


def test_a_look_that_may_find_old_rows_drops_every_reader_it_finds(live: Live) -> None:
    live.keep("u1", live.build_reader([], {}))
    live.end_look(live.begin_look(in_doubt=False))
    live.begin_look(in_doubt=True)
    live.show([shown(1, ["a1"])], ours=False)
    assert live.cached_reader("u1") is None


def test_a_look_that_failed_settles_nothing(live: Live) -> None:
    live.begin_look(in_doubt=False)
    live.keep("u1", live.build_reader([], {}))
    live.begin_look(in_doubt=False)
    live.show([shown(1, ["a1"])], ours=False)
    assert live.cached_reader("u1") is None


ACTIONS = st.lists(st.sampled_from(["other", "own", "begin look", "end look", "begin load", "end load"]), max_size=40)


@given(ACTIONS)
def test_a_reader_in_memory_is_what_the_log_says(actions: list[str]) -> None:
    """Whatever order two processes write in, and whenever the log and the reader are read: nothing is lost or counted twice."""
    live = Live(CONFIG, cached_readers=2)
    live.put(Article("a0", "title", NOW))
    log: list[bool] = []  # whether this process wrote each list
    look: tuple[int, list[int]] | None = None
    load: int | None = None
    for action in [*actions, "end load", "end look", "begin look", "end look"]:
        match action:
            case "other":
                log.append(False)
            case "own":
                log.append(True)
                live.show([shown(len(log), ["a0"])], ours=True)
            case "begin look" if look is None:
                number = live.begin_look(in_doubt=False)
                look = number, [seq for seq, own in enumerate(log, 1) if not own]
            case "end look" if look is not None:
                for seq in look[1]:
                    live.show([shown(seq, ["a0"])], ours=False)
                live.end_look(look[0])
                look = None
            case "begin load" if load is None:
                live.begin_loading("u1")
                load = len(log)
            case "end load" if load is not None:
                live.keep("u1", live.build_reader([], {"a0": load}))
                load = None
    if (reader := live.cached_reader("u1")) is not None:
        assert reader.seen(np.zeros(1, np.int32))[:, 0].tolist() == [len(log)]


def test_a_reader_with_news_while_being_read_is_not_kept(live: Live) -> None:
    live.begin_loading("u1")
    live.note([(1, click("e1", "a0"))], ours=True)
    assert not live.keep("u1", live.build_reader([], {}))
    assert live.cached_reader("u1") is None
    live.begin_loading("u1")
    assert live.keep("u1", live.build_reader([("a0", NOW)], {}))
    assert live.cached_reader("u1") is not None


def test_a_reader_who_could_not_be_read_is_not_being_read(live: Live) -> None:
    live.begin_loading("u1")
    live.note([(1, click("e1", "a0"))], ours=True)
    live.end_loading("u1")
    assert live.loading == 0
    assert live.keep("u1", live.build_reader([], {}))


def test_the_readers_asked_for_least_recently_are_dropped(live: Live) -> None:
    for user in ("u1", "u2"):
        live.keep(user, live.build_reader([], {}))
    live.cached_reader("u1")
    live.keep("u3", live.build_reader([], {}))
    assert [live.cached_reader(user) is not None for user in ("u1", "u2", "u3")] == [True, False, True]


def test_a_reader_is_built_from_the_log(live: Live) -> None:
    reader = live.build_reader([("a1", NOW), ("gone", NOW)], {"a1": 3, "a2": 70_000, "gone": 2})
    rows = np.array([0, 1, 2], np.int32)
    assert reader.seen(rows)[:, 1].tolist() == [0, 1, 0]
    assert reader.seen(rows)[:, 0].tolist() == [0, 3, 65_535]


def test_a_version_is_served_only_with_the_same_features(live: Live) -> None:
    ours = initial_version(CONFIG, NOW)
    assert live.serve(ours)
    other = initial_version(Config(advantage_layers=(4,), value_layers=(4,), embedding_size=4), NOW)
    assert not live.serve(other)
    assert live.version_id == 1
    assert live.refused is not None
    assert "feature schema" in live.refused
    assert live.serve(ours)
    assert live.refused is None


def test_a_withdrawn_article_is_in_no_list(live: Live) -> None:
    live.serve(initial_version(CONFIG, NOW))
    live.put(Article("a0", "title", NOW), withdrawn=True)
    assert live.served is not None
    request = RankRequest("r", NOW, 5, candidates=("a0", "a1"))
    impression = decide(request, live.served, live.catalogue, live.build_reader([], {}), NOW)
    assert impression.article_ids == ("a1",)
    assert impression.unknown == ("a0",)


def test_applied_forgets_below_its_floor_and_counts_nothing_twice() -> None:
    applied = Applied()
    assert [applied.add(seq) for seq in (5, 3, 5)] == [True, True, False]
    assert applied.newest == 5
    applied.raise_floor(4)
    assert not applied.add(3)
    assert not applied.add(5)
    assert applied.add(6)
    applied.raise_floor(2)
    assert applied.floor == 4


def test_applied_reads_again_what_may_still_appear() -> None:
    applied = Applied()
    applied.add(5)
    applied.settle(100.0)
    applied.add(7)
    applied.settle(100.0 + SETTLED_SECONDS - 1)
    assert applied.floor == 0
    applied.settle(100.0 + SETTLED_SECONDS)
    assert applied.floor == 5
    applied.settle(100.0 + 3 * SETTLED_SECONDS)
    assert applied.floor == 7


def test_places_that_were_passed_over_are_looked_for_until_the_floor() -> None:
    applied = Applied()
    applied.raise_floor(10)
    assert applied.unread() == (10, [])
    for seq in (12, 15):  # another process's
        applied.add(seq)
    applied.read_to(15)
    applied.add(18)  # our own, written meanwhile
    assert applied.unread() == (15, [11, 13, 14])
    assert applied.add(13)
    assert applied.add(17)
    assert applied.unread() == (18, [11, 14, 16])
    applied.raise_floor(15)
    assert applied.unread() == (18, [16])
    assert [applied.add(seq) for seq in (11, 16, 17)] == [False, True, False]


def test_a_sequence_that_was_set_anew_fills_no_memory() -> None:
    applied = Applied()
    applied.add(10**12)
    applied.add(10**12 + LONGEST_GAP + 2)
    assert len(applied.unread()[1] + applied.unread()[1]) <= 2 * LONGEST_GAP


@given(st.permutations(range(1, 9)), st.lists(st.sampled_from(["commit", "own", "look"]), max_size=40))
def test_whatever_order_transactions_end_in_each_place_is_applied_once(order: list[int], actions: list[str]) -> None:
    """Places of a log become visible in any order, this process's own at once, others' when it looks."""
    applied = Applied()
    numbers, visible, seen = iter(order), set[int](), list[int]()

    def look() -> None:
        behind, missing = applied.unread()
        for seq in sorted(seq for seq in visible if seq > behind or seq in missing):
            if applied.add(seq):
                seen.append(seq)
            applied.read_to(seq)

    for action in actions:
        if action == "look":
            look()
        elif (seq := next(numbers, None)) is not None:
            visible.add(seq)
            if action == "own" and applied.add(seq):
                seen.append(seq)
    look()
    assert sorted(seen) == sorted(visible)
