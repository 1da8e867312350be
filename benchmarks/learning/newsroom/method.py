"""What a method is, and the one way in which all of them are driven through a newsroom."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from benchmarks.learning.newsroom.judge import Judge
from drn.config import Config
from drn.loop import Update, timeline
from drn.simulation import Publish, Ranker, React, Simulation, Visit, act


class Method(Ranker, Protocol):
    """A ranker that is told when updates fall due: at every T_D a minor one, at every T_R a major one."""

    def update(self, update: Update) -> None: ...

    def own_list(self) -> Sequence[str]:
        """What it would have answered to the last request without exploring."""


def play(simulation: Simulation, method: Method, schedule: Config, start: datetime) -> Judge:
    """One method serves one world from its first to its last day; the judge watches.

    Args:
        schedule: its T_D and T_R are those of every method
    """
    judge = Judge(simulation)
    steps = timeline(simulation.actions(), schedule, start)
    answer: Sequence[str] | None = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            return judge
        answer = None
        if isinstance(step, Update):
            method.update(step)
            continue
        answer = act(method, step)
        match step:
            case Publish():
                judge.publish(step)
            case Visit():
                judge.visit(step, answer or (), method.own_list)
            case React():
                judge.react(step)
