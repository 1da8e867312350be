"""The benchmark as a command: replay the log, let the peers rank what was logged, replay the ablations; table, CSV, picture."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.learning.chart import Points, write_chart
from benchmarks.learning.ebnerd.lists import Judged, JudgedList, Marks, Peer
from benchmarks.learning.ebnerd.methods import ABLATIONS, PEERS
from benchmarks.learning.ebnerd.table import Row, record, rows
from drn.config import Config
from drn.features import encode
from drn.rewards import CLICK
from drn.types import ClosedImpression
from jobs.database import open_store
from jobs.errors import UnreadableLog
from jobs.importers import ebnerd
from jobs.progress import bar
from jobs.replay import Scores, read_back, replayed
from service.settings import Settings

PRODUCT = "drn"


@dataclass(frozen=True, slots=True)
class Options:
    split: Path
    articles: Path | None
    methods: tuple[str, ...]
    limit: int | None  # impressions
    days: float | None
    seed: int
    changes: Mapping[str, Any]  # hyper-parameters of every row of the product that are not the default


def benchmark(options: Options, csv: Path | None, picture: Path | None) -> None:
    """Prints one row per method on standard output as soon as it is measured; progress goes to standard error.

    Raises:
        UnreadableLog: the data is missing or cannot be read, or there is no folder to write to.
    """
    for path in (csv, picture):
        if path and not path.parent.is_dir():
            raise UnreadableLog(f"there is no folder {path.parent} to write {path.name} to")
    for name in options.methods:
        if name in PEERS:
            make_peer(name, options.seed)  # an absent package is told of now, not after minutes
        else:
            settings_of(name, options).config()
    asyncio.run(measure(options, csv, picture))


async def measure(options: Options, csv: Path | None, picture: Path | None) -> None:
    found: list[Row] = []
    with record(csv) as add:
        async for name, judged, reference, seconds in judged_methods(options):
            measured = list(rows(name, judged, reference, seconds))
            add(measured)
            print(measured[0], flush=True)
            found += measured
    if picture:
        write_chart(picture, "AUC by day, every list ranked before it is learned from", "day", "AUC", {"": daily(found)}, 560)


async def judged_methods(options: Options) -> AsyncIterator[tuple[str, Judged, Judged, float]]:
    """Each method with its lists' quality, that of the product's default, and its CPU seconds."""
    log = ebnerd.open_split(options.split, options.articles)
    peers = {name: make_peer(name, options.seed) for name in options.methods if name in PEERS}
    hours = None if options.days is None else 24 * options.days
    async with open_store(Settings()) as engine:
        server = engine.url.render_as_string(hide_password=False)
        settings, began = settings_of(PRODUCT, options), time.process_time()
        async with replayed(settings, server, log, options.limit, hours, PRODUCT) as (done, store):
            seconds, reference = time.process_time() - began, marks(done.scores)
            yield PRODUCT, reference, reference, seconds
            for name, judged, took in await contest(store, settings.config(), peers, done.impressions) if peers else ():
                yield name, judged, reference, took
        for name in options.methods:
            if name in PEERS or name == PRODUCT:
                continue
            began = time.process_time()
            async with replayed(settings_of(name, options), server, log, options.limit, hours, name) as (done, _):
                yield name, marks(done.scores), reference, time.process_time() - began


def marks(scores: Scores) -> Judged:
    """The quality of what the product's current network ranked."""
    found = Marks()
    for at, user, own, clicked in zip(scores.at, scores.users, scores.current, scores.clicked, strict=True):
        found.add(at.timestamp(), user, own, clicked)
    return found.judged()


def settings_of(name: str, options: Options) -> Settings:
    """The default profile with the row's changes, whatever the environment says."""
    changes = {**options.changes, **ABLATIONS[name]}
    return Settings(profile="default", changes={**changes, "root_seed": changes.get("root_seed", 0) + options.seed})


def make_peer(name: str, seed: int) -> Peer:
    """
    Raises:
        UnreadableLog: its package is not installed.
    """
    try:
        return PEERS[name](seed)
    except ModuleNotFoundError as error:
        raise UnreadableLog(f"the row {name} needs {error.name}: .venv/bin/pip install -e '.[benchmarks]'") from error


async def contest(
    store: AsyncEngine, config: Config, peers: Mapping[str, Peer], impressions: int
) -> list[tuple[str, Judged, float]]:
    """Every peer ranks, and then learns, each logged list in order: its name, its quality and its CPU seconds."""
    found = {name: Marks() for name in peers}
    seconds: defaultdict[str, float] = defaultdict(float)
    with bar("peers") as show:
        done = 0
        async for closed in read_back(store, config):
            one = judged_list(closed, config)
            for name, peer in peers.items():
                began = time.process_time()
                found[name].add(one.at, one.user_id, peer.scores(one), one.clicked)
                peer.learn(one)
                seconds[name] += time.process_time() - began
            done += 1
            show(done, impressions, "")
    return [(name, own.judged(), seconds[name]) for name, own in found.items()]


def judged_list(closed: ClosedImpression, config: Config) -> JudgedList:
    """The list as it was logged, with the clicks that the log has of it."""
    impression = closed.impression
    clicked = {event.article_id for event in closed.events if event.type == CLICK}
    return JudgedList(
        at=impression.at.timestamp(),
        user_id=impression.user_id,
        observation=impression.observation,
        inputs=encode(impression.observation, config),
        clicked=np.array([name in clicked for name in impression.candidates]),
    )


def daily(found: Sequence[Row]) -> dict[str, Points]:
    """AUC by day and method."""
    lines: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in found:
        if each.days.isdigit() and np.isfinite(each.mean[0]):
            lines[each.method].append((float(each.days), float(each.mean[0])))
    return dict(lines)
