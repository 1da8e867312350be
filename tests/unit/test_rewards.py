from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.activeness import Hazard
from drn.config import Config
from drn.rewards import Reactions, active_reward, clicked, is_examined, reported
from drn.types import ClosedImpression, Context, Event, Impression, Interleaving, Observation

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
IDS = ("a", "b", "c", "d", "e")


def closed(*events: tuple[str, str] | tuple[str, str, float], shown: tuple[int, ...] = (0, 1, 2, 3, 4)) -> ClosedImpression:
    """An impression of `shown` and its events as (article, type, value)."""
    k, n = len(shown), len(IDS)
    empty = Observation(
        reader=np.zeros((5, 1), np.uint16),
        reader_totals=np.zeros(5, np.uint16),
        context=np.zeros(4, np.uint8),
        content=np.zeros((n, 1), np.uint16),
        counts=np.zeros((n, 12), np.uint32),
        category_counts=np.zeros((n, 2), np.uint32),
        seen=np.zeros((n, 7), np.uint16),
        age=np.zeros(n, np.int32),
        embedding=np.zeros((n, 0), np.float16),
        reader_embedding=np.zeros(0, np.float16),
    )
    ones = np.ones(k, np.float32)
    merged = Interleaving(np.array(shown, np.int32), ones / 2, ones, np.zeros(k, np.bool_))
    scores = np.zeros(n, np.float32)
    impression = Impression("r", NOON, "u", Context(), 1, 0, k, True, (), IDS, empty, scores, scores, merged)
    feedback = tuple(
        Event(f"e{i}", article, kind, NOON, value[0] if value else None, "r") for i, (article, kind, *value) in enumerate(events)
    )
    return ClosedImpression(impression, feedback, 1)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], "abcde"),
        ([("b", "click")], "abcde"),
        ([("b", "seen"), ("c", "seen"), ("d", "click")], "bcd"),
    ],
)
def test_whatever_was_shown_may_have_been_looked_at_unless_the_app_says_what_was(events, expected):
    assert "".join(np.array(IDS)[Reactions.of(closed(*events)).exposed()]) == expected


def test_clicks_are_found_by_slot_not_by_candidate():
    assert clicked(closed(("d", "click"), ("d", "click"), ("a", "dwell", 3.0), shown=(3, 0, 1))).tolist() == [True, False, False]


def test_events_of_articles_that_were_not_in_the_list_are_nothing():
    one = closed(("e", "click"), ("e", "seen"), ("zzz", "like"), shown=(0, 1))
    assert not clicked(one).any()
    assert not Reactions.of(one).examined().any()
    assert not Reactions.of(one).rewards(Config()).any()


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([("a", "click")], ["a", "b"]),
        ([("a", "click"), ("c", "click")], ["a", "b", "c", "d"]),
        ([("e", "click")], ["a", "b", "c", "d", "e"]),
        ([("b", "dwell", 9.0)], ["b"]),
        ([("d", "hide")], ["d"]),
        ([("a", "click"), ("d", "hide")], ["a", "b", "d"]),
        ([("a", "seen"), ("b", "seen")], ["a", "b"]),
        ([("b", "seen"), ("d", "click")], ["b", "d"]),
    ],
)
def test_examined_is_what_was_reported_or_up_to_one_below_the_last_click(events, expected):
    assert [article for article, seen in zip(IDS, Reactions.of(closed(*events)).examined(), strict=True) if seen] == expected


@pytest.mark.parametrize(
    "events", [(), (("a", "click"),), (("e", "hide"), ("zz", "click")), (("zz", "click"),), (("c", "seen"),)]
)
def test_a_list_is_examined_if_one_of_its_slots_is(events):
    assert is_examined(closed(*events)) == Reactions.of(closed(*events)).examined().any()


def test_only_the_apps_own_report_says_what_was_seen():
    assert reported(closed(("a", "click"), ("b", "seen")))
    assert not reported(closed(("a", "click"), ("b", "hide")))


def test_rewards_add_up_per_slot():
    config = Config(event_rewards={"like": 0.5, "hide": -1.0}, dwell_reward=2.0, dwell_scale=30.0)
    one = closed(("a", "click"), ("a", "like"), ("b", "hide"), ("c", "dwell", 10.0), ("c", "dwell", 20.0), ("d", "print"))
    assert Reactions.of(one).rewards(config) == pytest.approx([1.5, -1.0, 2 * (1 - np.exp(-1)), 0.0, 0.0])


def test_what_is_reported_twice_counts_once():
    one = closed(("a", "like"), ("a", "click"), ("a", "like"), ("a", "click"))
    assert Reactions.of(one).rewards(Config())[0] == 1.5


def test_dwell_of_nothing_or_less_earns_nothing():
    one = closed(("a", "dwell"), ("b", "dwell", -50.0))
    assert Reactions.of(one).rewards(Config(dwell_reward=1.0)).tolist() == [0.0] * 5


HOUR = timedelta(hours=1)
DAY_LATER = NOON + 24 * HOUR


@pytest.mark.parametrize(
    ("away", "watched", "expected"),
    [
        (1, 48, 0.32 * (1 - 1.2e-5 * 3_600)),  # back after an hour
        (30, 48, 0.32 * (0 - 1.2e-5 * 86_400)),  # too late: T0 = 24 h
        (None, 48, 0.32 * (0 - 1.2e-5 * 86_400)),  # never
        (None, 2, 0.32 * (0 - 1.2e-5 * 7_200)),  # not yet, and only two hours have passed
        (5, 2, 0.32 * (0 - 1.2e-5 * 7_200)),  # a return that `now` cannot know of
        (None, 0, 0.0),
        (None, -1, 0.0),
    ],
)
def test_increment_is_the_return_beyond_the_expected_one(away, watched, expected):
    returned = None if away is None else NOON + away * HOUR
    assert active_reward(NOON, returned, NOON + watched * HOUR, Config(activeness="increment")) == pytest.approx(expected)


def test_level_is_the_papers():
    config = Config(activeness="level")
    back = active_reward(NOON, NOON + HOUR, DAY_LATER, config)
    assert back == pytest.approx(0.5 * np.exp(-1.2e-5 * 3_600) + 0.32)
    assert active_reward(NOON, None, DAY_LATER, config) == pytest.approx(0.5 * np.exp(-1.2e-5 * 86_400))
    assert active_reward(NOON, NOON + HOUR, DAY_LATER, config, level=0.95) == 1.0


def test_off_is_nothing():
    assert active_reward(NOON, NOON + HOUR, DAY_LATER, Config(activeness="off")) == 0.0


def test_a_fitted_hazard_takes_the_constants_place():
    hazard = Hazard((0.0, 1_800.0), (1e-4, 2e-5))
    expected = 0.32 * (1 - (0.18 + 0.036))
    assert active_reward(NOON, NOON + HOUR, DAY_LATER, Config(activeness="increment"), hazard) == pytest.approx(expected)
