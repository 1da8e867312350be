"""The wide path: a linear part of A(s,a) that knows what every newsroom knows, and learns from each list exactly.

A network that starts by chance gives its first readers lists by chance, and steps of one gradient at a time get little out of
their few clicks. So the first two units of every layer carry one sum over the dense inputs, w·x, as relu(w·x) − relu(−w·x): the
layers and whatever serves them stay as they are. w starts with beliefs in place of noise, and follows feedback by a Kalman filter
for logistic regression (Bishop 2006, §4.5, one Laplace step per list), which weighs every click by all that came before.

A network without these units (other layers, another start, noise on them) has no wide path, and none of this touches it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.model import freeze
from drn.types import Bools, Floats, Weights

Doubles = NDArray[np.float64]

# Per typical spread of a dense input. Round numbers for what news logs agree on, small enough for clicks to overrule: what others
# click, how old it is, what this reader clicked in the last week. All lie within a few spreads, whatever a site is like; "hardly
# anybody reads an article twice" is not among them, as a count without bound would let it rule where readers do come back.
BELIEFS: Mapping[str, float] = {
    "rate_1w_z": 0.5,
    "age_z": -0.25,
    "interest_category_1w_z": 0.25,
    "interest_topics_1w_z": 0.1,
}
PATH = slice(2)  # the two units of every layer
PAIR = np.array([1, -1], np.float32)  # how the two units add up to w·x
SLOTS = 10  # the last one stands for all below it
BASE = -2.5  # logit of a click on an article as good as the list's others: 8 %, in the range of published logs
FREE = 10.0  # variance of what nothing is believed about: the base, and each slot's part in a click
COVARIANCE, SLOT_LOGITS = "wide.covariance", "wide.slots"  # memory: (D + SLOTS, D + SLOTS), (SLOTS,)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The slots of one list that its reader may have looked at."""

    dense: Floats  # (k, D)
    deep: Floats  # (k,): A without the wide path
    slots: NDArray[np.intp]  # (k,): places in the list
    clicked: Bools  # (k,)


def informed(weights: Weights, names: Sequence[str], config: Config) -> Weights:
    """`weights` with a wide path of beliefs; unchanged where the layers leave no room for it.

    Args:
        names: of the dense inputs, in order.  (D,)
    """
    if not config.wide_precision or config.activation != "relu" or min(config.advantage_layers) < 3 or not names:
        return weights
    made = {name: np.array(tensor) for name, tensor in weights.items()}
    beliefs = np.array([BELIEFS.get(name, 0.0) for name in names], np.float32)  # (D,)
    for name, tensor in made.items():
        for at in wide_entries(name):
            tensor[at] = beliefs[:, None] * PAIR if name == "advantage.dense" else carried(name, tensor)[at]
    return freeze(made)


def wide_entries(name: str) -> tuple[tuple[slice, ...], ...]:
    """Where a tensor's part in the wide path lies: what leads into its two units, and from them to others."""
    if not name.startswith("advantage.") or name == "advantage.out.bias":
        return ()
    if name == "advantage.out.weight" or name.endswith("bias"):
        return ((PATH,),)
    into = (slice(None), PATH)
    return (into, (PATH, slice(None))) if name.endswith(".weight") else (into,)


def carried(name: str, tensor: Floats) -> Floats:
    """What a tensor's wide entries must be to hand w·x on; `advantage.dense`, which holds w itself, apart."""
    wanted = np.zeros_like(tensor)
    if name == "advantage.out.weight":
        wanted[:2] = PAIR
    elif name.endswith(".weight"):
        wanted[:2, :2] = np.eye(2)
    return wanted


def has_wide(weights: Weights) -> bool:
    """Whether the first two units of every layer carry one sum, and nothing else."""
    if "advantage.dense" not in weights or min(weights[name].shape[-1] for name in weights if wide_entries(name)) < 2:
        return False
    first = weights["advantage.dense"]
    return np.array_equal(first[:, 0], -first[:, 1]) and all(
        np.array_equal(tensor[at], carried(name, tensor)[at])
        for name, tensor in weights.items()
        if name != "advantage.dense"
        for at in wide_entries(name)
    )


def wide_weights(weights: Weights) -> Doubles:
    """w.  (D,)"""
    return weights["advantage.dense"][:, 0].astype(np.float64)


def with_wide(weights: Weights, wide: Doubles) -> Weights:
    """`weights` with w replaced.  (D,)"""
    dense = np.array(weights["advantage.dense"])
    dense[:, :2] = wide.astype(np.float32)[:, None] * PAIR
    return freeze({**weights, "advantage.dense": dense})


def wide_steps(wide: Doubles, memory: Weights, lessons: Iterable[Lesson], config: Config) -> tuple[Doubles, Weights]:
    """w after these lists, in order, and what is known about it.  (D,) → (D,), memory'

    P(click) = σ(deep + w·x + s_slot): a slot's own logit takes the position's part of a click upon itself.
    """
    size = len(wide)
    mean = np.concatenate([wide, memory.get(SLOT_LOGITS, np.full(SLOTS, BASE))])  # (D + SLOTS,)
    covariance = memory[COVARIANCE].astype(np.float64) if COVARIANCE in memory else prior_covariance(size, config)
    for lesson in lessons:
        seen = np.zeros((len(lesson.slots), size + SLOTS))  # (k, D + SLOTS)
        seen[:, :size] = lesson.dense
        seen[np.arange(len(seen)), size + np.minimum(lesson.slots, SLOTS - 1)] = 1
        chance = 1 / (1 + np.exp(-(lesson.deep + seen @ mean)))  # (k,)
        noise = 1 / np.maximum(chance * (1 - chance), 1e-3)  # (k,)
        spread = seen @ covariance  # (k, D + SLOTS)
        gain = np.linalg.solve(spread @ seen.T + np.diag(noise), spread)  # (k, D + SLOTS)
        mean = mean + gain.T @ (noise * (lesson.clicked - chance))
        covariance = covariance - gain.T @ spread
    covariance = (covariance + covariance.T) / 2
    return mean[:size], freeze({COVARIANCE: covariance.astype(np.float32), SLOT_LOGITS: mean[size:].astype(np.float32)})


def prior_covariance(size: int, config: Config) -> Doubles:
    return np.diag(np.concatenate([np.full(size, 1 / config.wide_precision), np.full(SLOTS, FREE)]))
