"""The rows of the table by name, and the runs they are made of."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning.oltr.letor import Fold, load
from benchmarks.learning.oltr.product import Product
from benchmarks.learning.oltr.readers import NAMES, Reader
from benchmarks.learning.oltr.references import HIDDEN, DuelingBandit, Network, PairwiseGradient
from benchmarks.learning.oltr.simulation import Curve, Learner, run
from drn.config import Config


@dataclass(frozen=True, slots=True)
class Options:
    """What one command line asks for; every run gets it whole."""

    data: Path
    folds: tuple[int, ...] | None
    methods: tuple[str, ...]
    repeats: int
    impressions: int
    every: int  # impressions per minor update of the product's rows
    changes: Mapping[str, Any]  # hyper-parameters of the product's rows that are not the default


@dataclass(frozen=True, slots=True)
class Task:
    method: str
    reader: str
    fold: int
    repeat: int


@dataclass(frozen=True, slots=True)
class Result:
    task: Task
    curve: Curve


Make = Callable[[int, Options, np.random.Generator, int], Learner]
"""(features, options, the learner's chance, root seed) → a learner at its start."""


def product_row(direction: str) -> Make:
    def make(features: int, options: Options, rng: np.random.Generator, seed: int) -> Learner:
        config = Config.profile("default", **{"direction": direction, **options.changes, "root_seed": seed})
        return Product(features, config, rng, options.every)

    return make


def bandit(hidden: int) -> Make:
    return lambda features, _options, rng, _seed: DuelingBandit(Network(features, hidden), rng)


def pairwise(hidden: int) -> Make:
    return lambda features, _options, rng, _seed: PairwiseGradient(Network(features, hidden), rng)


METHODS: Mapping[str, Make] = {
    "dbgd": bandit(HIDDEN),
    "pdgd": pairwise(HIDDEN),
    "pdgd-linear": pairwise(0),
    "random": product_row("random"),
    "es": product_row("es"),
    "drn": product_row(Config().direction),
}


def tasks(options: Options, folds: Iterable[Fold]) -> Iterator[Task]:
    """Every run, repeats outermost, so that a table cut short is a table of fewer repeats."""
    numbers = [fold.number for fold in folds]
    for repeat, method, reader, fold in product(range(options.repeats), options.methods, NAMES, numbers):
        yield Task(method, reader, fold, repeat)


def perform(task: Task, folds: Mapping[int, Fold], highest: int, options: Options) -> Result:
    """One run. Its chance depends on reader, fold and repeat, not on the method: all methods meet the same queries in order."""
    fold, reader = folds[task.fold], Reader.named(task.reader, highest)
    seed = np.random.SeedSequence([task.repeat, task.fold, NAMES.index(task.reader)])
    world, own, root = seed.spawn(3)
    features = fold.train[0].features.shape[1]
    learner = METHODS[task.method](features, options, np.random.default_rng(own), int(root.generate_state(1)[0]))
    return Result(task, run(learner, fold, reader, options.impressions, np.random.default_rng(world)))


def highest_grade(folds: Iterable[Fold]) -> int:
    return max(int(query.grades.max()) for fold in folds for query in (*fold.train, *fold.held_out))


class Worker:
    """What a process of the pool keeps between runs."""

    options: Options
    folds: Mapping[int, Fold]
    highest: int

    @classmethod
    def start(cls, options: Options) -> None:
        torch.set_num_threads(1)  # a run is one core's work; the cores are shared out among runs
        loaded = load(options.data, options.folds)
        cls.options, cls.folds, cls.highest = options, {fold.number: fold for fold in loaded}, highest_grade(loaded)

    @classmethod
    def perform(cls, task: Task) -> Result:
        return perform(task, cls.folds, cls.highest, cls.options)


def changes(settings: Iterable[str]) -> dict[str, Any]:
    """`name=value` pairs as hyper-parameters; lists become tuples.

    Raises:
        ValueError: no `=`, or a value that is neither JSON nor a word.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign:
            raise ValueError(f"{setting!r} is not name=value")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found[name] = tuple(value) if isinstance(value, list) else value
    return found
