from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from math import e

import numpy as np
import pytest

from drn.newsroom import CATEGORY_NAMES, HOUR, TOPIC_NAMES, TOPIC_WORDS, Burst, bursts, moment, person, pieces, rhythm
from drn.scenario import DAY, NEWSROOM
from drn.vocabulary import PLAIN_WORDS, TOPICS

START = datetime(2026, 1, 5, tzinfo=UTC)


def test_the_day_is_quietest_at_three_and_averages_one() -> None:
    hours = np.arange(24)
    activity = np.array([rhythm(hour * HOUR, 0.7) for hour in hours])
    assert activity.argmin() == 3
    assert activity.argmax() == 15
    assert activity.mean() == pytest.approx(1.0)
    assert activity.min() == pytest.approx(0.3)


def test_emitted_times_are_whole_microseconds_divided_by_speed() -> None:
    assert moment(START, 1.0, 3.0) == START + timedelta(microseconds=333_333)
    assert moment(START, 800.0, 400.0) == START + timedelta(seconds=2)


def test_a_burst_fades_to_one_in_e() -> None:
    burst = Burst(start=100.0, topic=0, height=2.0, fade=50.0)
    assert burst.strength(99.0) == 0.0
    assert burst.strength(100.0) == 2.0
    assert burst.strength(150.0) == pytest.approx(2.0 / e)


def test_bursts_arrive_at_their_rate() -> None:
    month = list(takewhile(lambda burst: burst.start < 300 * DAY, bursts(NEWSROOM, 5, 0.0)))
    assert len(month) == pytest.approx(300 * NEWSROOM.bursts_per_day, rel=0.15)  # 3 standard deviations of a Poisson of 450


def test_articles_arrive_in_order_at_their_rate_and_live_their_time() -> None:
    days = 20
    written = list(takewhile(lambda piece: piece.published < days * DAY, pieces(NEWSROOM, 1, START, 0.0)))
    assert len(written) == pytest.approx(days * NEWSROOM.articles_per_day, rel=0.1)
    assert [piece.published for piece in written] == sorted(piece.published for piece in written)
    lives = [(piece.expires - piece.published) / HOUR for piece in written]
    assert np.mean(lives) == pytest.approx(NEWSROOM.lifetime_hours, rel=0.1)
    assert all(piece.published < piece.withdrawn < piece.expires for piece in written if piece.withdrawn is not None)


def test_the_same_seed_writes_the_same_articles_whoever_reads_them() -> None:
    some = list(islice(pieces(NEWSROOM, 1, START, 0.0), 20))
    assert list(islice(pieces(NEWSROOM.but(readers=3, patience=0.1), 1, START, 0.0), 20)) == some
    assert list(islice(pieces(NEWSROOM, 2, START, 0.0), 20)) != some


def test_titles_give_their_topic_away() -> None:
    for piece in islice(pieces(NEWSROOM, 3, START, 0.0), 200):
        article = piece.article
        words = article.title.split(": ")[1].split()
        assert len(set(words) & set(TOPIC_WORDS[piece.topics[0]])) >= 3
        assert article.topics[0] == TOPIC_NAMES[piece.topics[0]]
        assert article.category == CATEGORY_NAMES[piece.category]
        assert article.topics[0] in TOPICS[article.category]
        assert article.entities[0] in article.title
        assert article.published_at == moment(START, piece.published, 1.0)


def test_worth_follows_appeal_only_in_part() -> None:
    written = list(islice(pieces(NEWSROOM, 4, START, 0.0), 1_000))
    correlation = np.corrcoef([piece.quality for piece in written], [piece.worth for piece in written])[0, 1]
    assert correlation == pytest.approx(NEWSROOM.worth_correlation, abs=0.08)


def test_names_are_distinct() -> None:
    assert len({person(entity) for entity in range(1_000)}) == 1_000


def test_every_topic_has_eight_words_that_are_not_plain() -> None:
    for words in TOPIC_WORDS:
        assert len(set(words)) == 8
        assert not set(words) & set(PLAIN_WORDS)
