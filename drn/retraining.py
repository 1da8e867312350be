"""Retraining over replay: double-Q learning with a listwise loss beside it, and the offline gate. [DRN §4.2]"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drn.config import Config
from drn.model import is_finite
from drn.network import advantage, collate, forward, q_values, to_tensors, to_weights
from drn.optimiser import Adam, table_shares
from drn.replay import Replay
from drn.stacked import Places, Stacked
from drn.targets import double_q_values, listwise_loss, td_loss, td_targets
from drn.transitions import TERMINAL, inputs_of, preference_pairs, trained_on
from drn.types import Weights

Progress: TypeAlias = Callable[[int, int], None]

FINISH = 0.5  # share of the steps that comes after the gate
TARGET_STEPS = 300  # between two looks at what follows: W' is W of the look before
GATE_LISTS = 20  # held-out lists with a preference below which the gate would measure noise: it lets pass
TINY = 1e-9  # in the place of what would divide by 0
CHUNK = 256  # lists of all candidates that are in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Places in replay of all that a retraining learns from and is judged by."""

    usable: Places  # what there was to draw from
    new: int  # of these, since a major update ago
    judges: Places  # held out, with a preference: the gate's; none without an offline gate
    phases: tuple[Places, Places]  # one step after the other, `major_batch` each: before the gate, and after it

    def needed(self, replay: Replay, config: Config) -> Places:
        """Those that will be looked at: all of these, and the next states of what is learned from."""
        drawn = np.unique(np.concatenate(self.phases))
        following = replay.successors[drawn] if config.gamma else drawn[:0]
        return np.union1d(np.union1d(drawn, self.judges), following[following != TERMINAL])


def retrain(
    start: Weights,
    replay: Replay,
    now: float,
    config: Config,
    rng: np.random.Generator,
    progress: Progress | None = None,
    untrained: bool = False,
) -> tuple[Weights, dict[str, float], bool]:
    """`draw`, then `train`."""
    return train(start, replay, draw(replay, now, config, rng, untrained), config, progress)


def draw(replay: Replay, now: float, config: Config, rng: np.random.Generator, untrained: bool = False) -> Draws:
    """What to learn from. Of the experiences only those `held_out` are looked at.

    There are up to `major_epochs` passes' worth of steps over what is new since a major update ago, drawn from all of replay:
    hour by hour all of replay is gone through, and not more often than does it good; while it is short, less often.
    With the offline gate the newest `gate_share` is held out and judges what the first steps made. The last FINISH of them learn
    from all, unjudged: in news the newest hours are worth most, and a second training would cost as much as the first.

    Args:
        untrained: the network has learned from nothing, so all of replay is new to it
    """
    usable = replay.informative()
    if not len(usable):
        return Draws(usable, 0, usable, (usable, usable))
    judges = telling(replay, held_out(replay, config))
    held = held_out(replay, config) if len(judges) >= GATE_LISTS else usable[:0]
    recent = replay.at[usable] > now - config.major_period - config.feedback_window
    new = len(usable) if untrained else max(1, int(recent.sum()))  # after a quiet night, or a learner's outage: a little
    steps = training_steps(new, len(usable), config)
    last = int(FINISH * steps) if len(held) else 0
    first = replay.sample(usable[: len(usable) - len(held)], (steps - last) * config.major_batch, now, config, rng)
    finish = replay.sample(usable, last * config.major_batch, now, config, rng)
    return Draws(usable, new, judges if len(held) else held, (first, finish))


def train(
    start: Weights, replay: Replay, draws: Draws, config: Config, progress: Progress | None = None
) -> tuple[Weights, dict[str, float], bool]:
    """Trains `start` on what was drawn; the rate falls to 0 over the steps.  → weights, metrics, whether the gate let it pass.

    Where no experience tells what its reader looked at, there is nothing to let pass; weights that are not finite never pass.
    """
    metrics = {"replay": float(len(replay)), "usable": float(len(draws.usable))}
    if not len(draws.usable):
        return start, metrics, False
    first, finish = draws.phases
    among = np.unique(np.concatenate([first, finish, draws.judges]))
    steps = (len(first) + len(finish)) // config.major_batch
    share = max(draws.new / (draws.new + config.major_average), draws.new / len(draws.usable))
    trainer = Trainer(start, replay, among, steps, config, progress)
    trainer.train(first)
    if len(draws.judges):
        gains = trainer.gains(trainer.mixed(start, share), draws.judges)
        metrics |= {"gate_gain": float(gains.mean()), "gate_z": z_of_mean(gains)}
    accepted = metrics.get("gate_z", 0.0) >= config.gate_z
    if accepted:
        trainer.train(finish)
    weights = trainer.mixed(start, share)
    metrics = {name: value for name, value in (metrics | {"loss": trainer.loss}).items() if isfinite(value)}  # JSON has no NaN
    if not is_finite(weights):
        return start, metrics | {"finite": 0.0}, False
    return weights, metrics, accepted


def held_out(replay: Replay, config: Config) -> Places:
    """The newest usable experiences: `gate_share` of them, `gate_lists` at most; none without an offline gate."""
    usable = replay.informative()
    held = min(int(len(usable) * config.gate_share), config.gate_lists) if config.gate == "offline" else 0
    return usable[len(usable) - held :]


def telling(replay: Replay, among: Places) -> Places:
    """Those in which one slot was preferred to another."""
    return among[[len(preference_pairs(replay.experiences[i])) > 0 for i in among]]


def training_steps(new: int, usable: int, config: Config) -> int:
    passes = config.major_epochs * usable / (usable + config.major_halfway)
    return ceil(passes * new / config.major_batch)


