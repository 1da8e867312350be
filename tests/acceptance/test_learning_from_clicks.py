"""Learning works: lists of 30 candidates with 20 dense inputs, a hidden linear taste, readers who scan from the top.

Statements are about means over five seeds. There is no web, no log and no feature code here: the public core alone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from drn.checkpoint import digest
from drn.config import Config
from drn.evaluation import ndcg
from drn.exploration import open_explore, version_rng
from drn.interleaving import interleave, outcome
from drn.model import InputShape, freeze, initial_weights
from drn.replay import Replay
from drn.retraining import retrain
from drn.scoring import Scorer
from drn.transitions import TERMINAL, Experience
from drn.types import Bools, DuelState, Floats, Inputs, Model, Verdict, Weights
from drn.updates import learn

DENSE, CANDIDATES, SHOWN, PER_UPDATE = 20, 30, 10, 10
SEEDS = range(5)
CLICK, STOP = np.array([0.05, 0.1, 0.3, 0.6]), np.array([0.1, 0.2, 0.3, 0.5])  # by grade


@dataclass(frozen=True)
class Outcome:
    start: float  # held-out nDCG@10 before
    end: float  # and of the current network after
    model: Model
    log: list[Experience]
    verdicts: Counter[Verdict]
    rng: np.random.Generator


class World:
    """Lists whose grades 0-3 follow a hidden taste, and a reader who clicks what is good and stops when content."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        taste = self.rng.standard_normal(DENSE)
        self.taste = taste / np.linalg.norm(taste)
        self.held_out = [self.list() for _ in range(100)]

    def list(self) -> tuple[Inputs, Floats]:
        dense = self.rng.standard_normal((CANDIDATES, DENSE)).astype(np.float32)
        grade = np.digitize(dense @ self.taste, [0.25, 1.0, 1.65]).astype(np.float32)
        return Inputs(np.zeros(0, np.float32), np.zeros((CANDIDATES, 0), np.uint16), dense), grade

    def read(self, grades: Floats) -> tuple[Bools, Bools]:
        clicked = np.zeros(len(grades), np.bool_)
        for slot, grade in enumerate(grades.astype(int)):
            clicked[slot] = self.rng.random() < CLICK[grade]
            if clicked[slot] and self.rng.random() < STOP[grade]:
                break
        last = np.flatnonzero(clicked)[-1] if clicked.any() else -2
        return clicked, np.arange(len(grades)) <= last + 1

    def quality(self, weights: Weights, config: Config) -> float:
        scorer = Scorer(Model(weights, weights), config)
        return float(np.mean([ndcg(scorer.scores(inputs)[0], grade, 10) for inputs, grade in self.held_out]))


def serve(world: World, model: Model, config: Config, count: int) -> Iterable[tuple[Experience, float]]:
    scorer = Scorer(model, config)
    for at in range(count):
        inputs, grade = world.list()
        current, explore = scorer.scores(inputs)
        merged = interleave(current, explore, SHOWN, config.tau, world.rng)
        clicked, examined = world.read(grade[merged.shown])
        reward = clicked.astype(np.float32)
        one = Experience(inputs, float(at), merged.shown, clicked, examined, merged.pinned, reward, current, explore)
        yield one, outcome(merged.credit, clicked)


def untrained(config: Config) -> Model:
    rng = version_rng(config, 1)
    current = initial_weights(InputShape(0, 0, DENSE), config, rng)
    return Model(current, open_explore(current, config, rng))


def run(config: Config, seed: int, impressions: int, model: Model | None = None) -> Outcome:
    world, duel, log, verdicts = World(seed), DuelState(1), [], Counter[Verdict]()
    model = first = model or untrained(config)
    for version in range(2, 2 + impressions // PER_UPDATE):
        experiences, outcomes = zip(*serve(world, model, config, PER_UPDATE), strict=True)
        step = learn(model, duel, experiences, outcomes, config, version)
        model, duel = step.model, step.duel
        verdicts[step.verdict] += 1
        log += experiences
    start, end = world.quality(first.current, config), world.quality(model.current, config)
    return Outcome(start, end, model, log, verdicts, world.rng)


@cache
def guided(seed: int) -> Outcome:
    return run(Config(root_seed=seed, duel_window=100), seed, 600)


def gains(outcomes: Iterable[Outcome]) -> Floats:
    return np.array([one.end - one.start for one in outcomes])


def test_the_guided_explore_network_learns_the_taste():
    gain = gains(guided(seed) for seed in SEEDS)
    assert gain.mean() > 0.45
    assert gain.min() > 0.3


def test_equal_seeds_give_equal_networks():
    again = run(Config(root_seed=0, duel_window=100), 0, 600)
    assert digest(again.model.explore) == digest(guided(0).model.explore)


def test_random_directions_do_not_lose_what_there_is():
    assert gains(run(Config(root_seed=seed, direction="random"), seed, 600) for seed in SEEDS).mean() > -0.01


def test_antithetic_directions_learn():
    assert gains(run(Config(root_seed=seed, direction="es"), seed, 600) for seed in SEEDS).mean() > 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_harmful_explore_network_is_reset(seed):
    good = guided(seed).model.current
    reversed_order = freeze({**good, "advantage.out.weight": -good["advantage.out.weight"]})
    frozen = Config(root_seed=seed, duel_window=100, guided_rate=0.0)
    after = run(frozen, seed, 100, Model(good, reversed_order))
    assert after.verdicts[Verdict.CURRENT_WON] == 1
    assert digest(after.model.explore) == digest(after.model.current) == digest(good)


def test_a_major_update_over_replay_beats_the_start_and_passes_its_gate():
    gain = []
    for seed in SEEDS:
        config = Config(root_seed=seed, guided_rate=0.0)  # the replay of a network that does not learn from minor updates
        before = run(config, seed, 1_000)
        successors = np.where(np.arange(1_000) % 3, np.arange(1, 1_001), TERMINAL)
        successors[-1] = TERMINAL
        weights, metrics, accepted = retrain(before.model.current, Replay(before.log, successors), 1_000.0, config, before.rng)
        assert accepted
        assert metrics["gate_gain"] > 0
        gain.append(World(seed).quality(weights, config) - before.start)
    assert np.mean(gain) > 0.2
    assert min(gain) > 0.1
