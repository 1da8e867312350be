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
from drn.types import Context, Floats, Inputs, Model, RankRequest

CANDIDATES = 100
TREES = 200


def decision_microseconds(articles: int) -> dict[str, float]:
    """CPU time of one decision on 100 candidates (features, both networks, interleaving) and of its peers, by name."""
    decided, inputs = decision(articles)
    found = {"decision": typical(decided)}
    if importlib.util.find_spec("lightgbm") is not None:
        found["lightgbm"] = lightgbm_microseconds(inputs.dense, np.random.default_rng(1))
    if importlib.util.find_spec("vowpalwabbit") is not None:
        found["vw_text"], found["vw_parsed"] = vw_microseconds(inputs)
    return found


def decision(articles: int) -> tuple[Callable[[int], object], Inputs]:
    """A decision as a function of its number, in a busy newsroom for a reader with a past; and one list's inputs."""
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
    served = Served(1, config, config.tau, Scorer(model, config))
    lists = [tuple(f"a{i}" for i in rng.choice(articles, CANDIDATES, replace=False)) for _ in range(50)]
    requests = [RankRequest(f"r{i}", now, 10, "u", ids, Context("mobile", "home")) for i, ids in enumerate(lists)]
    rows, _ = catalogue.rows(lists[0], now)
    inputs = encode(observe(catalogue, reader, rows, Context(), now), config)
    return lambda i: decide(requests[i % 50], served, catalogue, reader, now), inputs


def lightgbm_microseconds(dense: Floats, rng: np.random.Generator) -> float:
    """200 trees of 31 leaves scoring the same list's dense inputs, features given for nothing."""
    import lightgbm  # noqa: PLC0415  # a peer, not a dependency

    inputs = rng.normal(size=(5_000, dense.shape[1])).astype(np.float32)
    labels = (inputs[:, :5].sum(axis=1) + rng.normal(size=5_000) > 0).astype(np.int32)
    settings = {"objective": "binary", "num_leaves": 31, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, labels), TREES)
    return typical(lambda _: booster.predict(dense, num_threads=1))


def vw_microseconds(inputs: Inputs) -> tuple[float, float]:
    """`cb_explore_adf` predicting the same list, features given for nothing: from VW's text format, and from parsed examples.

    Text is what its users send, from Python as to its daemon. Examples are parsed anew for each request in service, but
    that part is left out of the second figure.
    """
    import vowpalwabbit  # noqa: PLC0415  # a peer, not a dependency

    workspace = vowpalwabbit.Workspace("--cb_explore_adf --softmax --lambda 1 --quiet")
    dense = "|d " + " ".join(f"{i}:%.4g" for i in range(inputs.dense.shape[1]))
    contents = [" ".join(map(str, row.tolist())) for row in inputs.content]
    articles = [f"{dense % tuple(row)} |c {slots}" for row, slots in zip(inputs.dense.tolist(), contents, strict=True)]
    described = ["shared |r reader", *articles]
    workspace.learn([described[0], f"0:-1:0.1 {articles[0]}", *articles[1:]])  # so that there are weights to look up
    parsed = workspace.parse(described)
    return typical(lambda _: workspace.predict(described), calls=50), typical(lambda _: workspace.predict(parsed))


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
