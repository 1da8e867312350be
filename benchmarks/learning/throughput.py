"""How fast a major retrain learns, beside what this machine multiplies; and where the rest of its time goes.

Counted is what the networks need: each product forward, and backward for its weights and (above the first layer) its inputs.
One-hot content counts as the sums of rows that it is. CPU time is measured, as the machine may be shared.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from types import FrameType

import numpy as np
import torch

from drn.catalogue import column_counts
from drn.config import Config
from drn.features import input_shape
from drn.loop import Loop
from drn.model import weight_shapes
from drn.retraining import TARGET_STEPS, training_steps
from drn.simulation import Publish, React
from drn.transitions import OTHERS
from drn.types import Article, ClosedImpression, Event, RankRequest
from drn.updates import major_update
from drn.versions import initial_version

START = datetime(2026, 1, 5, tzinfo=UTC)
GEMM = 1_024  # rows and columns of the square product that stands for the machine's peak
SAMPLE_SECONDS = 0.002  # CPU time between two looks at what is being done
ARTICLES, READERS, CLICK_SHARE = 400, 200, 0.1

# What a moment of CPU time was spent on: the innermost of these functions on the stack names it.
STAGES: Mapping[tuple[str, str], str] = {
    ("drn.features", "encode"): "features from the logged observations",
    ("drn.transitions", "preference_pairs"): "preference pairs and swap ratios",
    ("drn.transitions", "pair_weights"): "preference pairs and swap ratios",
    ("drn.stacked", "of"): "lists laid end to end",
    ("drn.stacked", "batch"): "batches",
    ("drn.stacked", "preferences"): "batches",
    ("drn.network", "collate"): "batches",
    ("drn.network", "advantage"): "forward",
    ("drn.network", "value"): "forward",
    ("drn.targets", "double_q_values"): "losses and targets",
    ("drn.targets", "td_loss"): "losses and targets",
    ("drn.targets", "listwise_loss"): "losses and targets",
    ("torch.autograd", "grad"): "backward",
    ("drn.optimiser", "step"): "Adam",
    ("drn.replay", "of"): "replay from the log",
    ("drn.replay", "sample"): "drawing batches",
    ("drn.retraining", "logged_quality"): "offline gate",
    ("drn.retraining", "quality"): "offline gate",
}


@dataclass(frozen=True, slots=True)
class Speed:
    """A major retrain: what it did in how much CPU time."""

    batch: int
    transitions: int  # shown slots learned from
    flops: float
    seconds: float
    gemm: float  # FLOP per CPU second of the square product, measured before and after
    stages: Mapping[str, float]  # shares of the time

    def __str__(self) -> str:
        return (
            f"batch {self.batch:<5} {self.transitions / self.seconds:9,.0f} transitions/s  "
            f"{self.flops / self.seconds / 1e9:6.2f} GFLOP/s of {self.gemm / 1e9:.1f}  "
            f"{self.flops / self.seconds / self.gemm:6.1%} of the peak"
        )


def measure(config: Config, lists: int, candidates: int, batches: Sequence[int]) -> Iterator[Speed]:
    """One retrain per batch size over the same log; the machine's peak is measured around each."""
    closed = logged(config, lists, candidates)
    for batch in batches:
        own = replace(config, major_batch=batch)
        major_update(initial_version(own, START), closed[: max(50, lists // 20)], own, closed[-1].impression.at)  # warms up
        before = gemm_speed()
        began, stages = time.process_time(), Counter[str]()
        with sampled(stages):
            major_update(initial_version(own, START), closed, own, closed[-1].impression.at)
        seconds = time.process_time() - began
        peak = max(before, gemm_speed())
        steps = training_steps(len(closed), len(closed), own)
        shown = float(np.mean([len(one.impression.interleaving.shown) for one in closed]))
        slots = min(candidates, shown + OTHERS) if own.pools_lists else shown
        shares = {name: count / stages.total() for name, count in stages.most_common()}
        yield Speed(
            batch,
            int(steps * batch * shown),
            flops(own, steps * batch, steps * batch * slots, ceil(steps / TARGET_STEPS) * len(closed), candidates),
            seconds,
            peak,
            shares,
        )


def logged(config: Config, lists: int, candidates: int) -> list[ClosedImpression]:
    """A log as the product writes it: lists of `candidates` articles, ten shown, one in ten clicked."""
    loop, rng = Loop(config, START), np.random.default_rng(0)
    loop.publish(Publish(START, tuple(story(i) for i in range(ARTICLES))))
    for number in range(lists):
        at, request_id = START + timedelta(seconds=5 * number), f"r{number}"
        chosen = tuple(f"a{i}" for i in rng.choice(ARTICLES, candidates, replace=False))
        shown = loop.rank(RankRequest(request_id, at, 10, f"u{rng.integers(READERS)}", chosen))
        kinds = [("seen", name) for name in shown] + [("click", name) for name in shown if rng.random() < CLICK_SHARE]
        events = [Event(f"{request_id}:{kind}:{name}", name, kind, at, request_id=request_id) for kind, name in kinds]
        loop.react(React(at, tuple(events)))
    return [one.closed() for one in loop.log]


def story(i: int) -> Article:
    published = START - timedelta(minutes=9 * i)
    return Article(f"a{i}", f"Story {i} of section {i % 9}", published, category=f"c{i % 9}", topics=(f"t{i % 40}",))


def flops(config: Config, lists: float, slots: float, successors: float, candidates: int) -> float:
    """What `lists` lists with `slots` slots in all cost, and to look at `successors` lists of so many candidates.

    A product of (r, i) and (i, o) costs 2·r·i·o. First layers are gone through twice (forward, gradient of the weights), the
    others three times (gradient of the inputs as well). Successors are looked at by W, A alone, and by W'.
    """
    shape, columns = input_shape(config), sum(column_counts(config))
    total = 0.0
    for name, size in weight_shapes(shape, config).items():
        if name.endswith("bias"):
            continue
        tower, _, layer = name.partition(".")
        per_row = {"content": columns * size[-1]}.get(layer, 2 * int(np.prod(size)))
        per_list = tower == "value" or layer in ("reader", "list")
        passes = 2 if layer in ("reader", "content", "dense") else 3
        looks = 1 if tower == "value" else 2
        total += per_row * (
            passes * (lists if per_list else slots) + looks * (successors if per_list else successors * candidates)
        )
    return total


def gemm_speed(repeats: int = 20) -> float:
    """FLOP per CPU second of float32 products of GEMM × GEMM matrices, with torch's present number of threads."""
    a, b, out = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM), torch.empty(GEMM, GEMM)
    torch.mm(a, b, out=out)
    began = time.process_time()
    for _ in range(repeats):
        torch.mm(a, b, out=out)
    return 2 * GEMM**3 * repeats / (time.process_time() - began)


@contextmanager
def sampled(stages: Counter[str]) -> Iterator[None]:
    """Looks at the stack every SAMPLE_SECONDS of CPU time and counts under which stage it was."""

    def look(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            key = frame.f_globals.get("__name__", ""), frame.f_code.co_name
            if key in STAGES:
                stages[STAGES[key]] += 1
                return
            frame = frame.f_back
        stages["everything else"] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def benchmark(config: Config, lists: int, candidates: int, batches: Sequence[int]) -> None:
    """Prints a row and its profile per batch size."""
    torch.set_num_threads(1)  # as many as the learner has by default, and as the product of the peak gets
    for speed in measure(config, lists, candidates, batches):
        print(speed, flush=True)
        for name, share in speed.stages.items():
            print(f"    {share:6.1%}  {name}", flush=True)
