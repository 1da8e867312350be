from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from drn.catalogue import Catalogue
from drn.config import Config
from drn.errors import InvalidInput, NoCandidates
from drn.features import input_shape
from drn.holdback import half
from drn.interleaving import boosted, ranks, slot_shares
from drn.model import initial_weights
from drn.ranking import Served, decide, derive, request_seed
from drn.readers import Reader
from drn.scoring import Scorer
from drn.types import Article, Boost, Impression, Model, Pin, RankRequest

CONFIG = Config()
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    catalogue = Catalogue(CONFIG)
    for i in range(30):
        catalogue.put(Article(f"a{i}", f"Headline number {i}", NOW, category=f"c{i % 5}"))
    return catalogue


@pytest.fixture(scope="module")
def served() -> Served:
    rng = np.random.default_rng(1)
    shape = input_shape(CONFIG)
    model = Model(initial_weights(shape, CONFIG, rng), initial_weights(shape, CONFIG, rng))
    return Served(7, CONFIG, CONFIG.tau, Scorer(model, CONFIG))


def ask(catalogue: Catalogue, served: Served, **changes: object) -> Impression:
    request = RankRequest(**{"request_id": "r1", "at": NOW, "k": 5, **changes})  # type: ignore[arg-type]
    return decide(request, served, catalogue, Reader(10), NOW)


def test_a_decision_is_a_function_of_its_request(catalogue: Catalogue, served: Served) -> None:
    first, second = ask(catalogue, served), ask(catalogue, served)
    assert first.article_ids == second.article_ids
    assert len(set(first.article_ids)) == 5
    assert {ask(catalogue, served, request_id=f"r{i}").article_ids for i in range(20)} != {first.article_ids}


def test_the_logged_row_alone_gives_the_same_list(catalogue: Catalogue, served: Served) -> None:
    for changes in ({}, {"explore": False}, {"pinned": (Pin("a3", 0), Pin("a4", 4))}, {"candidates": ("a1", "a2", "zz")}):
        logged = ask(catalogue, served, **changes)
        again = derive(logged, served)
        assert again.article_ids == logged.article_ids
        np.testing.assert_array_equal(again.interleaving.credit, logged.interleaving.credit)
        np.testing.assert_allclose(again.explore_scores, logged.explore_scores, atol=1e-5)


def test_another_version_cannot_answer_for_a_decision(catalogue: Catalogue, served: Served) -> None:
    with pytest.raises(InvalidInput, match="version 7"):
        derive(ask(catalogue, served), Served(8, CONFIG, CONFIG.tau, served.scorer))


def test_pins_hold_their_places_and_exclusions_theirs(catalogue: Catalogue, served: Served) -> None:
    shown = ask(catalogue, served, pinned=(Pin("a9", 1), Pin("gone", 2)), exclude=("a0", "a1", "a2"))
    assert shown.article_ids[1] == "a9"
    assert shown.unknown == ("gone",)
    assert shown.interleaving.pinned.tolist() == [False, True, False, False, False]
    assert not {"a0", "a1", "a2"} & set(shown.candidates)
    alone = ask(catalogue, served, candidates=("a1",), pinned=(Pin("a9", 4),))
    assert alone.article_ids == ("a1", "a9")


def test_boosts_move_both_rankings_and_no_score(catalogue: Catalogue, served: Served) -> None:
    """+50 lifts one above, −50 another below whatever the networks say; two boosts of one article add up."""
    plain = ask(catalogue, served, k=30)
    boosts = (Boost("a9", 30.0), Boost("a9", 20.0), Boost("a4", -50.0), Boost("ghost", 1.0), Boost("a3", 0.5))
    for explore in (True, False):
        logged = ask(catalogue, replace(served, tau=40.0), k=30, boosts=boosts, explore=explore)
        assert (logged.article_ids[0], logged.article_ids[-1]) == ("a9", "a4")
        assert logged.interleaving.credit[0] == 0.5  # both networks put it there
        np.testing.assert_array_equal(logged.current_scores, plain.current_scores)
        assert logged.boosts is not None
        assert logged.boosts[[3, 4, 9]].tolist() == [0.5, -50.0, 50.0]
        assert np.count_nonzero(logged.boosts) == 3
        again = derive(logged, replace(served, tau=40.0))
        assert again.article_ids == logged.article_ids
        np.testing.assert_array_equal(again.interleaving.propensity, logged.interleaving.propensity)
    assert ask(catalogue, served, boosts=(Boost("ghost", 1.0),)).boosts is None


def test_shares_are_those_of_the_boosted_rankings(catalogue: Catalogue, served: Served) -> None:
    logged = ask(catalogue, served, boosts=(Boost("a9", 0.1), Boost("a3", -0.2)))
    rankings = [ranks(boosted(scores, logged.boosts)) for scores in (logged.current_scores, logged.explore_scores)]
    merged = logged.interleaving
    credit, propensity = slot_shares(*rankings, merged.shown, merged.pinned, served.tau)
    np.testing.assert_allclose(merged.credit, credit, rtol=1e-6)
    np.testing.assert_allclose(merged.propensity, propensity, rtol=1e-6)


