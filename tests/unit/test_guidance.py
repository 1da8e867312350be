from dataclasses import replace

import numpy as np
import pytest
import torch

from drn.checkpoint import digest
from drn.config import Config
from drn.guidance import guided_steps, pairwise_loss, preferences
from drn.model import InputShape, initial_weights
from drn.network import to_tensors
from drn.scoring import Scorer
from drn.transitions import Experience
from drn.types import Inputs, Model, Weights

CONFIG = Config(advantage_layers=(8, 4), value_layers=(4,), guided_batch=4)
SHAPE = InputShape(reader=3, content=5, dense=4)
N, K = 6, 4


def taught(count: int, seed: int = 1) -> list[Experience]:
    """Lists of four of six candidates with a click on one of the first three slots."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(count):
        inputs = Inputs(
            rng.standard_normal(SHAPE.reader).astype(np.float32),
            rng.integers(0, SHAPE.content + 1, (N, 2)).astype(np.uint16),
            rng.standard_normal((N, SHAPE.dense)).astype(np.float32),
        )
        click = int(rng.integers(3))
        scores = rng.standard_normal((2, N)).astype(np.float32)
        made.append(
            Experience(
                features=inputs,
                at=float(at),
                shown=rng.permutation(N)[:K].astype(np.int32),
                clicked=np.arange(K) == click,
                examined=np.arange(K) <= click + 1,
                pinned=np.zeros(K, np.bool_),
                reward=np.zeros(K, np.float32),
                current_scores=scores[0],
                explore_scores=scores[1],
            )
        )
    return made


@pytest.fixture
def start():
    return initial_weights(SHAPE, CONFIG, np.random.default_rng(0))


def test_two_updates_are_one_when_the_memory_goes_along(start):
    lists = taught(16)
    whole = guided_steps(start, {}, lists, CONFIG)
    parts = guided_steps(*guided_steps(start, {}, lists[:8], CONFIG), lists[8:], CONFIG)
    assert [digest(one) for one in whole] == [digest(one) for one in parts]
    assert whole[1]["step"].tolist() == [4.0]


def test_after_a_retraining_steps_are_small_and_properties_move_by_their_share(start):
    """The first step of Adam goes by the rate itself, whatever the gradient: here half of it."""
    slots = {f"{group}_slots": 1 for group in ("provider", "category", "topic", "entity", "word")}  # SHAPE's five
    config = replace(CONFIG, guided_rate=1e-3, table_rate=0.1, **slots)
    after, _ = guided_steps(start, {}, taught(4), config, new_share=0.5)
    assert np.abs(after["advantage.dense"] - start["advantage.dense"]).max() == pytest.approx(5e-4, rel=1e-2)
    by_slot = np.abs(after["advantage.content"] - start["advantage.content"]).max(axis=1)
    assert by_slot == pytest.approx([5e-4, 5e-4, 5e-4, 5e-5, 5e-5], rel=1e-2)  # entities and words are seldom met


def test_forgetting_the_memory_leads_elsewhere(start):
    lists = taught(16)
    weights, _ = guided_steps(start, {}, lists[:8], CONFIG)
    assert digest(guided_steps(weights, {}, lists[8:], CONFIG)[0]) != digest(guided_steps(start, {}, lists, CONFIG)[0])


def test_equal_feedback_gives_equal_weights(start):
    first, second = (guided_steps(start, {}, taught(9), CONFIG) for _ in range(2))
    assert digest(first[0]) == digest(second[0])


def test_a_preferred_article_rises_above_the_one_passed_over(start):
    one = replace(taught(1)[0], clicked=np.arange(K) == 0, examined=np.arange(K) <= 1)
    after, _ = guided_steps(start, {}, [one] * 400, CONFIG)

    def lead(weights: Weights) -> float:
        score = Scorer(Model(weights, weights), CONFIG).scores(one.features)[0]
        return float(score[one.shown[0]] - score[one.shown[1]])

    assert lead(after) > lead(start) + 0.1


def test_only_the_advantage_moves(start):
    after, memory = guided_steps(start, {}, taught(8), CONFIG)
    moved = {name for name in start if not np.array_equal(after[name], start[name])}
    assert moved == {name for name in start if name.startswith("advantage.")} - {"advantage.out.bias"}
    assert not any("value" in name for name in memory)


@pytest.mark.parametrize(
    "change",
    [
        {"clicked": np.zeros(K, np.bool_)},
        {"pinned": np.ones(K, np.bool_)},
        {"examined": np.zeros(K, np.bool_)},
        {"drawn": False},
    ],
)
def test_lists_without_a_preference_teach_nothing_and_take_no_step(start, change):
    lists = [replace(one, **change) for one in taught(8)]
    after, memory = guided_steps(start, {}, lists, CONFIG)
    assert digest(after) == digest(start)
    assert memory["step"].tolist() == [0.0]


def test_no_feedback_changes_nothing(start):
    assert digest(guided_steps(start, {}, [], CONFIG)[0]) == digest(start)


def test_the_gradient_is_the_slope_of_the_loss(start):
    lists = list(preferences(taught(1), CONFIG))
    params = to_tensors(start)
    out = params["advantage.out.weight"].requires_grad_()
    (gradient,) = torch.autograd.grad(pairwise_loss(params, lists, "relu"), [out])
    probe = np.float32(1e-2) * gradient.numpy() / gradient.norm().item()
    up, down = ({**params, "advantage.out.weight": out.detach() + sign * torch.from_numpy(probe)} for sign in (1, -1))
    slope = (pairwise_loss(up, lists, "relu") - pairwise_loss(down, lists, "relu")).item() / 2e-2
    assert slope == pytest.approx(gradient.norm().item(), rel=0.02)


def test_the_loss_by_hand():
    """Scores A = 1, 0, −1 (dense input is the score), pairs (0,1) and (2,1) with ρ = .5 and .25: −(.5·σ(1) + .25·σ(−1))."""
    params = {
        "advantage.dense": torch.tensor([[1.0, -1.0]]),
        "advantage.bias": torch.zeros(2),
        "advantage.out.weight": torch.tensor([1.0, -1.0]),
        "advantage.out.bias": torch.zeros(1),
    }
    (one,) = preferences([linear_list()], CONFIG)
    one = replace(one, pairs=torch.tensor([[0, 1], [2, 1]]), weight=torch.tensor([0.5, 0.25]))
    expected = -(0.5 * 0.7310586 + 0.25 * 0.2689414)
    assert pairwise_loss(params, [one], "relu").item() == pytest.approx(expected, rel=1e-6)


def linear_list() -> Experience:
    dense = np.array([[1.0], [0.0], [-1.0]], np.float32)
    inputs = Inputs(np.zeros(0, np.float32), np.zeros((3, 0), np.uint16), dense)
    scores, off = dense[:, 0], np.zeros(3, np.bool_)
    clicked = np.array([True, False, False])
    return Experience(inputs, 0.0, np.arange(3, dtype=np.int32), clicked, ~off, off, clicked.astype(np.float32), scores, scores)
