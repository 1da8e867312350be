import numpy as np
import pytest

from drn.config import Config
from drn.exploration import es_gradient, judge, mirror, open_explore, perturb, settle, spread, step_towards, version_rng, z_score
from drn.types import DuelState, Verdict

CURRENT = {"w": np.array([1.0, 2.0, -4.0], np.float32), "b": np.zeros(2, np.float32)}
EXPLORE = {"w": np.array([2.0, 2.0, 0.0], np.float32), "b": np.ones(2, np.float32)}


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_perturbing_draws_one_number_per_weight():
    wide = {"w": np.ones(1_000, np.float32)}
    change = perturb(wide, 0.1, rng())["w"] - 1
    assert len(np.unique(change)) > 900
    assert change.min() == pytest.approx(-0.1, abs=0.01)
    assert change.max() == pytest.approx(0.1, abs=0.01)


def test_perturbing_does_not_depend_on_the_order_of_names():
    swapped = dict(reversed(CURRENT.items()))
    np.testing.assert_array_equal(perturb(CURRENT, 0.1, rng())["w"], perturb(swapped, 0.1, rng())["w"])


def test_a_win_moves_a_share_of_the_way_and_no_further():
    moved = step_towards(CURRENT, EXPLORE, 0.05)
    np.testing.assert_allclose(moved["w"], [1.05, 2.0, -3.8], rtol=1e-6)
    np.testing.assert_allclose(moved["b"], [0.05, 0.05], rtol=1e-6)


def test_a_thousand_wins_do_not_make_the_weights_grow():
    """Eq. 8 as printed, W + η·W̃, would make them 1.05^1000 times larger."""
    chance, weights = rng(), CURRENT
    for _ in range(1_000):
        weights = step_towards(weights, perturb(weights, 0.1, chance), 0.05)
    assert np.linalg.norm(weights["w"]) < 2 * np.linalg.norm(CURRENT["w"])


def test_the_mirror_image_lies_as_far_on_the_other_side():
    np.testing.assert_array_equal(mirror(CURRENT, EXPLORE)["w"], [0.0, 2.0, -8.0])


def test_es_gradient_by_hand():
    """σ = 0.5, ε = (2, 0, -1): (0.3 − 0.1) / (2·0.5) · ε = 0.2·ε."""
    second = {"w": CURRENT["w"] - 0.5 * np.array([2.0, 0.0, -1.0], np.float32)}
    gradient = es_gradient({"w": CURRENT["w"]}, second, (0.3, 0.1), 0.5)
    np.testing.assert_allclose(gradient["w"], [0.4, 0.0, -0.2], atol=1e-6)


def test_es_spreads_by_sigma_around_weights_of_any_size():
    wide = {"w": np.zeros(10_000, np.float32)}
    assert spread(wide, 0.02, rng())["w"].std() == pytest.approx(0.02, rel=0.05)


def test_a_guided_explore_network_starts_as_current():
    assert open_explore(CURRENT, Config(), rng()) is CURRENT


def test_a_guided_explore_network_may_start_with_noise():
    assert not np.array_equal(open_explore(CURRENT, Config(guided_noise=0.1), rng())["w"], CURRENT["w"])


def test_versions_draw_from_their_own_seeds():
    draws = {version_rng(Config(root_seed=seed), version).random() for seed in (0, 1) for version in (1, 2, 3)}
    assert len(draws) == 6
    assert version_rng(Config(), 3).random() == version_rng(Config(), 3).random()


def test_settling_adds_up():
    duel = settle(DuelState(id=4, impressions=1, wins=1, total=0.5, squares=0.25), [0.5, -0.25, 0.0])
    assert duel == DuelState(id=4, impressions=4, wins=2, losses=1, total=0.75, squares=0.5625)


def test_z_by_hand():
    """Outcomes 1, 0, 0, 1: mean .5, s² = 1/3, z = .5 / √(1/12)."""
    assert z_score(settle(DuelState(1), [1, 0, 0, 1])) == pytest.approx(0.5 / (1 / 12) ** 0.5)


@pytest.mark.parametrize(
    ("outcomes", "z"), [([], 0.0), ([1.0], 0.0), ([0.0, 0.0], 0.0), ([-0.5, -0.5], -np.inf), ([0.5, 0.5], np.inf)]
)
def test_z_without_spread(outcomes, z):
    assert z_score(settle(DuelState(1), outcomes)) == z


GUIDED = Config(duel_window=4)
RANDOM = Config(direction="random", duel_window=4)
ES = Config(direction="es")


@pytest.mark.parametrize(
    ("config", "outcomes", "verdict"),
    [
        (GUIDED, [-1, -1, -1], Verdict.UNDECIDED),
        (GUIDED, [-1, -1, -1, -0.9], Verdict.CURRENT_WON),
        (GUIDED, [-1, 1, -1, 1], Verdict.EXPLORE_WON),
        (GUIDED, [0, 0, 0, 0], Verdict.EXPLORE_WON),
        (RANDOM, [], Verdict.UNDECIDED),
        (RANDOM, [0.1], Verdict.EXPLORE_WON),
        (RANDOM, [-0.1], Verdict.CURRENT_WON),
        (RANDOM, [0, 0, 0], Verdict.UNDECIDED),
        (RANDOM, [0, 0, 0, 0], Verdict.CURRENT_WON),
        (ES, [], Verdict.UNDECIDED),
        (ES, [0.1], Verdict.EXPLORE_WON),
        (ES, [0.0], Verdict.CURRENT_WON),
    ],
)
def test_verdicts(config, outcomes, verdict):
    assert judge(DuelState(1), outcomes, config)[1] is verdict


def test_a_duel_goes_on_where_it_stopped():
    duel, verdict = judge(DuelState(1), [-1, -1], GUIDED)
    assert verdict is Verdict.UNDECIDED
    assert judge(duel, [-1, -0.9], GUIDED) == judge(DuelState(1), [-1, -1, -1, -0.9], GUIDED)
