"""The peers of the newspaper's log: a step of each by hand, and each learns a preference that is there to be learned."""

import csv
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.learning.__main__ import app
from benchmarks.learning.ebnerd.ftrl import FtrlProximal, LogisticRegression
from benchmarks.learning.ebnerd.lambdamart import LambdaMart
from benchmarks.learning.ebnerd.linucb import LinUcb
from benchmarks.learning.ebnerd.lists import Judged, JudgedList, Marks, Peer
from benchmarks.learning.ebnerd.methods import LEAVES
from benchmarks.learning.ebnerd.plain import Popularity, Random
from benchmarks.learning.ebnerd.table import HEADER, markdown, paired, read, record, rows
from benchmarks.learning.ebnerd.vw import Bandit, describe
from drn.config import Config
from drn.features import WINDOW_NAMES, V, W, encode
from drn.types import Observation

CONFIG = Config(embedding_size=0)
SLOTS, COLUMNS = CONFIG.content_slots, 24
DAY = 86_400.0


def judged_list(rng: np.random.Generator, at: float = 0.0, n: int = 6) -> JudgedList:
    """A list whose article with most clicks in the last hour is the one that is clicked."""
    counts = rng.integers(0, 200, (n, 2 * W)).astype(np.uint32)
    counts[:, WINDOW_NAMES.index("1h")] = rng.permutation(n) * 30
    content = np.full((n, COLUMNS), SLOTS, np.uint16)
    content[:, 1] = rng.integers(12, 52, n)
    observation = Observation(
        reader=np.zeros((V, SLOTS), np.uint16),
        reader_totals=np.zeros(V, np.uint16),
        context=np.array([3, 2, 0, 0], np.uint8),
        content=content,
        counts=counts,
        category_counts=rng.integers(0, 200, (n, 2)).astype(np.uint32),
        seen=np.zeros((n, 7), np.uint16),
        age=rng.integers(0, 90_000, n).astype(np.int32),
        embedding=np.zeros((n, 0), np.float16),
        reader_embedding=np.zeros(0, np.float16),
    )
    clicked = counts[:, WINDOW_NAMES.index("1h")] == 30 * (n - 1)
    return JudgedList(at, f"u{int(at) % 5}", observation, encode(observation, CONFIG), clicked)


def test_a_step_of_ftrl_by_hand() -> None:
    """α = ½, β = 1, λ1 = ¼, λ2 = 2; x = 2, y = 1. First w = 0, p = ½, g = −1: σ = 2, z = −1, n = 1.

    Then w = −(−1 + ¼) / ((1 + 1)/½ + 2) = ¾ / 6 = ⅛.
    """
    model = FtrlProximal(3, alpha=0.5, beta=1.0, l1=0.25, l2=2.0)
    model.step(np.array([1]), np.array([2.0]), 1.0)
    assert (model.z[1], model.n[1]) == (-1.0, 1.0)
    np.testing.assert_allclose(model.weights(np.arange(3)), [0, 1 / 8, 0])
    # Next: p = σ(¼), g = 2(p − 1), σ = (√(1 + g²) − 1)/½, z = −1 + g − σ/8
    model.step(np.array([1]), np.array([2.0]), 1.0)
    g = 2 * (1 / (1 + np.exp(-0.25)) - 1)
    assert model.z[1] == pytest.approx(-1 + g - 2 * (np.sqrt(1 + g * g) - 1) / 8)


def test_ftrl_keeps_what_is_seen_too_little_at_exactly_zero() -> None:
    model = FtrlProximal(1, alpha=0.5, beta=1.0, l1=0.6, l2=0.0)
    model.step(np.array([0]), np.array([1.0]), 1.0)  # z = −½
    assert model.weights(np.array([0]))[0] == 0


def test_linucb_is_ridge_regression_with_its_width() -> None:
    """A = I + XᵀX and b = Xᵀr over all lists, solved at once."""
    rng, peer = np.random.default_rng(0), LinUcb(alpha=0.5, ridge=2.0)
    lists = [judged_list(rng) for _ in range(5)]
    for one in lists:
        peer.learn(one)
    x = np.vstack([peer.features(one) for one in lists])
    a, b = 2.0 * np.eye(x.shape[1]) + x.T @ x, x.T @ np.concatenate([one.clicked for one in lists])
    new = peer.features(lists[0])
    width = np.sqrt(np.einsum("nd,dn->n", new, np.linalg.solve(a, new.T)))
    np.testing.assert_allclose(peer.scores(lists[0]), new @ np.linalg.solve(a, b) + 0.5 * width, atol=1e-5)


def test_a_list_in_vowpal_wabbits_words() -> None:
    one = judged_list(np.random.default_rng(0), n=2)
    reader = one.observation.reader.copy()
    reader[-1, [7, 300]] = [1, 3]
    totals = np.full(V, 4, np.uint16)
    one = dataclasses.replace(one, observation=dataclasses.replace(one.observation, reader=reader, reader_totals=totals))
    shared, first, _ = describe(one)
    assert shared == "shared |r 300:0.75 7:0.25"
    assert first.startswith(f"|d 0:{one.inputs.dense[0, 0]:.4g} 1:")
    assert first.endswith(f"|c {one.inputs.content[0, 1]}")


def lambdamart() -> LambdaMart:
    return LambdaMart(100.0, 20, {**LEAVES, "min_data_in_leaf": 5})


