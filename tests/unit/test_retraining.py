from dataclasses import replace

import numpy as np
import pytest

from drn.config import Config
from drn.network import to_weights
from drn.replay import Replay
from drn.retraining import Draws, Trainer, draw, held_out, retrain, z_of_mean
from drn.transitions import TERMINAL, Experience
from drn.types import Inputs, Weights

CONFIG = Config(
    advantage_layers=(2,),
    value_layers=(2,),
    activation="relu",
    gamma=0.4,
    replay_half_life=1e9,
    listwise_weight=0.0,
    gate="none",
    major_average=0,
    major_halfway=0,
)

# A(s,a) = the one dense input, V(s) = the one reader input: relu(x) − relu(−x) is the identity.
IDENTITY: Weights = {
    "advantage.reader": np.zeros((1, 2), np.float32),
    "advantage.dense": np.array([[1, -1]], np.float32),
    "advantage.bias": np.zeros(2, np.float32),
    "advantage.out.weight": np.array([1, -1], np.float32),
    "advantage.out.bias": np.zeros(1, np.float32),
    "value.reader": np.array([[1, -1]], np.float32),
    "value.bias": np.zeros(2, np.float32),
    "value.out.weight": np.array([1, -1], np.float32),
    "value.out.bias": np.zeros(1, np.float32),
}


def listed(value: float, dense: list[float], clicked: list[bool], examined: list[bool], at: float = 0.0) -> Experience:
    """Candidates with A = `dense` in a state with V = `value`; all but the last one were shown, in order."""
    inputs = Inputs(
        np.array([value], np.float32), np.zeros((len(dense), 0), np.uint16), np.array(dense, np.float32).reshape(-1, 1)
    )
    scores, click = np.array(dense, np.float32), np.array(clicked)
    shown = np.arange(len(dense) - 1, dtype=np.int32)
    off = np.zeros(len(click), np.bool_)
    return Experience(inputs, at, shown, click, np.array(examined), off, click.astype(np.float32), scores, scores)


FIRST = listed(0.5, [0.25, -0.5, 9.0], [True, False], [True, True])
SECOND = listed(-1.0, [0.5, 0.0, 2.0], [False, True], [True, True], at=1.0)


def trainer(*experiences: Experience, successors: list[int], **changes: float) -> Trainer:
    return Trainer(
        IDENTITY, Replay(experiences, np.array(successors)), np.arange(len(experiences)), 1, replace(CONFIG, **changes)
    )


def loss_of(one: Trainer, *lists: int) -> float:
    return one.batch_loss(np.array(lists), one.following(np.array(lists))).item()


def test_the_loss_of_two_linked_lists_by_hand():
    """γ = .4. s' of FIRST is SECOND, whose best candidate was not shown: Q = −1 + 2 = 1, so y = (1.4, .4) against
    Q = (.75, 0). SECOND is terminal: y = (0, 1) against Q = (−.5, −1). Huber: (.65² + .4² + .5²) / 2 and 2 − ½.
    """
    loss = loss_of(trainer(FIRST, SECOND, successors=[1, TERMINAL], gamma=0.4), 0, 1)
    assert loss == pytest.approx(((0.65**2 + 0.4**2 + 0.5**2) / 2 + 1.5) / 4, rel=1e-5)


def test_without_discount_the_future_does_not_count():
    loss = loss_of(trainer(FIRST, SECOND, successors=[1, TERMINAL], gamma=0.0), 0)
    assert loss == pytest.approx((0.25**2 / 2) / 2, rel=1e-5)


def test_slots_that_nobody_looked_at_have_no_target():
    unseen = replace(FIRST, examined=np.array([True, False]))
    loss = loss_of(trainer(unseen, successors=[TERMINAL]), 0)
    assert loss == pytest.approx(0.25**2 / 2, rel=1e-5)


