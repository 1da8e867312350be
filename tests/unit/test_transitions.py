from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.config import Config
from drn.errors import InvalidInput
from drn.features import encode, input_shape
from drn.interleaving import ranks, swap_ratios
from drn.transitions import (
    OTHERS,
    TERMINAL,
    Experience,
    Link,
    entry,
    experience,
    inputs_among,
    inputs_of,
    links,
    pair_weights,
    preference_pairs,
    trained_on,
)
from drn.types import ClosedImpression, Context, Entry, Event, Impression, Inputs, Interleaving, Observation

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIG = Config(
    provider_slots=2,
    category_slots=3,
    topic_slots=2,
    entity_slots=2,
    word_slots=2,
    embedding_size=0,
    activeness="increment",
)
COLUMNS = 2 + CONFIG.topics_per_article + CONFIG.entities_per_article + CONFIG.words_per_article
IDS = ("a", "b", "c", "d")


def observation(n: int) -> Observation:
    return Observation(
        reader=np.zeros((5, CONFIG.content_slots), np.uint16),
        reader_totals=np.zeros(5, np.uint16),
        context=np.zeros(4, np.uint8),
        content=np.full((n, COLUMNS), CONFIG.content_slots, np.uint16),
        counts=np.arange(12 * n, dtype=np.uint32).reshape(n, 12),
        category_counts=np.zeros((n, 2), np.uint32),
        seen=np.zeros((n, 7), np.uint16),
        age=np.arange(n, dtype=np.int32),
        embedding=np.zeros((n, 0), np.float16),
        reader_embedding=np.zeros(0, np.float16),
    )


def visit(minutes: float, user: str | None = "u", clicks: tuple[str, ...] = (), seq: int = 1) -> ClosedImpression:
    """A list c, a, b of the candidates a, b, c, d, shown some minutes after noon."""
    merged = Interleaving(
        np.array([2, 0, 1], np.int32), np.ones(3, np.float32) / 2, np.ones(3, np.float32), np.zeros(3, np.bool_)
    )
    impression = Impression(
        request_id=f"r{seq}",
        at=NOON + timedelta(minutes=minutes),
        user_id=user,
        context=Context(),
        version_id=1,
        seed=0,
        k=3,
        explore=True,
        pins=(),
        candidates=IDS,
        observation=observation(4),
        current_scores=np.array([4, 3, 2, 1], np.float32),
        explore_scores=np.array([1, 2, 3, 4], np.float32),
        interleaving=merged,
    )
    events = tuple(Event(f"{seq}{article}", article, "click", impression.at, None, f"r{seq}") for article in clicks)
    return ClosedImpression(impression, events, seq)


def entries(log: list[ClosedImpression]) -> list[Entry]:
    return [entry(one) for one in log]


def test_an_experience_is_what_was_logged():
    one = experience(visit(0, clicks=("a",)), CONFIG, NOON)
    assert one.shown.tolist() == [2, 0, 1]
    assert one.clicked.tolist() == [False, True, False]
    assert one.examined.tolist() == [True, True, True]
    assert one.at == NOON.timestamp()
    assert one.drawn


def test_the_reward_is_the_click_and_the_return():
    """Return after an hour: Sa·(1 − λ0·3600) = .32·(1 − .0432) = .306176, times β = .05 in every slot."""
    config = replace(CONFIG, beta=0.05)
    now = NOON + timedelta(days=2)
    one = experience(visit(0, clicks=("a",)), config, now, Link(returned_at=NOON + timedelta(hours=1)))
    np.testing.assert_allclose(one.reward, [0.0153088, 1.0153088, 0.0153088], rtol=1e-5)


def test_nobody_knows_whether_an_anonymous_reader_came_back():
    one = experience(visit(0, user=None, clicks=("a",)), CONFIG, NOON + timedelta(days=2))
    assert one.reward.tolist() == [0.0, 1.0, 0.0]


def test_inputs_are_encoded_when_asked_for_in_the_order_shown_and_the_others_after_them():
    one = experience(visit(0), CONFIG, NOON)
    whole = inputs_of(one, CONFIG)
    assert whole.dense.shape == (4, input_shape(CONFIG).dense)
    np.testing.assert_array_equal(whole.dense, encode(observation(4), CONFIG).dense)
    np.testing.assert_array_equal(trained_on(one, CONFIG)[0], [2, 0, 1, 3])
    np.testing.assert_array_equal(inputs_among(one, np.array([2, 0, 1, 3]), CONFIG).dense, whole.dense[[2, 0, 1, 3]])
    alone, shares = trained_on(one, replace(CONFIG, list_pooling="none"))
    np.testing.assert_array_equal(alone, [2, 0, 1])
    np.testing.assert_allclose(shares, 1 / 3)