@pytest.mark.parametrize("make", [LogisticRegression, LinUcb, Bandit, lambdamart])
def test_every_peer_learns_what_readers_want(make: Callable[[], Peer]) -> None:
    rng, peer, marks = np.random.default_rng(1), make(), Marks()
    for second in range(400):
        one = judged_list(rng, float(second))
        marks.add(one.at, one.user_id, peer.scores(one), one.clicked)
        peer.learn(one)
    quality = marks.judged().quality[:, 0]
    assert quality[300:].mean() > 0.93
    assert quality[:10].mean() < 0.9  # before it has learned


def test_lambdamart_is_trained_at_its_period_on_what_came_before() -> None:
    rng, peer = np.random.default_rng(1), lambdamart()
    lists = [judged_list(rng, float(second)) for second in range(0, 200, 2)]
    for one in lists[:50]:  # until second 98
        assert not peer.scores(one).any()
        peer.learn(one)
    trained = peer.scores(lists[50])
    assert trained.any()
    for one in lists[51:]:
        peer.learn(one)
    np.testing.assert_array_equal(peer.scores(lists[50]), trained)  # learned from only at second 200


def test_popularity_counts_the_last_day_and_breaks_ties_by_chance() -> None:
    one = judged_list(np.random.default_rng(0))
    clicks = one.observation.counts[:, WINDOW_NAMES.index("24h")]
    for seed in range(3):
        scores = Popularity(np.random.default_rng(seed)).scores(one)
        np.testing.assert_array_equal(np.floor(scores), clicks)
    assert not np.array_equal(scores, Popularity(np.random.default_rng(9)).scores(one))
    assert not np.array_equal(Random(np.random.default_rng(0)).scores(one), Random(np.random.default_rng(1)).scores(one))


def judged(days: list[float], users: list[str | None], auc: list[float]) -> Judged:
    quality = np.column_stack([np.array(auc)] * 4)
    return Judged(np.array(days) * DAY, tuple(users), quality)


def test_a_paired_difference_and_its_interval_over_readers_by_hand() -> None:
    """Differences .1, .3 of one reader and −.1 of another: d̄ = .1; D − n·d̄ = .4 − .2 and −.1 − .1; s² = 2 · .08 / 9."""
    users: list[str | None] = ["u", "u", "v", "v"]
    own, reference = judged([0, 0, 0, 0], users, [0.6, 0.8, 0.4, np.nan]), judged([0, 0, 0, 0], users, [0.5, 0.5, 0.5, np.nan])
    mean, half = paired(own, reference)
    np.testing.assert_allclose(mean, 0.1)
    np.testing.assert_allclose(half, 1.96 * np.sqrt(2 * 0.08) / 3)


def test_a_reader_of_many_lists_is_one_witness() -> None:
    many, one = judged([0] * 40, ["u"] * 20 + ["v"] * 20, [0.7, 0.5] * 20), judged([0] * 40, ["u"] * 20 + ["v"] * 20, [0.5] * 40)
    alike = judged([0] * 40, ["u"] * 20 + ["v"] * 20, [0.7] * 20 + [0.5] * 20)
    assert paired(alike, one)[1][0] > 5 * paired(many, one)[1][0] + 0.1


def test_figures_are_of_the_days_after_the_first_and_of_each() -> None:
    own = judged([0, 0.9, 1.0, 1.5, 2.5], ["u"] * 5, [0.1, 0.3, 0.6, 0.8, np.nan])
    found = {row.days: row for row in rows("m", own, None, 1.0)}
    assert list(found) == ["2-3", "1", "2", "3"]
    assert (found["2-3"].mean[0], found["2-3"].n) == (pytest.approx(0.7), 2)
    assert (found["1"].mean[0], found["1"].n) == (pytest.approx(0.2), 2)
    assert np.isnan(found["3"].mean[0])
    assert str(found["2-3"]) == "m                   AUC 0.7000  MRR 0.7000  nDCG@5 0.7000  nDCG@10 0.7000  n 2"


def test_a_table_comes_back_from_its_file_and_becomes_markdown(tmp_path) -> None:
    reference, own = judged([0, 1, 1], ["u", "v", "w"], [0.5, 0.5, 0.5]), judged([0, 1, 1], ["u", "v", "w"], [0.5, 0.6, 0.7])
    file = tmp_path / "table.csv"
    with record(file) as add:
        add(rows("drn", reference, reference, 60.0))
        add(rows("peer", own, reference, 2.0))
    with file.open() as lines:
        assert tuple(next(csv.reader(lines))) == HEADER
    assert [str(row) for row in read(file)][3].startswith("peer                AUC 0.6500  MRR")
    table = markdown(read(file)).splitlines()
    assert table[2] == "| **`drn`** | **0.5000** | **0.5000** | **0.5000** | **0.5000** |  |  | 60 s |"
    assert table[3].startswith("| `peer` | 0.6500 | 0.6500 | 0.6500 | 0.6500 | +0.1500 ± ")
    assert len(table) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "nowhere-at-all"], "EB-NeRD's behaviors.parquet is not there"),
        (["--split", "tests"], "behaviors.parquet is not there"),
        (["--split", ".", "--methods", "magic"], "no method 'magic'"),
        (["--split", ".", "--set", "gama=0"], "no such hyper-parameter: gama"),
        (["--split", ".", "--csv", "nowhere-at-all/out.csv"], "no folder nowhere-at-all"),
    ],
)
def test_what_cannot_be_done_is_said_and_fails(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["ebnerd", *arguments])
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.replace("│", " ").split())


def test_a_file_that_is_no_table_is_refused(tmp_path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    result = CliRunner().invoke(app, ["table", "--csv", str(file)])
    assert result.exit_code == 2
    assert "is no table of this benchmark" in result.output