def test_the_older_copy_chooses_nothing_but_values_what_w_chose():
    """W turned upside down likes SECOND's 0.0 best (its 2.0 became −2); the copy values that at −1 + 0."""
    one = trainer(FIRST, SECOND, successors=[1, TERMINAL])
    one.params["advantage.out.weight"] = -one.params["advantage.out.weight"]
    assert one.following(np.array([0, 1])).tolist() == [-1.0, 0.0]


def test_the_older_copy_is_what_w_was_a_pass_ago():
    one = trainer(FIRST, successors=[TERMINAL])
    one.params["advantage.bias"] = one.params["advantage.bias"] + 4
    assert one.target["advantage.bias"].tolist() == [0.0, 0.0]
    one.following(np.array([0]))
    assert one.target["advantage.bias"].tolist() == [4.0, 4.0]


def test_lists_that_nobody_looked_at_may_come_next():
    """s. of list 1 is list 0: y = r + .4·(.5 + 9)."""
    unseen = replace(FIRST, clicked=np.zeros(2, np.bool_), examined=np.zeros(2, np.bool_))
    one = trainer(unseen, SECOND, successors=[TERMINAL, 0], gamma=0.4)
    assert one.following(np.array([1])).tolist() == [0.0, 9.5]
    assert loss_of(trainer(unseen, SECOND, successors=[TERMINAL, 0], gamma=0.0), 1) == pytest.approx((0.5**2 / 2 + 1.5) / 2)


def test_steps_by_what_is_new():
    """300 lists a second apart. In the last 25 s, period and feedback window, there are 24 or 25 of them: ⌈4 · 25 / 10⌉ steps."""
    told: list[tuple[int, int]] = []
    config = replace(CONFIG, major_epochs=4.0, major_batch=10, major_period=20.0, feedback_window=5.0)
    replay = many(300, [True, False])
    retrain(IDENTITY, replay, 299.0, config, np.random.default_rng(0), lambda done, steps: told.append((done, steps)))
    assert told[-1] == (10, 10)
    retrain(
        IDENTITY, replay, 299.0, config, np.random.default_rng(0), lambda done, steps: told.append((done, steps)), untrained=True
    )
    assert told[-1] == (120, 120)
    _, _, accepted = retrain(
        IDENTITY, replay, 9e6, config, np.random.default_rng(0), lambda done, steps: told.append((done, steps))
    )
    assert accepted
    assert told[-1] == (1, 1)  # nothing is new: a step all the same


def test_the_listwise_loss_is_added_by_its_weight():
    """Not drawn from a mixture, so the rival counts whole: log(1 + e^(−.5 − .25)) = .3869."""
    alone = replace(FIRST, drawn=False)
    plain = loss_of(trainer(alone, successors=[TERMINAL]), 0)
    both = loss_of(trainer(alone, successors=[TERMINAL], listwise_weight=2.0), 0)
    assert both - plain == pytest.approx(2 * np.log1p(np.exp(-0.75)), rel=1e-5)


def test_learning_lowers_the_loss_towards_the_reward():
    config = replace(CONFIG, major_epochs=200.0, major_batch=2, major_rate=0.01)
    replay = Replay([FIRST, SECOND], np.array([TERMINAL, TERMINAL]))
    weights, metrics, accepted = retrain(IDENTITY, replay, 1.0, config, np.random.default_rng(0))
    assert accepted
    assert metrics["loss"] < 0.02
    assert all(np.isfinite(tensor).all() for tensor in weights.values())


def test_the_gates_figures_by_hand():
    """FIRST's one pair is right under both. OTHER, its network's scores 0.5 and 0, was logged the other way round: its pair was
    right in the log and is wrong now. THREE has two pairs of equal weight, and one of them turns right.
    """
    other = replace(SECOND, current_scores=np.array([0.0, 1.0, 5.0], np.float32))
    three = listed(0.0, [0.5, 0.0, 1.0, 9.0], [True, False, False], [True] * 3)
    three = replace(three, current_scores=np.array([0.5, 1.0, 1.0, 9.0], np.float32), drawn=False)
    learner = trainer(FIRST, other, three, successors=[TERMINAL] * 3)
    gains = learner.gains(to_weights(learner.params), np.array([0, 1, 2]))
    assert gains.tolist() == [0.0, -1.0, 0.5]
    assert z_of_mean(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 * 3**0.5)
    assert z_of_mean(np.zeros(3)) == 0.0


