"""The rows of the table: the product's default, its ablations, and the peers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.learning.ebnerd.lists import Peer

HOUR = 3_600.0
NEVER = 1e9  # seconds: a period that no log is as long as

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "drn": {},
    "drn-other-seed": {"root_seed": 1},
    "drn-no-minor": {"minor_period": NEVER},
    "drn-no-major": {"major_period": NEVER},
    "drn-gamma": {"gamma": 0.4},
    "drn-activeness": {"activeness": "increment"},
    "drn-no-list": {"list_pooling": "none"},
    "drn-paper-features": {"features": "paper"},
}
"""What each of the product's rows changes of the default. `drn-other-seed` tells how much of a difference is chance alone;
its root seed is added to that of the run."""

LEAVES: Mapping[str, float] = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "lambdarank_truncation_level": 10,
}


def random(seed: int) -> Peer:
    from benchmarks.learning.ebnerd.plain import Random

    return Random(np.random.default_rng(seed))


def popularity(seed: int) -> Peer:
    from benchmarks.learning.ebnerd.plain import Popularity

    return Popularity(np.random.default_rng(seed))


def linucb(_seed: int) -> Peer:
    from benchmarks.learning.ebnerd.linucb import LinUcb

    return LinUcb()


def ftrl(_seed: int) -> Peer:
    from benchmarks.learning.ebnerd.ftrl import LogisticRegression

    return LogisticRegression()


def vw(seed: int) -> Peer:
    from benchmarks.learning.ebnerd.vw import SETTINGS, Bandit

    return Bandit(f"{SETTINGS} --random_seed {seed}")


def lambdamart(seed: int) -> Peer:
    from benchmarks.learning.ebnerd.lambdamart import LambdaMart

    return LambdaMart(6 * HOUR, 200, {**LEAVES, "seed": seed})


def lambdamart_sampled(seed: int) -> Peer:
    from benchmarks.learning.ebnerd.lambdamart import LambdaMart

    return LambdaMart(6 * HOUR, 300, {**LEAVES, "feature_fraction": 0.5, "seed": seed})


PEERS: Mapping[str, Callable[[int], Peer]] = {
    "random": random,
    "popularity": popularity,
    "linucb": linucb,
    "ftrl": ftrl,
    "vw": vw,
    "lambdamart": lambdamart,
    "lambdamart-300": lambdamart_sampled,
}
"""What makes each peer, from a seed. Their packages are imported when they are asked for: one may be absent."""

METHODS = (*PEERS, *ABLATIONS)