class Trainer:
    """Double-Q learning: the network that learns, W, its older copy, W', and the optimiser's moments."""

    def __init__(
        self,
        start: Weights,
        replay: Replay,
        among: NDArray[np.int64],
        steps: int,
        config: Config,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            among: the experiences that will be asked for
            steps: over which the rate falls to 0
        """
        self.replay, self.config = replay, config
        self.steps, self.done, self.progress = steps, 0, progress
        self.params = {name: tensor.requires_grad_() for name, tensor in to_tensors(start).items()}
        self.target = to_tensors(start)
        self.stacked = Stacked.of([replay.experiences[i] for i in among], config)
        self.place = np.full(len(replay), TERMINAL)  # of each experience among the stacked ones
        self.place[among] = np.arange(len(among))
        self.optimiser = Adam(self.params, config.major_rate, {}, table_shares(self.params, config))
        self.loss = 0.0  # of the last step

    def train(self, drawn: NDArray[np.int64]) -> None:
        """A gradient step per batch of the drawn experiences. Targets are made anew every TARGET_STEPS steps."""
        for start in range(0, len(drawn), TARGET_STEPS * self.config.major_batch):
            part = drawn[start : start + TARGET_STEPS * self.config.major_batch]
            following = self.following(np.unique(part))
            for indices in part.reshape(-1, self.config.major_batch):
                self.step(self.batch_loss(indices, following))

    def step(self, loss: Tensor) -> None:
        gradients = dict(zip(self.params, torch.autograd.grad(loss, list(self.params.values())), strict=True))
        self.optimiser.step(gradients, 1 - self.done / self.steps)
        self.loss = loss.item()
        self.done += 1
        if self.progress:
            self.progress(self.done, self.steps)

    def batch_loss(self, indices: NDArray[np.int64], following: Tensor) -> Tensor:
        """TD loss over examined slots + listwise_weight · listwise loss.  ()

        Args:
            indices: of the batch's experiences.  (B,)
            following: of every experience.  (L,)
        """
        places = self.place[indices]
        batch, slots = self.stacked.batch(places)
        v, a = forward(self.params, batch, self.config.activation)  # (B,), (S,)
        examined = self.stacked.examined[slots]  # (S,)
        after = following[torch.from_numpy(indices)][batch.owner]  # (S,)
        y = td_targets(self.stacked.reward[slots], self.config.gamma, after)  # (S,)
        loss = td_loss((v[batch.owner] + a)[examined], y[examined])
        if self.config.listwise_weight:
            pairs, weight = self.stacked.preferences(places)
            if len(pairs):
                loss = loss + self.config.listwise_weight * listwise_loss(a, pairs[:, 0], pairs[:, 1], 2 * weight)
        return loss

    @torch.no_grad()
    def following(self, among: NDArray[np.int64]) -> Tensor:
        """Q(s', argmax Q(s',a';W); W') over the next request's logged candidates, 0 where the episode ended. Then W' ← W.

        (L,): of the experiences `among`; what it is of the others is not asked, and 0.
        """
        values = torch.zeros(len(self.replay))
        goes_on = among[self.replay.successors[among] != TERMINAL]
        for start in range(0, len(goes_on) if self.config.gamma else 0, CHUNK):
            some = goes_on[start : start + CHUNK]
            batch = collate([inputs_of(self.replay.experiences[i], self.config) for i in self.replay.successors[some]])
            online = advantage(self.params, batch, self.config.activation)  # (N,): V does not change which a' is best
            target = q_values(self.target, batch, self.config.activation)  # (N,)
            values[torch.from_numpy(some)] = double_q_values(online, target, batch.owner, len(some))
        self.target = {name: tensor.detach().clone() for name, tensor in self.params.items()}
        return values

    @torch.no_grad()
    def mixed(self, start: Weights, share: float) -> Weights:
        """W + share · (W retrained − W): over retrainings an average, whose errors are less than any one's.

        A network that nearly everything is new to has nothing to average with: the share is then as large as what is new.
        """
        begun = to_tensors(start)
        return to_weights({name: begun[name].lerp(tensor, share) for name, tensor in self.params.items()})

    @torch.no_grad()
    def gains(self, weights: Weights, among: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much more of each list's preferences A of `weights` orders right than the current network did, as logged.  (B,)

        The log's scores are what current knew before it saw the click: minor updates have taught it these very clicks
        since, so to score them again would measure memory. Preferences count by ρ, as the order was current's own choice.
        """
        batch, _ = self.stacked.batch(self.place[among])
        found = advantage(to_tensors(weights), batch, self.config.activation)
        lists = [self.replay.experiences[i] for i in among]
        logged = torch.from_numpy(np.concatenate([one.current_scores[trained_on(one, self.config)[0]] for one in lists]))
        pairs, weight = self.stacked.preferences(self.place[among])
        gained = agreement(found, pairs) - agreement(logged, pairs)  # (P,)
        owner = batch.owner[pairs[:, 0]]  # (P,)
        total = torch.zeros(len(among)).index_add(0, owner, weight).clamp_min(TINY)  # (B,)
        return (torch.zeros(len(among)).index_add(0, owner, weight * gained) / total).double().numpy()


def agreement(score: Tensor, pairs: Tensor) -> Tensor:
    """1 where the preferred slot has the higher score, ½ where both are equal, else 0.  (P,)"""
    return 0.5 + 0.5 * torch.sign(score[pairs[:, 0]] - score[pairs[:, 1]])


def z_of_mean(values: NDArray[np.float64]) -> float:
    """x̄ / (s / √n); very large where all are equal, 0 where they are 0."""
    return float(values.mean() / max(values.std(ddof=1) / len(values) ** 0.5, TINY))