def test_without_exploration_the_current_network_decides_alone(catalogue: Catalogue, served: Served) -> None:
    shown = ask(catalogue, served, explore=False)
    best = np.argsort(-shown.current_scores, kind="stable")[:5]
    assert shown.interleaving.shown.tolist() == best.tolist()
    assert (shown.interleaving.credit == 0.5).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pinned": (Pin("a1", 0), Pin("a2", 0))}, "one position"),
        ({"pinned": (Pin("a1", 0), Pin("a1", 1))}, "two positions"),
        ({"pinned": (Pin("a1", 5),)}, "outside 0 to 4"),
        ({"pinned": (Pin("a1", 0),), "exclude": ("a1",)}, "both pinned and excluded"),
    ],
)
def test_contradictions_are_refused(catalogue: Catalogue, served: Served, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ask(catalogue, served, **changes)


def test_nothing_to_rank_is_an_error_that_names_what_is_unknown(catalogue: Catalogue, served: Served) -> None:
    with pytest.raises(NoCandidates) as error:
        ask(catalogue, served, candidates=("x", "y"))
    assert error.value.unknown == ("x", "y")


def test_scores_that_are_not_finite_fall_back_openly(catalogue: Catalogue) -> None:
    shape = input_shape(CONFIG)
    broken = {
        name: tensor * np.float32(np.nan) for name, tensor in initial_weights(shape, CONFIG, np.random.default_rng(0)).items()
    }
    shown = ask(catalogue, Served(7, CONFIG, CONFIG.tau, Scorer(Model(broken, broken), CONFIG)))
    assert shown.fallback is not None
    assert "click rate" in shown.fallback
    assert np.isfinite(shown.current_scores).all()


def test_without_a_sound_explore_network_current_ranks_alone(catalogue: Catalogue, served: Served) -> None:
    shape = input_shape(CONFIG)
    sound = initial_weights(shape, CONFIG, np.random.default_rng(1))
    broken = {name: tensor * np.float32(np.nan) for name, tensor in sound.items()}
    half_broken = Served(7, CONFIG, CONFIG.tau, Scorer(Model(sound, broken), CONFIG))
    shown = ask(catalogue, half_broken)
    assert shown.fallback == "the explore network's scores were not finite: ranked by current alone"
    np.testing.assert_allclose(shown.current_scores, ask(catalogue, served).current_scores, atol=1e-6)
    np.testing.assert_array_equal(shown.explore_scores, shown.current_scores)
    assert derive(shown, half_broken).article_ids == shown.article_ids


def test_a_boost_beyond_all_scores_is_refused(catalogue: Catalogue, served: Served) -> None:
    with pytest.raises(InvalidInput, match="boost"):
        ask(catalogue, served, boosts=(Boost("a0", 1e39),))


def test_seeds_are_the_same_everywhere() -> None:
    assert request_seed("r1") == 1756039562096111297
    assert all(0 <= request_seed(f"r{i}") < 2**63 for i in range(100))


def held_back(side: int) -> str:
    return next(name for name in map(str, range(10_000)) if half(name, CONFIG.holdback_share) == side)


def test_the_reference_answers_one_half_of_the_lists_that_are_held_back(catalogue: Catalogue, served: Served) -> None:
    """Each as its version alone would rank, without exploration, and so that the row alone leads to it again."""
    rng = np.random.default_rng(2)
    frozen = initial_weights(input_shape(CONFIG), CONFIG, rng)
    reference = Served(3, CONFIG, CONFIG.tau, Scorer(Model(frozen, frozen), CONFIG))
    both = replace(served, reference=reference)
    for side, version in ((1, served), (-1, reference)):
        impression = ask(catalogue, both, request_id=held_back(side))
        assert (impression.version_id, impression.explore) == (version.version_id, False)
        best = np.argsort(-impression.current_scores, kind="stable")[:5]
        assert impression.interleaving.shown.tolist() == best.tolist()
        again = derive(impression, version)
        assert again.article_ids == impression.article_ids
    assert ask(catalogue, both, request_id=held_back(0)).explore


def test_nobody_is_held_back_without_a_reference_or_from_an_editors_slate(catalogue: Catalogue, served: Served) -> None:
    assert ask(catalogue, served, request_id=held_back(-1)).explore
    still = ask(catalogue, replace(served, reference=replace(served, version_id=3)), request_id=held_back(-1), explore=False)
    assert still.version_id == served.version_id


def test_lists_are_drawn_with_the_version_s_own_chance(catalogue, served):
    own = ask(catalogue, replace(served, tau=40.0))
    first = np.where(np.arange(5) == 0, own.interleaving.propensity, 1)[0]
    assert first in (0.5, 1.0)  # each network's best, or that of both
    assert ask(catalogue, replace(served, tau=0.0)).interleaving.propensity[0] == pytest.approx(1 / 30)
