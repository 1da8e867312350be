"""Retraining over replay: double-Q learning with a listwise loss beside it, and the offline gate. [DRN §4.2]"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drn.config import Config
from drn.evaluation import ndcg
from drn.network import advantage, collate, forward, q_values, to_tensors, to_weights
from drn.optimiser import Adam
from drn.replay import Replay
from drn.stacked import Stacked
from drn.targets import double_q_values, listwise_loss, td_loss, td_targets
from drn.transitions import TERMINAL, Experience, inputs_of, preference_pairs
from drn.types import Weights

Progress: TypeAlias = Callable[[int, int], None]

GATE_LISTS = 20  # held-out lists with a preference below which the gate would measure noise: it lets pass
CHUNK = 256  # lists of all candidates that are in memory at once


def retrain(
    start: Weights, replay: Replay, now: float, config: Config, rng: np.random.Generator, progress: Progress | None = None
) -> tuple[Weights, dict[str, float], bool]:
    """Trains `start` over replay.  → weights, metrics, whether the gate let it pass.

    With the offline gate the newest `gate_share` is held out, judges, and is then learned from as well: in news the
    newest hours are worth most, and a second training from the start would cost as much as the first.
    Where no experience tells what its reader looked at, there is nothing to let pass.
    """
    usable = replay.informative()
    if not len(usable):
        return start, {"replay": float(len(replay)), "usable": 0.0}, False
    held = held_out(replay, usable, config)
    older = usable[: len(usable) - len(held)]
    steps = [training_steps(len(share), config) for share in (older, held)]
    trainer = Trainer(start, replay, now, config)
    trainer.train(older, steps[0], rng, progress and (lambda done, _: progress(done, sum(steps))))
    metrics = {"replay": float(len(replay)), "usable": float(len(usable)), "loss": trainer.loss}
    if not len(held):
        return to_weights(trainer.params), metrics, True
    judges = telling(replay, held)
    metrics["gate_current"] = logged_quality([replay.experiences[i] for i in judges])
    metrics["gate_retrained"] = trainer.quality(judges)
    if metrics["gate_retrained"] < metrics["gate_current"]:
        return to_weights(trainer.params), metrics, False
    trainer.train(held, steps[1], rng, progress and (lambda done, _: progress(steps[0] + done, sum(steps))))
    return to_weights(trainer.params), metrics, True


def held_out(replay: Replay, usable: NDArray[np.int64], config: Config) -> NDArray[np.int64]:
    """The newest `gate_share` of the usable experiences; none without an offline gate, or where they would say too little."""
    if config.gate != "offline":
        return usable[:0]
    held = usable[len(usable) - int(len(usable) * config.gate_share) :]
    return held if len(telling(replay, held)) >= GATE_LISTS else usable[:0]


def telling(replay: Replay, among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those in which one slot was preferred to another."""
    return among[[len(preference_pairs(replay.experiences[i])) > 0 for i in among]]


def training_steps(size: int, config: Config) -> int:
    return ceil(config.major_epochs * size / config.major_batch)


class Trainer:
    """Double-Q learning: the network that learns, W, its older copy, W', and the optimiser's moments."""

    def __init__(self, start: Weights, replay: Replay, now: float, config: Config) -> None:
        self.replay, self.now, self.config = replay, now, config
        self.params = {name: tensor.requires_grad_() for name, tensor in to_tensors(start).items()}
        self.target = to_tensors(start)
        usable = replay.informative()
        self.stacked = Stacked.of([replay.experiences[i] for i in usable], config)
        self.place = np.full(len(replay), TERMINAL)  # of each experience among the stacked ones
        self.place[usable] = np.arange(len(usable))
        self.optimiser = Adam(self.params, config.major_rate, {})
        self.loss = 0.0  # of the last step

    def train(self, among: NDArray[np.int64], steps: int, rng: np.random.Generator, progress: Progress | None) -> None:
        """`steps` gradient steps on batches drawn from the experiences `among`. Targets are made anew for each pass over them."""
        if not steps:
            return
        batch = self.config.major_batch
        drawn = self.replay.sample(among, steps * batch, self.now, self.config, rng).reshape(steps, batch)
        for done, indices in enumerate(drawn):
            if done % ceil(len(among) / batch) == 0:
                following = self.following(among)
            self.step(self.batch_loss(indices, following))
            if progress:
                progress(done + 1, steps)

    def step(self, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, list(self.params.values()))
        self.optimiser.step(dict(zip(self.params, gradients, strict=True)))
        self.loss = loss.item()

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
    def quality(self, among: NDArray[np.int64]) -> float:
        """Mean nDCG@10 of clicks under A, over the shown slots."""
        batch, _ = self.stacked.batch(self.place[among])
        score = advantage(self.params, batch, self.config.activation).numpy()
        lists = [self.replay.experiences[i] for i in among]
        ends = np.cumsum([len(one.shown) for one in lists])[:-1]
        return float(np.mean([ndcg(own, one.clicked, 10) for own, one in zip(np.split(score, ends), lists, strict=True)]))


def logged_quality(lists: Sequence[Experience]) -> float:
    """Mean nDCG@10 of clicks under the current network's scores as logged: what it knew before it saw the click.

    Minor updates have taught the current network these very clicks since, so to score them again would measure memory.
    """
    return float(np.mean([ndcg(one.current_scores[one.shown], one.clicked, 10) for one in lists]))