def many(count: int, clicked: list[bool]) -> Replay:
    return Replay([replace(FIRST, clicked=np.array(clicked), at=float(at)) for at in range(count)], np.full(count, TERMINAL))


def test_the_newest_share_judges():
    config = replace(CONFIG, gate="offline", gate_share=0.1)
    replay = many(300, [True, False])
    draws = draw(replay, 300.0, config, np.random.default_rng(0))
    assert held_out(replay, config).tolist() == draws.judges.tolist() == list(range(270, 300))
    assert draws.phases[0].max() < 270


def test_a_retraining_looks_at_what_is_drawn_and_what_follows_it_and_nothing_else():
    held = Replay([FIRST] * 6, np.array([3, 4, 5, TERMINAL, TERMINAL, TERMINAL]))
    draws = Draws(np.arange(6), 1, np.array([5]), (np.array([0, 0]), np.array([1])))
    assert draws.needed(held, replace(CONFIG, gamma=0.4)).tolist() == [0, 1, 3, 4, 5]
    assert draws.needed(held, replace(CONFIG, gamma=0.0)).tolist() == [0, 1, 5]


def test_the_judges_have_a_limit():
    config = replace(CONFIG, gate="offline", gate_share=0.5, gate_lists=30)
    assert held_out(many(300, [True, False]), config).tolist() == list(range(270, 300))


def test_too_few_judges_or_no_gate_hold_nothing_back():
    config = replace(CONFIG, gate="offline", gate_share=0.1)
    for replay, setting in (
        (many(190, [True, False]), config),
        (many(300, [True, True]), config),
        (many(300, [True, False]), CONFIG),
    ):
        draws = draw(replay, 300.0, setting, np.random.default_rng(0))
        assert not len(draws.judges)
        assert not len(draws.phases[1])


def turned_round() -> Replay:
    """The older 270 lists teach that small is good; the newest 30, which judge, say the opposite, as LINEAR does."""
    upside_down = replace(FIRST, clicked=np.array([False, True]), reward=np.array([0, 1], np.float32))
    lists = [replace(upside_down if at < 270 else FIRST, drawn=False, at=float(at)) for at in range(300)]
    return Replay(lists, np.full(300, TERMINAL))


LINEAR = {**IDENTITY, "advantage.bias": np.full(2, 5, np.float32)}  # A = 2x, far from where a relu dies
GATED = replace(CONFIG, gate="offline", gate_share=0.1, listwise_weight=1.0, major_rate=0.02, major_batch=16)


def test_a_network_that_got_worse_on_the_newest_lists_is_refused():
    config = replace(GATED, major_epochs=40.0)
    _, metrics, accepted = retrain(LINEAR, turned_round(), 300.0, config, np.random.default_rng(0))
    assert not accepted
    assert metrics["gate_gain"] == -1.0
    assert metrics["gate_z"] < config.gate_z


def test_the_gate_judges_what_would_be_served():
    """The same, of which all but little is left out: ten lists are new, and `major_average` makes nothing of them."""
    config = replace(GATED, major_epochs=1_000.0, major_period=5.0, feedback_window=5.0)
    for average, gain, passes in ((0, -1.0, False), (1_000_000, 0.0, True)):
        averaged = replace(config, major_average=average)
        _, metrics, accepted = retrain(LINEAR, turned_round(), 300.0, averaged, np.random.default_rng(0))
        assert (metrics["gate_gain"], accepted) == (gain, passes)


