import numpy as np
import pytest

from drn.config import Config
from drn.errors import InvalidInput
from drn.replay import Replay
from drn.transitions import TERMINAL, Experience
from drn.types import Inputs

CONFIG = Config(replay_half_life=100.0)


def lists(times: list[float], examined: list[bool] | None = None) -> Replay:
    inputs = Inputs(np.zeros(0, np.float32), np.zeros((1, 0), np.uint16), np.zeros((1, 1), np.float32))
    score, off = np.zeros(1, np.float32), np.zeros(1, np.bool_)
    looked = examined or [True] * len(times)
    experiences = [
        Experience(inputs, at, np.zeros(1, np.int32), off, np.array([seen]), off, score, score, score)
        for at, seen in zip(times, looked, strict=True)
    ]
    return Replay(experiences, np.full(len(times), TERMINAL))


def drawn(replay: Replay, now: float, size: int = 30_000) -> np.ndarray:
    among = replay.informative()
    return np.bincount(replay.sample(among, size, now, CONFIG, np.random.default_rng(0)), minlength=len(replay)) / size


def test_a_half_life_halves_the_chance():
    np.testing.assert_allclose(drawn(lists([0.0, 100.0, 200.0]), 200.0), [1 / 7, 2 / 7, 4 / 7], atol=0.01)


def test_only_differences_in_age_count_however_old_all_of_it_is():
    np.testing.assert_allclose(drawn(lists([0.0, 100.0]), 1e9), [1 / 3, 2 / 3], atol=0.01)


def test_a_clock_behind_the_log_does_not_overflow():
    np.testing.assert_allclose(drawn(lists([0.0, 1e9]), 0.0), [0, 1])


def test_lists_that_nobody_is_known_to_have_looked_at_are_not_drawn():
    replay = lists([0.0, 0.0, 0.0], [True, False, True])
    assert replay.informative().tolist() == [0, 2]
    assert drawn(replay, 0.0)[1] == 0


@pytest.mark.parametrize("successors", [[0], [2, TERMINAL], [-2, 0], [[0, 0]]])
def test_successors_must_lie_in_the_replay(successors):
    with pytest.raises(InvalidInput, match="successors"):
        Replay(lists([0.0, 1.0]).experiences, np.array(successors))


def test_a_replay_may_be_empty():
    assert len(Replay.of([], CONFIG, now=None)) == 0  # type: ignore[arg-type]
