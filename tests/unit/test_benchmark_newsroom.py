"""The newsroom benchmark: peers learn what can be learned, measures by hand, and the command from end to end."""

import csv
import re
from datetime import timedelta

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.learning.__main__ import app
from benchmarks.learning.intervals import interval
from benchmarks.learning.newsroom.bandits import HiddenSetting, HLinUCB, LinUCB, Ridge, relative_columns
from benchmarks.learning.newsroom.judge import Counts, Judge, discounted, expected_clicks
from benchmarks.learning.newsroom.method import play
from benchmarks.learning.newsroom.methods import ROWS, START, Options, Task, perform
from benchmarks.learning.newsroom.peer import Peer, Shown, looked_at
from benchmarks.learning.newsroom.regressions import (
    Setting,
    factorization_machine,
    linear_logits,
    logistic,
    second_order,
    wide_and_deep,
)
from benchmarks.learning.newsroom.simple import Popularity
from benchmarks.learning.newsroom.table import Result, finished, markdown, record, recovered_after, rows, total, verdict
from drn.audience import Audience
from drn.config import Config
from drn.loop import Update
from drn.model import InputShape
from drn.network import collate
from drn.scenario import NEWSROOM
from drn.simulation import Publish, React, Simulation, Visit
from drn.types import Article, Context, Event, Inputs, RankRequest, VersionKind

CLI = CliRunner()
SHAPE = InputShape(reader=3, content=4, dense=5)
SMALL = Config(advantage_layers=(8, 4))


def options(**changes) -> Options:
    values = {
        "methods": ("random", "popularity"),
        "seeds": (0, 1),
        "days": 1,
        "readers": 10,
        "signal": "taste",
        "shift_day": None,
        "minor_minutes": 120.0,
        "major_hours": 12.0,
        "changes": {},
    }
    return Options(**{**values, **changes})


def inputs(rng, n):
    content = np.where(rng.random((n, 2)) < 0.8, rng.integers(0, SHAPE.content, (n, 2)), SHAPE.content).astype(np.uint16)
    return Inputs(rng.standard_normal(3).astype(np.float32), content, rng.standard_normal((n, 5)).astype(np.float32))


def taught_lists(rng, count=400, k=6):
    """Lists whose slots are clicked by their second dense input."""
    for _ in range(count):
        one = inputs(rng, k)
        clicked = rng.random(k) < 1 / (1 + np.exp(1 - 2 * one.dense[:, 1]))
        yield Shown(START, "u", [str(i) for i in range(k)], one, clicked)


@pytest.mark.parametrize("name", ["lr", "fm", "wide-deep", "linucb"])
def test_a_peer_learns_a_preference(name):
    rng, setting = np.random.default_rng(0), Setting(rate=1e-2)
    model = {
        "lr": lambda: logistic(SHAPE, setting, rng),
        "fm": lambda: factorization_machine(SHAPE, setting, rng),
        "wide-deep": lambda: wide_and_deep(SHAPE, setting, rng, SMALL),
        "linucb": lambda: LinUCB(SHAPE.dense + 1, alpha=0.1),
    }[name]()
    lists = list(taught_lists(rng))
    model.minor(lists)
    model.major(lists)
    fresh = inputs(rng, 200)
    _, scores = model.scores("u", [str(i) for i in range(200)], fresh)
    assert np.corrcoef(scores, fresh.dense[:, 1])[0, 1] > 0.9


def test_hidden_features_find_what_no_input_shows():
    """Articles 0 and 1 look alike; readers click the one and not the other."""
    rng = np.random.default_rng(0)
    model = HLinUCB(np.array([0]), rng, HiddenSetting(alpha=0.0, alpha_article=0.0))
    alike = Inputs(np.zeros(3, np.float32), np.zeros((2, 2), np.uint16), np.ones((2, 5), np.float32))
    model.minor([Shown(START, "u", ["0", "1"], alike, np.array([True, False]))] * 100)
    _, scores = model.scores("u", ["0", "1"], alike)
    assert scores[0] > 0.8
    assert scores[1] < 0.2


def test_a_linucb_step_by_hand():
    """A = I + xxᵀ with x = (1, 2), r = 1: A⁻¹ = I − xxᵀ/6, θ = x/6; the width of x is √(5/6)."""
    model = LinUCB(2, alpha=0.5)
    model.learn(np.array([[1.0, 2.0]]), np.array([1.0]))
    np.testing.assert_allclose(model.theta, [1 / 6, 2 / 6])
    one = Inputs(np.zeros(0, np.float32), np.zeros((1, 0), np.uint16), np.array([[2.0]], np.float32))
    by, mean = model.scores("u", ["a"], one)
    assert mean == pytest.approx([5 / 6])
    assert by == pytest.approx([5 / 6 + 0.5 * np.sqrt(5 / 6)])


