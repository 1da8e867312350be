"""The rows of the table by name, and one run of one of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from benchmarks.learning.newsroom.bandits import HiddenSetting, HLinUCB, LinUCB, relative_columns
from benchmarks.learning.newsroom.judge import BINS_PER_DAY, Counts
from benchmarks.learning.newsroom.method import Method, play
from benchmarks.learning.newsroom.peer import Peer, Scores
from benchmarks.learning.newsroom.product import Product
from benchmarks.learning.newsroom.regressions import Setting, factorization_machine, logistic, wide_and_deep
from benchmarks.learning.newsroom.simple import Chance, Popularity
from drn.config import Config, Profile
from drn.features import input_shape
from drn.scenario import NEWSROOM, Scenario, Signal
from drn.simulation import Simulation

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday, at midnight

Make = Callable[[Config, np.random.Generator], Method]
"""(the row's configuration, the method's chance) → a method at its start."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: how its method is made, and from which configuration."""

    make: Make
    profile: Profile = "default"
    changes: Mapping[str, Any] = field(default_factory=dict)
    retrained: bool = False  # a peer that learns by being retrained: recovery is compared with the best of these


def peer(model: Callable[[Config, np.random.Generator], Scores]) -> Make:
    return lambda config, rng: Peer(config, model(config, rng))


def product(explore: bool = True, epsilon: float = 0.0) -> Make:
    return lambda config, _: Product(config, START, explore, epsilon)


# The peers' settings are the best of small grids on seeds that are not reported (docs/lab-book.md)
ROWS: Mapping[str, Row] = {
    "random": Row(lambda _, rng: Chance(rng)),
    "popularity": Row(lambda _, rng: Popularity(rng)),
    "lr": Row(peer(lambda config, rng: logistic(input_shape(config), Setting(rate=1e-2, decay=1e-3), rng)), retrained=True),
    "fm": Row(peer(lambda config, rng: factorization_machine(input_shape(config), Setting(decay=3e-2), rng)), retrained=True),
    "wide-deep": Row(
        peer(lambda config, rng: wide_and_deep(input_shape(config), Setting(decay=1e-3), rng, config)),
        changes={"activation": "relu", "list_pooling": "none"},  # the product's layers without what is its own
        retrained=True,
    ),
    "linucb": Row(peer(lambda config, _: LinUCB(input_shape(config).dense + 1, alpha=0.1, ridge=300.0))),
    "hlinucb": Row(peer(lambda config, rng: HLinUCB(relative_columns(config), rng, HiddenSetting(ridge=300.0)))),
    # The paper's own ladder, in its own settings. Without exploration only retraining teaches.
    "dn": Row(product(explore=False), "paper", {"gamma": 0.0, "activeness": "off"}),
    "ddqn": Row(product(explore=False), "paper", {"activeness": "off"}),
    "ddqn-u": Row(product(explore=False), "paper"),
    "ddqn-u-eg": Row(product(explore=False, epsilon=0.1), "paper"),
    "ddqn-u-dbgd": Row(product(), "paper"),
    "drn": Row(product()),
}
OURS = "drn"


@dataclass(frozen=True, slots=True)
class Options:
    """What one command line asks for; every run gets it whole."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    days: int
    readers: int
    signal: Signal
    shift_day: int | None
    minor_minutes: float  # T_D
    major_hours: float  # T_R
    changes: Mapping[str, Any]  # hyper-parameters of the row `drn` that are not the default

    @property
    def scenario(self) -> Scenario:
        return NEWSROOM.but(days=float(self.days), readers=self.readers, signal=self.signal, shift_day=self.shift_day)

    def config(self, method: str, seed: int) -> Config:
        """Raises InvalidConfig: an unknown hyper-parameter, or one out of range."""
        row = ROWS[method]
        schedule = {"minor_period": 60 * self.minor_minutes, "major_period": 3_600 * self.major_hours, "root_seed": seed}
        return Config.profile(row.profile, **{**schedule, **row.changes, **(self.changes if method == OURS else {})})

    def digest(self, method: str) -> str:
        """8 hexadecimal digits that change when a run of this method would be another."""
        return sha256(f"{self.scenario}{self.config(method, 0).digest}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Task:
    method: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what was counted in each quarter of a day."""

    task: Task
    bins: tuple[Counts, ...]


def tasks(options: Options) -> Iterator[Task]:
    """Every run, seeds outermost, so that a table cut short is a table of fewer seeds."""
    for seed in options.seeds:
        for method in options.methods:
            yield Task(method, seed)


def perform(task: Task, options: Options) -> Result:
    """One run. The world's chance depends on the seed alone: all methods meet the same articles, tastes and luck."""
    torch.set_num_threads(1)  # a run is one core's work; the cores are shared out among runs
    config = options.config(task.method, task.seed)
    simulation = Simulation(options.scenario, task.seed, START)
    method = ROWS[task.method].make(config, np.random.default_rng([task.seed, 1]))
    bins = play(simulation, method, config, START).bins
    return Result(task, tuple(bins.get(number, Counts()) for number in range(options.days * BINS_PER_DAY)))
