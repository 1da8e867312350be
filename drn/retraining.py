"""Retraining over replay: double-Q learning with a listwise loss beside it, and the offline gate. [DRN §4.2]"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drn.config import Config
from drn.evaluation import ndcg
from drn.network import Batch, advantage, collate, forward, q_values, to_tensors, to_weights
from drn.optimiser import Adam
from drn.replay import Replay
from drn.targets import double_q_values, listwise_loss, td_loss, td_targets
from drn.transitions import TERMINAL, Experience, inputs_of, pair_weights, preference_pairs, shown_inputs
from drn.types import Weights

Progress: TypeAlias = Callable[[int, int], None]

GATE_LISTS = 20  # held-out lists with a preference below which the gate would measure noise: it lets pass
GATE_BATCH = 256  # lists scored at once by the gate


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
    metrics["gate_current"] = logged_quality(judges)
    metrics["gate_retrained"] = quality(trainer.params, judges, config)
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


def telling(replay: Replay, among: NDArray[np.int64]) -> list[Experience]:
    """Those in which one slot was preferred to another."""
    lists = [replay.experiences[i] for i in among]
    return [one for one in lists if len(preference_pairs(one))]


def training_steps(size: int, config: Config) -> int:
    return ceil(config.major_epochs * size / config.major_batch)


class Trainer:
    """Double-Q learning: the network that learns, W, its slow copy, W', and the optimiser's moments."""

    def __init__(self, start: Weights, replay: Replay, now: float, config: Config) -> None:
        self.replay, self.now, self.config = replay, now, config
        self.params = {name: tensor.requires_grad_() for name, tensor in to_tensors(start).items()}
        self.target = to_tensors(start)
        self.optimiser = Adam(self.params, config.major_rate, {})
        self.loss = 0.0  # of the last step

    def train(self, among: NDArray[np.int64], steps: int, rng: np.random.Generator, progress: Progress | None) -> None:
        """`steps` gradient steps on batches drawn from the experiences `among`."""
        if not steps:
            return
        batch = self.config.major_batch
        drawn = self.replay.sample(among, steps * batch, self.now, self.config, rng).reshape(steps, batch)
        for done, indices in enumerate(drawn, start=1):
            loss = self.batch_loss(indices)
            gradients = torch.autograd.grad(loss, list(self.params.values()))
            self.optimiser.step(dict(zip(self.params, gradients, strict=True)))
            self.follow()
            self.loss = loss.item()
            if progress:
                progress(done, steps)

    @torch.no_grad()
    def follow(self) -> None:
        """W' ← W' + rate·(W − W'). [Lillicrap et al. 2016, in the place of the paper's switch]"""
        for name, tensor in self.target.items():
            tensor.lerp_(self.params[name], self.config.target_rate)

    def batch_loss(self, indices: NDArray[np.int64]) -> Tensor:
        """TD loss over examined slots + listwise_weight · listwise loss.  ()"""
        lists = [self.replay.experiences[i] for i in indices]
        batch = collate([shown_inputs(one, self.config) for one in lists])
        v, a = forward(self.params, batch, self.config.activation)  # (B,), (S,)
        examined = torch.from_numpy(np.concatenate([one.examined for one in lists]))  # (S,)
        reward = torch.from_numpy(np.concatenate([one.reward for one in lists]))  # (S,)
        y = td_targets(reward, self.config.gamma, self.following(indices)[batch.owner])  # (S,)
        loss = td_loss((v[batch.owner] + a)[examined], y[examined])
        if self.config.listwise_weight:
            loss = loss + self.config.listwise_weight * self.preference_loss(lists, batch, a)
        return loss

    @torch.no_grad()
    def following(self, indices: NDArray[np.int64]) -> Tensor:
        """Q(s', argmax Q(s',a';W); W') over the next request's logged candidates, 0 where the episode ended.  (B,)"""
        values = torch.zeros(len(indices))
        successors = self.replay.successors[indices]
        goes_on = successors != TERMINAL
        if self.config.gamma and goes_on.any():
            batch = collate([inputs_of(self.replay.experiences[i], self.config) for i in successors[goes_on]])
            online = advantage(self.params, batch, self.config.activation)  # (N,): V does not change which a' is best
            target = q_values(self.target, batch, self.config.activation)  # (N,)
            values[torch.from_numpy(goes_on)] = double_q_values(online, target, batch.owner, int(goes_on.sum()))
        return values

    def preference_loss(self, lists: list[Experience], batch: Batch, score: Tensor) -> Tensor:
        pairs, weight = pairs_of(lists, batch, self.config)
        if not len(pairs):
            return torch.zeros(())
        return listwise_loss(score, pairs[:, 0], pairs[:, 1], 2 * weight)


def pairs_of(lists: list[Experience], batch: Batch, config: Config) -> tuple[Tensor, Tensor]:
    """Preference pairs (P, 2) as slots of the batch, and their swap ratios ρ (P,)."""
    starts = torch.searchsorted(batch.owner, torch.arange(len(lists))).numpy()  # (B,)
    pairs = [preference_pairs(one) for one in lists]
    weights = [pair_weights(one, own, config) for one, own in zip(lists, pairs, strict=True) if len(own)]
    slots = np.concatenate([own + start for own, start in zip(pairs, starts, strict=True)])
    return torch.from_numpy(slots), torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *weights]))


def logged_quality(lists: list[Experience]) -> float:
    """Mean nDCG@10 of clicks under the current network's scores as logged: what it knew before it saw the click.

    Minor updates have taught the current network these very clicks since, so to score them again would measure memory.
    """
    return float(np.mean([ndcg(one.current_scores[one.shown], one.clicked, 10) for one in lists]))


@torch.no_grad()
def quality(params: Mapping[str, Tensor], lists: list[Experience], config: Config) -> float:
    """Mean nDCG@10 of clicks under A, over the shown slots."""
    found: list[float] = []
    for start in range(0, len(lists), GATE_BATCH):
        some = lists[start : start + GATE_BATCH]
        score = advantage(params, collate([shown_inputs(one, config) for one in some]), config.activation).numpy()
        ends = np.cumsum([len(one.shown) for one in some])[:-1]
        found += [ndcg(own, one.clicked, 10) for own, one in zip(np.split(score, ends), some, strict=True)]
    return float(np.mean(found))
