"""In the simulated newsroom the default learner learns: statements about means over seeds, with the seeds' own spread as margin.

Run as a script (`python tests/acceptance/test_learns.py RANKER SIGNAL SEED`) it plays one world and prints its click rates.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import sqrt
from statistics import mean, stdev

import numpy as np
import pytest

from drn.config import Config
from drn.loop import Loop
from drn.scenario import NEWSROOM
from drn.simulation import Publish, React, newsroom, serve
from drn.types import RankRequest

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = {"taste": 10, "none": 6}  # by signal
LAST_DAYS = 4  # of them, whose click rates are compared
SEEDS = range(5)
READERS = 60
T_ONE_SIDED = 2.132  # Student's t, 4 degrees of freedom, 95 % one-sided
T_TWO_SIDED = 4.604  # the same, 99 % two-sided
# Retraining every hour (the default) would take the test an hour too; once a day is a handicap for the learner
CONFIG = Config(major_period=86_400.0)


class Peer:
    """Ranks at random, or by the smoothed click rate: the better kind of popularity (plain counts feed on themselves)."""

    def __init__(self, kind: str, seed: int, counted_from: datetime) -> None:
        self.kind, self.counted_from = kind, counted_from
        self.rng = np.random.default_rng(seed)
        self.expires: dict[str, datetime] = {}
        self.clicks: Counter[str] = Counter()
        self.exposures: Counter[str] = Counter()
        self.late = [0, 0]  # slots and clicks of the last days
        self.counted: set[str] = set()

    def publish(self, action: Publish) -> None:
        self.expires |= {article.id: article.expires_at or action.at for article in action.articles}
        for article_id in action.withdrawn:
            del self.expires[article_id]

    def rank(self, request: RankRequest) -> Sequence[str]:
        self.expires = {article_id: until for article_id, until in self.expires.items() if until > request.at}
        ids = list(self.expires)
        scores = self.rng.random(len(ids))
        if self.kind == "popularity":
            scores = 1e-6 * scores + [(self.clicks[a] + 1) / (self.exposures[a] + 11) for a in ids]
        shown = [ids[i] for i in np.argsort(-scores)[: request.k]]
        self.exposures.update(shown)
        if request.at >= self.counted_from:
            self.counted.add(request.request_id)
            self.late[0] += len(shown)
        return shown

    def react(self, action: React) -> None:
        for event in action.events:
            if event.type == "click":
                self.clicks[event.article_id] += 1
                self.late[1] += event.request_id in self.counted


def click_rate(ranker: str, signal: str, seed: int) -> float:
    """Clicks per article shown in the last days of one world."""
    days = DAYS[signal]
    world = newsroom(NEWSROOM.but(readers=READERS, days=days, signal=signal), seed, START)
    if ranker in ("random", "popularity"):
        peer = Peer(ranker, seed, START + timedelta(days=days - LAST_DAYS))
        serve(world, peer)
        return peer.late[1] / peer.late[0]
    loop = Loop(CONFIG, START)
    if ranker == "untrained":
        serve(world, loop)
    else:
        for _ in loop.run(world):
            pass
    return loop.tally.ctr(first=days - LAST_DAYS)


def measured(ranker: str, signal: str, seed: int) -> float:
    """`click_rate` in a process of its own, single-threaded so that as many run as there are cores."""
    command = [sys.executable, __file__, ranker, signal, str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(json.loads(done.stdout))


@pytest.fixture(scope="module")
def rates() -> dict[tuple[str, str], list[float]]:
    """Click rates by ranker and signal, one per seed."""
    worlds = [("learner", "taste"), ("untrained", "taste"), ("popularity", "taste"), ("learner", "none"), ("random", "none")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {world: [pool.submit(measured, *world, seed) for seed in SEEDS] for world in worlds}
        return {world: [one.result() for one in results] for world, results in running.items()}


def lower_end(gains: Sequence[float]) -> float:
    """Lower end of the one-sided 95 % interval of the mean."""
    return mean(gains) - T_ONE_SIDED * stdev(gains) / sqrt(len(gains))


@pytest.mark.parametrize("peer", ["popularity", "untrained"])
def test_after_ten_days_readers_click_more_than_under(peer: str, rates: dict[tuple[str, str], list[float]]) -> None:
    learner, other = rates["learner", "taste"], rates[peer, "taste"]
    gains = [ours - theirs for ours, theirs in zip(learner, other, strict=True)]
    assert lower_end(gains) > 0, f"learner {learner}, {peer} {other}"


def test_nothing_is_learned_where_there_is_nothing_to_learn(rates: dict[tuple[str, str], list[float]]) -> None:
    learner, random = rates["learner", "none"], rates["random", "none"]
    gains = [ours - theirs for ours, theirs in zip(learner, random, strict=True)]
    assert abs(mean(gains)) < T_TWO_SIDED * stdev(gains) / sqrt(len(gains)), f"learner {learner}, random {random}"
    with_taste = mean(rates["learner", "taste"]) - mean(rates["untrained", "taste"])
    assert abs(mean(gains)) < with_taste / 5, "a wide spread over the seeds must not hide a difference"


if __name__ == "__main__":
    print(json.dumps(click_rate(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
