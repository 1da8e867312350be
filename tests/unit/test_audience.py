from datetime import UTC, datetime
from itertools import islice
from math import exp

import numpy as np
import pytest

from drn.audience import DRIFT_STEP, Audience, Look, Tastes, concerns
from drn.newsroom import Burst, pieces
from drn.scenario import DAY, NEWSROOM, Scenario

START = datetime(2026, 1, 5, tzinfo=UTC)
PIECES = list(islice(pieces(NEWSROOM, 1, START, 0.0), 30))
NOW = PIECES[-1].published


def audience(**changes: object) -> Audience:
    return Audience(NEWSROOM.but(readers=20, **changes), seed=7)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_appeal_is_the_documented_logit() -> None:
    readers = audience()
    memory = readers.memories[3]
    memory.read.add(PIECES[0].number)
    memory.shown[PIECES[0].number] = 2
    memory.session_topics[PIECES[0].topics[0]] = 1
    burst = Burst(start=PIECES[0].published, topic=PIECES[0].topics[0], height=1.0, fade=DAY)
    appeal = readers.appeal(3, PIECES[:1], NOW, [burst])[0]
    days = (NOW - PIECES[0].published) / DAY
    taste = readers.tastes.of(3, PIECES[:1])[0]
    logit = -2.3 + taste + 0.5 * PIECES[0].quality + exp(-days) - 0.9 * days - 3.0 - 2 * 0.2 - 0.3
    assert appeal == pytest.approx(1 / (1 + exp(-logit)))


def test_without_signal_nothing_but_the_slot_matters() -> None:
    appeal = audience(signal="none").appeal(3, PIECES, NOW, [])
    assert (appeal == NEWSROOM.control_click).all()


def test_with_popularity_alone_everybody_agrees() -> None:
    readers = audience(signal="popularity")
    readers.remember(0, PIECES, Look((0, 1), (1,)))
    first, second = readers.appeal(0, PIECES, NOW, []), readers.appeal(1, PIECES, NOW, [])
    assert np.array_equal(first, second)
    assert np.ptp(first) > 0.01


def test_with_taste_readers_differ_yet_share_a_fashion() -> None:
    readers = audience()
    logits = np.array([readers.tastes.of(reader, PIECES) for reader in range(20)])
    correlations = np.corrcoef(logits)[np.triu_indices(20, 1)]
    assert correlations.mean() == pytest.approx(NEWSROOM.common_share, abs=0.15)


def test_tastes_drift_but_keep_their_spread() -> None:
    tastes = Tastes(Scenario(readers=400), seed=1)
    before = tastes.table.copy()
    tastes.move_to(10 * DAY)
    after = tastes.table
    assert after.std() == pytest.approx(1.0, abs=0.02)
    per_column = (before * after).mean(0)  # correlation, since both have unit variance
    c, t, e, end = tastes.bounds
    for columns, forget in ((slice(c, t), 30), (slice(t, e), 10), (slice(e, end), 4)):
        assert per_column[columns].mean() == pytest.approx(exp(-10 / forget), abs=0.06)


def test_drift_does_not_depend_on_when_one_looks() -> None:
    often, once = Tastes(Scenario(readers=5), 1), Tastes(Scenario(readers=5), 1)
    for day in range(5):
        often.move_to(day * DAY)
    once.move_to(4 * DAY)
    assert np.array_equal(often.table, once.table)


def test_on_the_shift_day_the_given_share_of_readers_changes_at_once() -> None:
    still = Tastes(Scenario(readers=400), 1)
    shifted = Tastes(Scenario(readers=400, shift_day=2.0, shift_share=0.5), 1)
    for tastes in (still, shifted):
        tastes.move_to(2 * DAY - DRIFT_STEP)
    assert np.array_equal(still.table, shifted.table)
    for tastes in (still, shifted):
        tastes.move_to(2 * DAY)
    changed = (still.table != shifted.table).any(1)
    assert changed[-1]
    assert changed[:-1].mean() == pytest.approx(0.5, abs=0.1)


def test_a_patient_reader_of_a_perfect_list_clicks_whatever_is_not_skipped() -> None:
    look = audience(skip=0.0, back_to_list=1.0).look(np.ones(10), 1.0, False, rng())
    assert look.examined == look.clicked == tuple(range(10))
    assert audience(skip=0.0, back_to_list=0.0).look(np.ones(10), 1.0, False, rng()).clicked == (0,)
    assert audience(skip=0.0).look(np.zeros(10), 0.0, False, rng()) == Look((0,), ())


def test_an_idle_reader_clicks_nothing_but_looks() -> None:
    look = audience().look(np.ones(10), 1.0, True, rng())
    assert not look.clicked
    assert look.examined


def test_lower_slots_are_looked_at_less() -> None:
    readers = audience()
    looks = [readers.look(np.full(10, 0.1), 0.85, False, rng(seed)) for seed in range(2_000)]
    seen = np.array([sum(slot in look.examined for look in looks) for slot in range(10)]) / 2_000
    assert seen[0] == pytest.approx(1 - NEWSROOM.skip, abs=0.02)
    assert (np.diff(seen) < 0).all()
    assert 0.1 < seen[9] < 0.3  # 0.9 · 0.835⁹ = 0.18: a click on the way costs patience too


def test_satisfied_readers_come_back_sooner() -> None:
    readers = audience()
    usual = readers.return_rate(0)
    satisfied = readers.remember(0, PIECES[:2], Look((0, 1), (0,)))
    assert satisfied == pytest.approx(1 - exp(-0.7 * exp(0.5 * PIECES[0].worth)))
    mood = 0.85 * 0.3 + 0.15 * satisfied
    assert readers.memories[0].mood == pytest.approx(mood)
    assert readers.return_rate(0) / usual == pytest.approx(exp(1.2 * (mood - 0.3)))
    before = readers.return_rate(1)
    readers.remember(1, PIECES[:2], Look((0, 1), ()))
    assert readers.return_rate(1) < before


def test_memory_forgets_articles_that_are_gone() -> None:
    readers = audience()
    readers.remember(0, PIECES[:3], Look((0, 1), (1,)))
    assert readers.memories[0].shown == {0: 1, 1: 1, 2: 1}
    assert readers.memories[0].read == {1}
    for piece in PIECES[:3]:
        readers.forget(piece.number)
    assert not readers.memories[0].shown
    assert not readers.memories[0].read


def test_a_story_lifts_its_topic_from_its_first_reports_on() -> None:
    piece = PIECES[10]
    story = Burst(start=piece.published + 3_600, topic=piece.topics[0], height=1.0, fade=DAY)
    assert concerns(story, piece)
    assert not concerns(Burst(story.start + DAY, story.topic, 1.0, DAY), piece)
    assert not concerns(Burst(story.start, (set(range(40)) - set(piece.topics)).pop(), 1.0, DAY), piece)
