import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drn.config import Config
from drn.exploration import judge, mirror, perturb, settle, step_towards, z_score
from drn.types import DuelState, Verdict

OUTCOMES = st.lists(st.integers(-8, 8).map(lambda eighth: eighth / 8), max_size=40)  # exact in binary, as are their sums
SEEDS = st.integers(0, 2**32 - 1)


@given(OUTCOMES, OUTCOMES)
def test_settling_in_parts_is_settling_at_once(first, second):
    assert settle(settle(DuelState(1), first), second) == settle(DuelState(1), first + second)


@given(OUTCOMES)
def test_swapping_the_networks_flips_the_score(outcomes):
    assert z_score(settle(DuelState(1), [-one for one in outcomes])) == -z_score(settle(DuelState(1), outcomes))


@given(OUTCOMES)
def test_a_guided_duel_is_open_exactly_until_its_window_is_full(outcomes):
    _, verdict = judge(DuelState(1), outcomes, Config(duel_window=20))
    assert (verdict is Verdict.UNDECIDED) == (len(outcomes) < 20)


@given(SEEDS, st.floats(0, 0.5))
def test_a_perturbation_stays_within_alpha_and_keeps_zeros(seed, alpha):
    weights = {"w": np.array([0.0, 1.0, -3.0, 1e-3], np.float32)}
    changed = perturb(weights, alpha, np.random.default_rng(seed))["w"]
    assert (np.abs(changed - weights["w"]) <= (alpha + 1e-6) * np.abs(weights["w"])).all()


@given(SEEDS, st.floats(0, 1))
def test_a_step_ends_between_the_two_networks(seed, eta):
    rng = np.random.default_rng(seed)
    current, explore = ({"w": rng.standard_normal(20).astype(np.float32)} for _ in range(2))
    moved = step_towards(current, explore, eta)["w"]
    low, high = np.minimum(current["w"], explore["w"]), np.maximum(current["w"], explore["w"])
    assert ((moved >= low - 1e-6) & (moved <= high + 1e-6)).all()


@given(SEEDS)
def test_mirroring_twice_gives_the_network_back(seed):
    rng = np.random.default_rng(seed)
    current, explore = ({"w": rng.standard_normal(20).astype(np.float32)} for _ in range(2))
    np.testing.assert_allclose(mirror(current, mirror(current, explore))["w"], explore["w"], atol=1e-5)