def test_a_network_that_is_as_good_on_the_newest_lists_passes():
    config = replace(CONFIG, gate="offline", gate_share=0.1, listwise_weight=1.0)
    _, metrics, accepted = retrain(IDENTITY, many(300, [True, False]), 300.0, config, np.random.default_rng(0))
    assert accepted
    assert metrics["gate_gain"] == metrics["gate_z"] == 0.0


def test_the_rate_falls_to_nothing():
    """With Adam a step is as long as the rate: the loss has the same sign of slope at every step of one list."""
    told = []
    config = replace(CONFIG, major_epochs=4.0, major_batch=1, major_rate=1e-3)
    replay = Replay([replace(FIRST, reward=np.full(2, 9, np.float32))], np.array([TERMINAL]))
    weights, _, _ = retrain(
        IDENTITY, replay, 1.0, config, np.random.default_rng(0), lambda done, steps: told.append((done, steps))
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert weights["value.out.bias"][0] == pytest.approx(1e-3 * (1 + 0.75 + 0.5 + 0.25), rel=1e-3)


def test_an_average_over_retrainings_unless_most_of_it_was_new():
    """20 new lists where the average is over 60: a quarter of the way."""
    config = replace(CONFIG, major_epochs=1.0, major_batch=1, major_period=20.0, feedback_window=0.0)
    replay = many(300, [True, False])  # 20 of them are new

    def retrained(average: int, untrained: bool = False) -> Weights:
        changed = replace(config, major_average=average)
        return retrain(IDENTITY, replay, 299.0, changed, np.random.default_rng(0), untrained=untrained)[0]

    whole, part = retrained(0), retrained(60)
    for name, tensor in IDENTITY.items():
        np.testing.assert_allclose(part[name], tensor + (whole[name] - tensor) / 4, atol=1e-6)
    np.testing.assert_array_equal(retrained(60, True)["value.bias"], retrained(0, True)["value.bias"])


def test_properties_learn_at_their_share_of_the_rate():
    """One property of the reader, whose weight in A goes by a tenth of what its bias goes."""
    config = replace(CONFIG, major_epochs=1.0, major_batch=1, major_rate=1e-3, table_rate=0.1)
    one = Replay([replace(FIRST, reward=np.full(2, 9, np.float32))], np.array([TERMINAL]))
    linear = {**IDENTITY, "advantage.bias": np.full(2, 5, np.float32)}
    weights, _, _ = retrain(linear, one, 1.0, config, np.random.default_rng(0))
    assert weights["advantage.bias"][0] - 5 == pytest.approx(1e-3, rel=1e-3)
    assert weights["advantage.reader"][0, 0] == pytest.approx(1e-4, rel=1e-3)
    assert weights["value.reader"][0, 0] - 1 == pytest.approx(1e-3, rel=1e-3)


def test_what_is_not_finite_is_never_accepted(monkeypatch):
    for gate in ("none", "offline"):
        config = replace(CONFIG, major_rate=1e30, gate=gate, gate_share=0.2)
        weights, metrics, accepted = retrain(IDENTITY, many(300, [True, False]), 300.0, config, np.random.default_rng(0))
        assert not accepted
        assert weights is IDENTITY
        assert metrics["finite"] == 0
        assert all(np.isfinite(value) for value in metrics.values())
    monkeypatch.setattr(Trainer, "gains", lambda *_: np.full(20, np.nan))  # scores that overflow, of weights that do not
    _, metrics, accepted = retrain(
        IDENTITY, many(300, [True, False]), 300.0, replace(CONFIG, gate="offline", gate_share=0.2), np.random.default_rng(0)
    )
    assert not accepted
    assert "gate_z" not in metrics


def test_lists_of_which_nothing_is_known_teach_nothing():
    silent = replace(FIRST, clicked=np.zeros(2, np.bool_), examined=np.zeros(2, np.bool_))
    weights, metrics, accepted = retrain(IDENTITY, Replay([silent], np.array([TERMINAL])), 1.0, CONFIG, np.random.default_rng(0))
    assert weights is IDENTITY
    assert metrics == {"replay": 1.0, "usable": 0.0}
    assert not accepted