@pytest.mark.parametrize("n", [3, 4, 19, 20, 500])
def test_those_that_were_not_shown_stand_for_all_of_their_kind(n):
    scores = np.zeros(n, np.float32)
    one = replace(experience(visit(0), CONFIG, NOON), current_scores=scores, explore_scores=scores)
    chosen, share = trained_on(one, CONFIG)
    assert chosen[:3].tolist() == [2, 0, 1]
    assert len(set(chosen.tolist())) == len(chosen) == len(share) == min(n, 3 + OTHERS)
    np.testing.assert_allclose(share[:3], 1 / n)
    assert share.sum() == pytest.approx(1)
    others = np.sort(chosen[3:])
    assert np.diff(others).max(initial=1) <= -(-(n - 3) // OTHERS) or n <= 3 + OTHERS


def test_network_inputs_can_be_given_directly():
    inputs = Inputs(np.zeros(0, np.float32), np.zeros((4, 0), np.uint16), np.ones((4, 2), np.float32))
    assert inputs_of(replace(experience(visit(0), CONFIG, NOON), features=inputs), CONFIG) is inputs


def test_every_slot_needs_its_columns():
    with pytest.raises(InvalidInput, match="3 shown slots"):
        replace(experience(visit(0), CONFIG, NOON), reward=np.zeros(2, np.float32))


def prefer(clicked: list[int], examined: list[int], pinned: list[int]) -> Experience:
    flags = [np.isin(np.arange(5), slots) for slots in (clicked, examined, pinned)]
    return Experience(
        features=observation(6),
        at=0.0,
        shown=np.array([5, 3, 0, 1, 2], np.int32),
        clicked=flags[0],
        examined=flags[1],
        pinned=flags[2],
        reward=np.zeros(5, np.float32),
        current_scores=np.array([1, 5, 3, 2, 9, 4], np.float32),
        explore_scores=np.array([2, 5, 9, 1, 0, 4], np.float32),
    )


def test_a_click_is_preferred_to_what_was_examined_and_passed_over():
    assert preference_pairs(prefer([1, 3], [0, 1, 2, 3, 4], [])).tolist() == [[1, 0], [1, 2], [1, 4], [3, 0], [3, 2], [3, 4]]


def test_what_nobody_looked_at_or_a_rule_had_placed_is_no_preference():
    assert preference_pairs(prefer([1], [0, 1, 2], [0])).tolist() == [[1, 2]]
    assert preference_pairs(prefer([1], [0, 1, 2], [1])).tolist() == []
    assert preference_pairs(prefer([], [0, 1, 2, 3, 4], [])).tolist() == []


def test_pairs_weigh_as_much_as_chance_could_have_swapped_them():
    one = prefer([1], [0, 1, 2], [4])
    pairs = preference_pairs(one)
    ratios = swap_ratios(ranks(one.current_scores), ranks(one.explore_scores), one.shown, pairs, CONFIG.tau, one.pinned)
    np.testing.assert_allclose(pair_weights(one, pairs, CONFIG), ratios, rtol=1e-6)
    assert pair_weights(replace(one, drawn=False), pairs, CONFIG).tolist() == [0.5, 0.5]


def test_an_experience_has_the_boosts_of_its_list():
    boosts = np.zeros(4, np.float32)
    one = visit(0)
    assert experience(replace(one, impression=replace(one.impression, boosts=boosts)), CONFIG, NOON).boosts is boosts
    assert experience(one, CONFIG, NOON).boosts is None


def test_pairs_are_weighed_by_the_rankings_with_boosts():
    boosts = np.array([0, -9, 0, 0, 0, 9], np.float32)
    one = prefer([1], [0, 1, 2], [4])
    pairs = preference_pairs(one)
    scores = replace(one, current_scores=one.current_scores + boosts, explore_scores=one.explore_scores + boosts)
    found = pair_weights(replace(one, boosts=boosts), pairs, CONFIG)
    np.testing.assert_array_equal(found, pair_weights(scores, pairs, CONFIG))
    assert not np.array_equal(found, pair_weights(one, pairs, CONFIG))


def test_where_the_app_reports_what_was_seen_places_say_nothing():
    one = prefer([1], [0, 1, 2], [4])
    assert pair_weights(replace(one, reported=True), preference_pairs(one), CONFIG).tolist() == [0.5, 0.5]


def test_the_next_state_is_the_same_readers_next_request():
    log = [visit(0, "u", seq=1), visit(1, "v", seq=2), visit(5, "u", seq=3), visit(6, "v", seq=4)]
    assert [link.successor for link in links(entries(log), CONFIG)] == [2, 3, TERMINAL, TERMINAL]


@pytest.mark.parametrize(("minutes", "successor"), [(30, 1), (30.1, TERMINAL)])
def test_an_episode_ends_with_the_session_but_a_late_return_is_a_return(minutes, successor):
    link = links(entries([visit(0, seq=1), visit(minutes, seq=2)]), CONFIG)[0]
    assert link.successor == successor
    assert link.returned_at == NOON + timedelta(minutes=minutes)


def test_anonymous_requests_are_not_one_reader():
    assert links(entries([visit(0, None, seq=1), visit(1, None, seq=2)]), CONFIG) == [Link(), Link()]


def test_time_decides_where_the_log_got_two_requests_in_the_other_order():
    assert [link.successor for link in links(entries([visit(2, seq=1), visit(1, seq=2)]), CONFIG)] == [TERMINAL, 0]


def test_activeness_decays_and_rises_with_every_return():
    """S0 = .5; after an hour .5·e^(−.0432) + .32 = .798860; another hour later .798860·e^(−.0432) + .32, capped at 1."""
    levels = [link.level for link in links(entries([visit(0, seq=1), visit(60, seq=2), visit(120, seq=3)]), CONFIG)]
    assert levels == pytest.approx([0.5, 0.798860, 1.0], abs=1e-6)