def test_ridge_steps_are_those_of_the_whole_regression():
    rng = np.random.default_rng(0)
    x, reward = rng.standard_normal((20, 4)), rng.standard_normal(20)
    ridge = Ridge(4, 2.0)
    for row, r in zip(x, reward, strict=True):
        ridge.learn(row, r)
    np.testing.assert_allclose(ridge.theta, np.linalg.solve(2 * np.eye(4) + x.T @ x, x.T @ reward))


def test_a_hidden_step_by_hand():
    """x = 1 and v = 1 for a reader at θ = (0, t): both regressions see one observation, by turns."""
    rng = np.random.default_rng(0)
    model = HLinUCB(np.array([], np.intp), rng, HiddenSetting(hidden=1))
    reader, article = model._readers["u"], model._articles["a"]
    taste, hidden = reader.theta[1], article.theta[0]
    shown = Inputs(np.zeros(0, np.float32), np.zeros((1, 0), np.uint16), np.zeros((1, 0), np.float32))
    model.minor([Shown(START, "u", ["a"], shown, np.array([True]))])
    features = np.array([1.0, hidden])
    theta = np.linalg.solve(np.eye(2) + np.outer(features, features), np.array([0.0, taste]) + features)
    np.testing.assert_allclose(reader.theta, theta)
    assert article.theta[0] == pytest.approx((hidden + theta[1] * (1 - theta[0])) / (1 + theta[1] ** 2))


