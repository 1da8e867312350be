"""The split forward that serves equals the plain forward that trains, and caching an article's part changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drn import scoring
from drn.config import Config
from drn.features import CONTEXT, encode, input_shape, measure
from drn.model import InputShape, initial_weights
from drn.network import collate, forward, to_tensors
from drn.scoring import Scorer
from drn.types import Inputs, Model, Weights
from tests.property.test_features import observation

SIZES = st.integers(0, 30)


@settings(max_examples=60, deadline=None)
@given(
    reader=SIZES,
    content=SIZES,
    dense=st.integers(1, 30),
    n=st.integers(1, 40),
    columns=st.integers(1, 6),
    layers=st.sampled_from([(8,), (8, 4), (8, 6, 4)]),
    activation=st.sampled_from(["hardswish", "relu", "sigmoid"]),
    seed=st.integers(0, 2**32),
)
def test_split_forward_equals_plain_forward(
    reader: int, content: int, dense: int, n: int, columns: int, layers: tuple[int, ...], activation: str, seed: int
) -> None:
    config = Config(advantage_layers=layers, value_layers=layers, activation=activation)
    rng = np.random.default_rng(seed)
    shape = InputShape(reader, content, dense)
    model = Model(*[drawn(initial_weights(shape, config, rng), rng, 0.3) for _ in range(2)])
    inputs = Inputs(
        reader=(rng.normal(size=reader) * (rng.random(reader) < 0.5)).astype(np.float32),
        content=rng.integers(0, content + 1, (n, columns)).astype(np.uint16),
        dense=rng.normal(size=(n, dense)).astype(np.float32),
    )
    scorer = Scorer(model, config)
    scores = scorer.scores(inputs)
    for row, weights in zip(scores, (model.current, model.explore), strict=True):
        with torch.no_grad():
            value, advantage = forward(to_tensors(weights), collate([inputs]), config.activation)
        np.testing.assert_allclose(row, (value + advantage).numpy(), atol=1e-5, rtol=1e-5)
    rows, revisions = np.arange(n, dtype=np.int32), np.ones(n, np.int32)
    for _ in range(2):
        np.testing.assert_allclose(scorer.scores(inputs, rows, revisions), scores, atol=1e-5, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 120),
    alike=st.booleans(),
    embedding_size=st.sampled_from([0, 4]),
    embedded=st.booleans(),
    features=st.sampled_from(["all", "paper"]),
    seed=st.integers(0, 2**32),
)
def test_folded_columns_equal_the_plain_forward(
    n: int, alike: bool, embedding_size: int, embedded: bool, features: str, seed: int
) -> None:
    """Lists of which all features differ, and others in which most are equal and one candidate stands out beyond ±5."""
    config = Config(embedding_size=embedding_size, features=features)
    rng = np.random.default_rng(seed)
    seen = observation(n, seed, config)
    if alike:
        outlier = (np.arange(n) == n - 1)[:, None]
        seen = replace(seen, seen=(outlier * seen.seen).astype(np.uint16), counts=(outlier * seen.counts).astype(np.uint32))
    if not embedded:
        seen = replace(seen, embedding=np.zeros_like(seen.embedding))
    shape = input_shape(config)
    model = Model(*[drawn(initial_weights(shape, config, rng), rng, 0.1) for _ in range(2)])
    scores = Scorer(model, config).scores(measure(seen, config))
    for row, weights in zip(scores, (model.current, model.explore), strict=True):
        with torch.no_grad():
            value, advantage = forward(to_tensors(weights), collate([encode(seen, config)]), config.activation)
        np.testing.assert_allclose(row, (value + advantage).numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("places", [scoring.READERS, 1])
def test_what_is_kept_of_readers_changes_no_bit(monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    monkeypatch.setattr(scoring, "READERS", places)
    config = Config()
    rng = np.random.default_rng(0)
    model = Model(*[drawn(initial_weights(input_shape(config), config, rng), rng, 0.1) for _ in range(2)])
    lists = [measure(observation(20, seed, config), config) for seed in (1, 2)]
    lists += [replace(one, reader=np.concatenate([one.reader[:-1], one.reader[-1:] + 1])) for one in lists]
    scorer = Scorer(model, config)
    for one in (*lists, *lists):
        assert np.array_equal(scorer.scores(one), Scorer(model, config).scores(one))


def test_what_is_kept_of_readers_holds_nothing_of_their_lists() -> None:
    """Hour, weekday and freshness would make every request another reader."""
    assert scoring.OF_LIST == CONTEXT + 1


def drawn(weights: Weights, rng: np.random.Generator, spread: float) -> Weights:
    return {name: spread * rng.normal(size=tensor.shape).astype(np.float32) for name, tensor in weights.items()}


def test_an_edited_article_is_scored_by_its_new_content() -> None:
    config = Config(advantage_layers=(4,))
    rng = np.random.default_rng(0)
    weights = initial_weights(InputShape(0, 10, 1), config, rng)
    scorer = Scorer(Model(weights, weights), config)
    rows, dense = np.array([0], np.int32), np.zeros((1, 1), np.float32)
    before = Inputs(np.zeros(0, np.float32), np.array([[1]], np.uint16), dense)
    after = Inputs(np.zeros(0, np.float32), np.array([[2]], np.uint16), dense)
    scorer.scores(before, rows, np.array([1], np.int32))
    kept = scorer.scores(after, rows, np.array([2], np.int32))
    np.testing.assert_allclose(kept, scorer.scores(after), atol=1e-6)
