"""A decision without its server, against what others take to score the same list. Prints JSON: microseconds by name."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.speed.filling import newsroom
from drn.catalogue import Catalogue, epoch
from drn.config import Config
from drn.features import encode, input_shape, observe
from drn.model import initial_weights
from drn.ranking import Served, decide
from drn.readers import Reader
from drn.scoring import Scorer
from drn.types import Context, Floats, Model, RankRequest

CANDIDATES = 100
TREES = 200


def decision_microseconds(articles: int) -> dict[str, float]:
    """CPU time of one decision on 100 candidates (features, both networks, interleaving) and of its peers, by name."""
    decided, dense = decision(articles)
    found = {"decision": typical(decided)}
    if importlib.util.find_spec("lightgbm") is not None:
        found["lightgbm"] = lightgbm_microseconds(dense, np.random.default_rng(1))
    return found


def decision(articles: int) -> tuple[Callable[[int], object], Floats]:
    """A decision as a function of its number, in a busy newsroom for a reader with a past; and one list's dense inputs."""
    config, now, rng = Config(), datetime.now(UTC), np.random.default_rng(0)
    catalogue, reader = Catalogue(config), Reader(config.history_clicks)
    for article in newsroom(articles, now, rng):
        catalogue.put(article)
    for seconds in range(86_400, 0, -20):
        at = epoch(now - timedelta(seconds=seconds))
        catalogue.click(int(rng.integers(articles)), at)
        catalogue.expose(rng.choice(articles, 10, replace=False).astype(np.int32), at)
    for days in np.linspace(20, 0.01, 100):
        reader.click(int(rng.integers(articles)), epoch(now - timedelta(days=float(days))))
    reader.show(rng.choice(articles, 300, replace=False).astype(np.int32))
    shape = input_shape(config)
    model = Model(initial_weights(shape, config, rng), initial_weights(shape, config, rng))
    served = Served(1, config, Scorer(model, config))
    lists = [tuple(f"a{i}" for i in rng.choice(articles, CANDIDATES, replace=False)) for _ in range(50)]
    requests = [RankRequest(f"r{i}", now, 10, "u", ids, Context("mobile", "home")) for i, ids in enumerate(lists)]
    rows, _ = catalogue.rows(lists[0], now)
    dense = encode(observe(catalogue, reader, rows, Context(), now), config).dense
    return lambda i: decide(requests[i % 50], served, catalogue, reader, now), dense


def lightgbm_microseconds(dense: Floats, rng: np.random.Generator) -> float:
    """200 trees of 31 leaves scoring the same list's dense inputs, features given for nothing."""
    import lightgbm  # noqa: PLC0415  # a peer, not a dependency

    inputs = rng.normal(size=(5_000, dense.shape[1])).astype(np.float32)
    labels = (inputs[:, :5].sum(axis=1) + rng.normal(size=5_000) > 0).astype(np.int32)
    settings = {"objective": "binary", "num_leaves": 31, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, labels), TREES)
    return typical(lambda _: booster.predict(dense, num_threads=1))


def typical(call: Callable[[int], object], calls: int = 300, rounds: int = 5) -> float:
    """Microseconds of CPU per call in the best round: what others do on the machine only ever adds."""
    call(0)
    found = []
    for _ in range(rounds):
        started = time.process_time()
        for i in range(calls):
            call(i)
        found.append((time.process_time() - started) / calls * 1e6)
    return min(found)


if __name__ == "__main__":
    print(json.dumps(decision_microseconds(int(sys.argv[1]))))