def test_the_second_order_term_is_the_double_sum():
    rng = np.random.default_rng(1)
    model = factorization_machine(SHAPE, Setting(), rng, factors=3)
    params = {name: torch.randn(tensor.shape) for name, tensor in model.params.items()}
    one = inputs(rng, 2)
    found = second_order(params, collate([one])).numpy()
    for row, expected in zip(range(2), found, strict=True):
        hot = [slot for slot in one.content[row].tolist() if slot < SHAPE.content]
        x = np.concatenate([one.reader, np.ones(len(hot)), one.dense[row]])
        v = np.concatenate(
            [params["factors.reader"].numpy(), params["factors.content"].numpy()[hot], params["factors.dense"].numpy()]
        )
        total = sum(v[i] @ v[j] * x[i] * x[j] for i in range(len(x)) for j in range(i + 1, len(x)))
        assert expected == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_linear_logits_are_the_sum_over_all_inputs():
    rng = np.random.default_rng(2)
    params = {name: torch.randn(tensor.shape) for name, tensor in logistic(SHAPE, Setting(), rng).params.items()}
    one = inputs(rng, 3)
    table = np.append(params["content"].numpy(), 0.0)
    expected = params["bias"].item() + one.reader @ params["reader"].numpy() + one.dense @ params["dense"].numpy()
    np.testing.assert_allclose(
        linear_logits(params, collate([one])).numpy(), expected + table[one.content].sum(axis=1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("clicked", "slots", "looked"), [([0, 1, 0, 0], "examined", 3), ([0] * 4, "examined", 0), ([0] * 4, "shown", 4)]
)
def test_slots_to_learn_from(clicked, slots, looked):
    assert looked_at(np.array(clicked, bool), slots).tolist() == list(range(looked))


def test_the_inputs_of_hidden_linucb_are_a_part_of_the_dense_ones():
    columns = relative_columns(Config())
    assert 15 < len(columns) < 60


def request(number, at=START):
    return RankRequest(f"q{number}", at, 2, "u", context=Context("mobile", "home"))


def click(number, article_id, at=START):
    return React(at, (Event(f"e{number}-{article_id}", article_id, "click", at, request_id=f"q{number}", user_id="u"),))


ARTICLES = tuple(Article(name, f"{name} title", START, expires_at=START + timedelta(days=2)) for name in ("a", "b", "c"))


def test_a_peer_gets_its_lists_once_they_are_closed():
    class Recorder:
        minors, majors = [], []

        def scores(self, *request):
            places = np.arange(len(request[1]), dtype=float)
            return places, -places

        def minor(self, closed):
            self.minors.append([one.clicked.tolist() for one in closed])

        def major(self, closed):
            self.majors.append(len(closed))

    model = Recorder()
    peer = Peer(Config(feedback_window=600.0), model)
    peer.publish(Publish(START, ARTICLES))
    assert peer.rank(request(1)) == ["c", "b"]
    assert peer.own_list() == ["a", "b"]
    peer.react(click(1, "b"))
    peer.update(Update(START + timedelta(minutes=5), VersionKind.MINOR))
    peer.update(Update(START + timedelta(minutes=10), VersionKind.MINOR))
    peer.update(Update(START + timedelta(minutes=10), VersionKind.MAJOR))
    assert model.minors == [[], [[False, True]]]
    assert model.majors == [1]


def test_popularity_ranks_by_clicks_per_exposure_and_drops_what_is_gone():
    ranker = Popularity(np.random.default_rng(0))
    ranker.publish(Publish(START, ARTICLES))
    for number in range(8):
        ranker.rank(request(number))
        ranker.react(click(number, "c"))
    assert ranker.rank(request(8))[0] == "c"
    ranker.publish(Publish(START, withdrawn=("c",)))
    assert set(ranker.rank(request(9))) == {"a", "b"}
    assert ranker.rank(request(10, START + timedelta(days=3))) == []


def test_expected_clicks_are_those_of_the_readers():
    scenario, rng = NEWSROOM.but(readers=1), np.random.default_rng(0)
    audience, appeal = Audience(scenario, 0), np.array([0.5, 0.1, 0.3, 0.8])
    idle = rng.random(20_000) < scenario.idle_share
    drawn = [len(audience.look(appeal, scenario.mobile_patience, bool(one), rng).clicked) for one in idle]
    assert expected_clicks(appeal, scenario, mobile=True) == pytest.approx(np.mean(drawn), abs=0.02)


def test_discounted_gain_by_hand():
    assert discounted(np.array([0.5, 0.25, 1.0])) == pytest.approx(0.5 + 0.25 / np.log2(3) + 1.0 / 2)


def test_figures_of_counts_by_hand():
    counts = Counts(lists=2, slots=20, clicks=3, top_slots=10, top_clicks=2, sessions=6, habit=8.0)
    counts += Counts(judged=2, ndcg=1.5, similarity=0.5, shown=0.9, own=1.0, ideal=2.0)
    found = (counts.ctr, counts.precision, counts.returns, counts.quality, counts.ils, counts.regret)
    assert found == pytest.approx((0.15, 0.2, 0.75, 0.75, 0.25, 0.1))


def test_what_was_shown_is_held_against_what_it_would_have_been_without_exploring():
    """The judge's ILS of two equal articles is 1, and regret the loss from showing the worse one first."""
    simulation = Simulation(NEWSROOM.but(readers=1, days=1.0), 0, START)
    judge = Judge(simulation)
    steps = simulation.actions()
    action = next(steps)
    while not isinstance(action, Visit):
        if isinstance(action, Publish):
            judge.publish(action)
        action = next(steps)
    live = list(simulation.live)
    best = [live[i] for i in np.argsort(-simulation.appeal(action.reader, live))]
    for _ in range(3):  # one of three lists is judged
        judge.visit(action, best[-5:], lambda: best[:5])
    counts = next(iter(judge.bins.values()))
    assert counts.judged == 1
    assert counts.regret > 0.5
    assert counts.own < counts.ideal  # of ten slots, five were filled
    assert 0 < counts.quality < 0.5


def recovered(quality, bar=0.0):
    """Of one seed with one list per quarter of a day, after a shift on day 2."""
    return recovered_after(np.array([quality]), np.ones((1, len(quality))), 2, bar)


def test_recovery_by_hand():
    """Quality 1 until day 2; then .5 for a day and a half, then 1: a whole day is back from 1.5 days after the shift."""
    assert recovered([1.0] * 8 + [0.5] * 6 + [1.0] * 6) == 1.5
    assert recovered([1.0] * 8 + [0.5] * 12) == np.inf
    assert recovered([0.7] * 20) == 0


def test_who_had_nothing_to_lose_has_recovered_when_they_are_where_the_best_retrained_peer_was():
    """At .3 all the time: nothing was lost, and nothing regained. From .3 to .9: with .95 · .8 = .76, when that is reached."""
    assert recovered([0.3] * 20, bar=0.8) == np.inf
    assert recovered([0.3] * 12 + [0.9] * 8, bar=0.8) == 1.0
    assert recovered([1.0] * 8 + [0.7] * 4 + [1.0] * 8, bar=0.8) == 1.0  # its own level is the higher one


def test_all_are_held_against_the_best_retrained_peer():
    def run(method, quality):
        return Result(Task(method, 0), tuple(Counts(slots=1, habit=1.0, judged=1, ndcg=one) for one in quality))

    table = rows(
        [
            run("drn", [0.9] * 8 + [0.5] * 4 + [0.9] * 12),
            run("lr", [0.8] * 8 + [0.5] * 8 + [0.8] * 8),
            run("fm", [0.3] * 24),
            run("linucb", [1.0] * 8 + [0.6] * 16),
        ],
        2,
    )
    assert [row.recovery.days for row in table] == [1.0, 2.0, np.inf, np.inf]
    assert verdict(table)[-1] == "recovery: drn 1.00 [1.00, 1.00] days, best retrained peer lr 2.00 [2.00, 2.00]: at most half"


def test_an_interval_by_hand():
    """Three values 1, 2, 3: s = 1, t(2) = 4.303."""
    assert interval([1, 2, 3]) == pytest.approx((2, 4.303 / np.sqrt(3)))
    assert np.isnan(interval([1])[1])


def test_gaps_are_paired_by_seed():
    def run(method, seed, clicks):
        return Result(Task(method, seed), (Counts(slots=10, clicks=clicks, habit=1.0),))

    table = rows([run("drn", 0, 5), run("drn", 1, 7), run("lr", 0, 4), run("lr", 1, 6)], None)
    assert [row.method for row in table] == ["drn", "lr"]
    assert (table[1].ctr_gap.mean, table[1].ctr_gap.half) == pytest.approx((-0.1, 0.0))
    assert "**`drn`**" in markdown(table)
    assert "`lr`" in markdown(table)


def test_whole_runs_are_kept_and_read_again_under_the_same_options(tmp_path):
    path, asked = tmp_path / "runs.csv", options()
    one = Result(Task("random", 1), tuple(Counts(lists=i, habit=0.5) for i in range(4)))
    with record(path, asked) as add:
        add(one)
    with path.open("a") as file:
        file.write(",".join([asked.digest("popularity"), "taste", "popularity", "0", "0", *["0"] * 13]) + "\n")  # killed here
    assert finished(path, asked) == {one.task: one}
    assert finished(path, options(readers=11)) == {}


def test_every_method_meets_the_same_world():
    found = {perform(Task(method, 3), options(days=1)).bins[0].habit for method in ("random", "popularity")}
    assert len(found) == 1


def test_a_network_without_exploration_shows_its_own_list():
    config = options(methods=("ddqn",)).config("ddqn", 0)
    bins = play(Simulation(options().scenario, 0, START), ROWS["ddqn"].make(config, np.random.default_rng(0)), config, START).bins
    assert all(counts.shown == counts.own for counts in bins.values())


def test_where_nothing_can_be_learned_no_list_is_better_than_another():
    control = options(signal="none", methods=("random", "popularity", "linucb"), days=2)
    for method in control.methods:
        counts = total(perform(Task(method, 0), control).bins)
        assert (counts.quality, counts.regret) == pytest.approx((1, 0))
        assert counts.shown == pytest.approx(counts.ideal)


def test_the_command_prints_a_row_per_method_and_goes_on_from_its_file(tmp_path):
    csv_file, picture = tmp_path / "runs.csv", tmp_path / "days.svg"
    arguments = ["newsroom", "--seeds", "2", "--days", "1", "--readers", "8", "--minor", "240", "--major", "12", "--workers", "1"]
    arguments += ["--csv", str(csv_file), "--picture", str(picture)]
    result = CLI.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = re.findall(r"^(\S+) +CTR 0\.\d{4} ± 0\.\d{4}  P@5 0\.\d{4} ±.* recovery .* n 2", result.stdout, re.M)
    assert found == list(ROWS)
    assert "CTR: drn" in result.stdout
    assert picture.read_text().startswith("<svg")
    with csv_file.open() as file:
        assert len(list(csv.DictReader(file))) == len(ROWS) * 2 * 4
    size = csv_file.stat().st_size
    again = CLI.invoke(app, [*arguments, "--markdown"])
    assert csv_file.stat().st_size == size
    assert again.stdout.count("| `") + again.stdout.count("| **`") == len(ROWS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "magic"], "no method 'magic'"),
        (["--set", "taus=1"], "no such hyper-parameter: taus"),
        (["--signal", "loud"], "signal is 'loud'"),
        (["--csv", "nowhere-at-all/out.csv"], "no folder nowhere-at-all"),
    ],
)
def test_what_cannot_be_done_is_said_and_fails(arguments, message):
    result = CLI.invoke(app, ["newsroom", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
