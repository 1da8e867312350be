"""A log through the path of live traffic: in order, on its own clock, leaving nothing behind."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from drn.types import Article, Event
from jobs import replay
from jobs.errors import UnreadableLog
from jobs.importers.log import LoggedImpression
from service.settings import Settings

START = datetime(2024, 1, 1, tzinfo=UTC)
CHANGES: dict[str, Any] = {
    "advantage_layers": [16],
    "value_layers": [8],
    "embedding_size": 4,
    "feedback_window": 60.0,
    "minor_period": 600.0,
    "major_period": 3_600.0,
    "major_impressions": 40,
    "start": "chance",  # what it else believes is all that this log holds: there would be nothing to find out
}


class InventedLog:
    """A list a minute for `minutes`; every reader always clicks what is about sport, which a ranker can find out."""

    def __init__(self, minutes: int = 150) -> None:
        self.minutes = minutes

    def articles(self) -> list[Article]:
        subjects = ["sport", "money", "weather", "music", "politics"]
        return [Article(f"a{i}", f"{subjects[i % 5]} story", START, category=subjects[i % 5]) for i in range(40)]

    def clicks(self) -> Iterator[Event]:
        yield Event("before", "a0", "click", START - timedelta(hours=1), user_id="u0")

    def impressions(self) -> Iterator[LoggedImpression]:
        rng = np.random.default_rng(3)
        for minute in range(self.minutes):
            block = int(rng.integers(8)) * 5
            in_view = tuple(f"a{block + int(i)}" for i in rng.permutation(5))
            clicked = tuple(name for name in in_view if int(name[1:]) % 5 == 0)
            yield LoggedImpression(str(minute), START + timedelta(minutes=minute), f"u{minute % 4}", "mobile", in_view, clicked)


def databases(server_url: str) -> set[str]:
    with psycopg.connect(server_url) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


async def test_score_then_learn_on_the_logs_clock(server_url: str) -> None:
    settings = Settings(changes=CHANGES)
    done = await replay.replay(settings, server_url, InventedLog())
    assert done.impressions == 150
    # 149 minutes hold 14 minor updates and 2 major ones, after the initial version
    assert done.versions == 1 + 14 + 2
    rows = dict(done.scores.rows())
    assert list(rows) == ["current", "explore"]
    assert rows["current"].lists == 150
    late = done.scores.quality(done.scores.current, START + timedelta(minutes=121))
    assert late.auc > 0.95  # it has found out what readers want
    assert done.scores.quality(done.scores.current, START).auc < late.auc
    assert not {name for name in databases(server_url) if name.startswith("drn_scratch")}


async def test_the_same_log_gives_the_same_scores(server_url: str) -> None:
    settings = Settings(changes=CHANGES)
    first, second = [await replay.replay(settings, server_url, InventedLog(70)) for _ in range(2)]
    for one, other in zip(first.scores.explore, second.scores.explore, strict=True):
        np.testing.assert_array_equal(one, other)


async def test_limit_and_hours_cut_the_log(server_url: str) -> None:
    log = InventedLog()
    assert len(replay.selection(log, 30, None)) == 30
    assert len(replay.selection(log, None, 1.0)) == 61
    with pytest.raises(UnreadableLog, match="holds no impression"):
        replay.selection(InventedLog(0), None, None)


async def test_a_list_of_unknown_articles_is_left_out(server_url: str) -> None:
    class Stray(InventedLog):
        def impressions(self) -> Iterator[LoggedImpression]:
            yield LoggedImpression("stray", START, "u1", "", ("nowhere",), ("nowhere",))
            yield LoggedImpression("partly", START, "u1", "", ("nowhere", "a1", "a2"), ("nowhere", "a1"))

    done = await replay.replay(Settings(changes=CHANGES), server_url, Stray())
    assert (done.impressions, len(done.scores.current)) == (2, 1)
    assert done.scores.clicked[0].tolist() == [True, False]
