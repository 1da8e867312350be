from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from drn.checkpoint import digest
from drn.config import Config
from drn.errors import InvalidInput
from drn.features import encode
from drn.interleaving import interleave, outcome
from drn.model import freeze
from drn.scoring import Scorer
from drn.types import (
    ClosedImpression,
    Context,
    DuelState,
    Event,
    Impression,
    Model,
    Observation,
    Verdict,
    VersionKind,
    Weights,
)
from drn.updates import Retrained, learn, major_update, minor_update, publish_retrained, speaks
from drn.versions import Version, initial_version, rollback

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIG = Config(
    provider_slots=2,
    category_slots=6,
    topic_slots=2,
    entity_slots=2,
    word_slots=2,
    embedding_size=0,
    advantage_layers=(16, 8),
    value_layers=(4,),
    duel_window=40,
    major_impressions=1,
    start="chance",  # these readers look at categories alone, and all else is noise
)
COLUMNS = 2 + CONFIG.topics_per_article + CONFIG.entities_per_article + CONFIG.words_per_article
N, K = 12, 6
LIKED = (3, 5)  # categories that every reader clicks on


def observation(rng: np.random.Generator) -> Observation:
    content = np.full((N, COLUMNS), CONFIG.content_slots, np.uint16)
    content[:, 1] = CONFIG.provider_slots + rng.integers(0, CONFIG.category_slots, N)
    return Observation(
        reader=np.zeros((5, CONFIG.content_slots), np.uint16),
        reader_totals=np.zeros(5, np.uint16),
        context=np.array([12, 0, 0, 0], np.uint8),
        content=content,
        counts=rng.integers(0, 50, (N, 12)).astype(np.uint32),
        category_counts=np.zeros((N, 2), np.uint32),
        seen=np.zeros((N, 7), np.uint16),
        age=rng.integers(0, 90_000, N).astype(np.int32),
        embedding=np.zeros((N, 0), np.float16),
        reader_embedding=np.zeros(0, np.float16),
    )


def liked(seen: Observation) -> np.ndarray:
    return np.isin(seen.content[:, 1].astype(int) - CONFIG.provider_slots, LIKED)


def served(version: Version, count: int, seed: int = 0) -> list[ClosedImpression]:
    """Lists that `version` serves, a minute apart, to seven readers who click liked categories down to the second one."""
    rng, scorer, made = np.random.default_rng([seed, version.watermark]), Scorer(version.model, CONFIG), []
    names = tuple(f"a{i}" for i in range(N))
    for seq in range(version.watermark + 1, version.watermark + 1 + count):
        seen = observation(rng)
        scores = scorer.scores(encode(seen, CONFIG))
        merged = interleave(scores[0], scores[1], K, CONFIG.tau, rng)
        impression = Impression(
            request_id=f"r{seq}",
            at=NOON + timedelta(minutes=seq),
            user_id=f"u{seq % 7}",
            context=Context(),
            version_id=version.id,
            seed=seq,
            k=K,
            explore=True,
            pins=(),
            candidates=names,
            observation=seen,
            current_scores=scores[0],
            explore_scores=scores[1],
            interleaving=merged,
        )
        clicks = [i for i in merged.shown if liked(seen)[i] and rng.random() < 0.7][:2]
        events = tuple(Event(f"{seq}-{i}", names[i], "click", impression.at, None, f"r{seq}") for i in clicks)
        made.append(ClosedImpression(impression, events, seq))
    return made


def lead(weights: Weights) -> float:
    """P(a liked candidate scores above another one), over lists that nothing was learned from."""
    rng, scorer, shares = np.random.default_rng(99), Scorer(Model(weights, weights), CONFIG), []
    for _ in range(40):
        seen = observation(rng)
        scores = scorer.scores(encode(seen, CONFIG))[0]
        good, other = scores[liked(seen)], scores[~liked(seen)]
        shares.append((good[:, None] > other).mean() if len(good) and len(other) else 0.5)
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def first() -> Version:
    return initial_version(CONFIG, NOON)


@pytest.fixture(scope="module")
def line(first: Version) -> list[Version]:
    """Twenty minor updates of thirty lists each."""
    versions = [first]
    for _ in range(20):
        versions.append(minor_update(versions[-1], served(versions[-1], 30), CONFIG, NOON).version)
    return versions


def test_a_minor_update_is_the_next_link_of_the_line(first):
    closed = served(first, 30)
    update = minor_update(first, closed, CONFIG, NOON)
    version = update.version
    assert (version.id, version.parent_id, version.kind, version.watermark) == (2, 1, VersionKind.MINOR, 30)
    assert (version.schema, version.created_at) == (first.schema, NOON)
    assert version.metrics["impressions"] == 30
    assert version.metrics["clicks"] == sum(len(one.events) for one in closed)
    assert digest(version.model.current) == digest(first.model.current)
    assert digest(version.model.explore) != digest(first.model.explore)
    assert update.verdict is Verdict.UNDECIDED
    assert version.duel == update.judged_duel == first.duel  # the two networks were equal: their lists say nothing
    assert minor_update(version, served(version, 30), CONFIG, NOON).version.duel.impressions == 30


def test_every_impression_of_the_duel_is_settled_with_its_credit(line):
    closed = served(line[5], 30)
    update = minor_update(line[5], closed, CONFIG, NOON)
    assert [one.request_id for one in update.settled] == [one.impression.request_id for one in closed]
    for one, said in zip(closed, update.settled, strict=True):
        mask = np.isin(one.impression.article_ids, [event.article_id for event in one.events])
        assert said.outcome == pytest.approx(outcome(one.impression.interleaving.credit, mask))
        assert (said.clicks, said.user_id, said.at) == (mask.sum(), one.impression.user_id, one.impression.at)
    assert any(said.outcome for said in update.settled)


def test_the_same_log_gives_the_same_version(first):
    closed = served(first, 50)
    assert minor_update(first, closed, CONFIG, NOON).version.digest == minor_update(first, closed, CONFIG, NOON).version.digest


def test_the_line_learns_and_its_duels_promote(line):
    assert lead(line[-1].model.current) > lead(line[0].model.current) + 0.3
    assert line[-1].duel.id > line[0].duel.id


def test_a_promotion_makes_the_served_explore_network_current(line):
    moved = [(old, new) for old, new in pairwise(line) if old.duel.id != new.duel.id]
    assert moved
    for old, new in moved:
        assert digest(new.model.current) == digest(old.model.explore)
        assert replace(new.duel, chance_total=0.0, chance_squares=0.0) == DuelState(id=new.id)
        assert new.duel.chance_squares >= old.duel.chance_squares  # whether chances are equal is asked for the whole line
        assert new.model.memory["step"] > old.model.memory["step"]  # the optimiser goes on


def test_a_lost_duel_resets_the_explore_network_and_its_memory(line):
    head = line[-1]
    harmful = freeze({**head.model.current, "advantage.out.weight": -head.model.current["advantage.out.weight"]})
    losing = replace(head, model=replace(head.model, explore=harmful), duel=DuelState(id=head.id))
    config = replace(CONFIG, guided_rate=0.0)
    update = minor_update(losing, served(losing, 40), config, NOON)
    assert update.verdict is Verdict.CURRENT_WON
    assert update.judged_duel.total < 0
    assert digest(update.version.model.explore) == digest(update.version.model.current) == digest(head.model.current)
    assert update.version.model.memory["step"] < head.model.memory["step"]


@pytest.mark.parametrize(
    ("change", "has_a_say"),
    [
        ({}, True),
        ({"version_id": 3}, False),
        ({"explore": False}, False),
        ({"explore_scores": np.zeros(N, np.float32), "current_scores": np.zeros(N, np.float32)}, False),
        ({"fallback": "the newest 2000 articles were ranked"}, True),
    ],
)
def test_who_has_a_say_in_a_duel(line, change, has_a_say):
    duel = DuelState(id=4)
    one = served(replace(line[5], id=5), 1)[0]
    assert speaks(replace(one, impression=replace(one.impression, **change)), duel) is has_a_say


def test_a_list_of_pins_alone_has_no_say(first):
    one = served(first, 1)[0]
    merged = replace(one.impression.interleaving, pinned=np.ones(K, np.bool_))
    assert not speaks(replace(one, impression=replace(one.impression, interleaving=merged)), first.duel)


def test_nothing_is_learned_twice(first):
    closed = served(first, 5)
    head = minor_update(first, closed, CONFIG, NOON).version
    with pytest.raises(InvalidInput, match="consumed the log up to 5"):
        minor_update(head, closed[-1:], CONFIG, NOON)
    with pytest.raises(InvalidInput, match="at least one"):
        minor_update(head, [], CONFIG, NOON)


def tiny(*values: float) -> Weights:
    return freeze({"w": np.array(values, np.float32)})


def test_random_a_win_moves_current_and_tries_another_direction():
    config = Config(direction="random", eta=0.05)
    model = Model(tiny(1.0, 2.0), tiny(2.0, 0.0))
    step = learn(model, DuelState(7), [], [0.3], config, 9)
    np.testing.assert_allclose(step.model.current["w"], [1.05, 1.9], rtol=1e-6)
    assert step.verdict is Verdict.EXPLORE_WON
    assert (step.duel, step.judged.total) == (DuelState(9), 0.3)
    assert np.abs(step.model.explore["w"] - step.model.current["w"]).max() <= 0.1 * 1.9 + 1e-6


def test_random_a_loss_leaves_current_alone():
    model = Model(tiny(1.0, 2.0), tiny(2.0, 0.0))
    step = learn(model, DuelState(7), [], [-0.3], Config(direction="random"), 9)
    assert step.model.current["w"].tolist() == [1.0, 2.0]
    assert digest(step.model.explore) != digest(model.explore)


def test_es_tries_both_directions_and_climbs():
    """The first direction does better than its mirror image, so Adam's first step has the size of the rate towards it."""
    config = Config(direction="es", es_rate=0.01)
    model = Model(tiny(1.0, 2.0), tiny(1.02, 1.98))
    half = learn(model, DuelState(7), [], [0.2, 0.4], config, 8)
    np.testing.assert_allclose(half.model.explore["w"], [0.98, 2.02], rtol=1e-6)
    assert half.model.current["w"].tolist() == [1.0, 2.0]
    full = learn(half.model, half.duel, [], [-0.1], config, 9)
    np.testing.assert_allclose(full.model.current["w"], [1.01, 1.99], rtol=1e-5)
    assert set(full.model.memory) == {"m.w", "v.w", "step"}
    again = learn(full.model, full.duel, [], [0.0], config, 10)
    assert again.model.memory["step"].tolist() == [1.0]


@pytest.mark.parametrize("direction", ["guided", "random", "es"])
def test_a_network_that_is_not_finite_loses_at_once(direction):
    model = Model(tiny(1.0, 2.0), tiny(np.inf, 0.0))
    step = learn(model, DuelState(7), [], [0.3], Config(direction=direction, es_rate=1.0), 9)
    assert step.verdict is Verdict.CURRENT_WON
    assert step.duel == DuelState(9)
    assert step.model.current["w"].tolist() == [1.0, 2.0]
    assert np.isfinite(step.model.explore["w"]).all()
    assert not step.model.memory


def test_who_won_stays_if_the_next_explore_network_breaks(monkeypatch):
    """Steps that diverge right after a promotion undo neither it nor its verdict; nor may they leave a broken memory."""
    config = Config(duel_window=2)
    won = Model(tiny(1.0), tiny(2.0))
    for explore, memory in ((np.nan, 1.0), (3.0, np.inf)):
        monkeypatch.setattr("drn.updates.guided_steps", lambda *_, to=(explore, memory): (tiny(to[0]), tiny(to[1])))
        step = learn(won, DuelState(7), [], [0.5, 0.4], config, 9)
        assert step.verdict is Verdict.EXPLORE_WON
        assert step.model.current["w"].tolist() == step.model.explore["w"].tolist() == [2.0]
        assert not step.model.memory


def test_a_duel_that_heard_nothing_goes_on():
    for direction in ("guided", "random", "es"):
        step = learn(Model(tiny(1.0), tiny(2.0)), DuelState(7), [], [], Config(direction=direction), 9)
        assert (step.verdict, step.duel) == (Verdict.UNDECIDED, DuelState(7))
        assert step.model.explore["w"].tolist() == [2.0]


BASE = Model(tiny(1.0), tiny(1.5), freeze({"step": np.ones(1, np.float32)}))
HEAD = Model(tiny(1.2), tiny(2.0), freeze({"step": np.full(1, 5, np.float32)}))
TRAINED = Retrained(tiny(4.0), {"loss": 0.5}, accepted=True, base_id=3, lists=70, new=10)


def published(first: Version, **changes: object) -> Version:
    base, head = replace(first, id=3, model=BASE), replace(first, id=6, kind=VersionKind.MINOR, model=HEAD, watermark=77)
    return publish_retrained(TRAINED, base, head, replace(CONFIG, **changes), NOON)


@pytest.mark.parametrize("gate", ["offline", "none"])
def test_minor_updates_that_landed_meanwhile_are_applied_on_top(first, gate):
    """current = 4 + (1.2 − 1) = 4.2; explore = 4 + (2 − 1) = 5: it keeps its lead of .8 over current."""
    version = published(first, gate=gate)
    assert version.model.current["w"] == pytest.approx(4.2)
    assert version.model.explore["w"] == pytest.approx(5.0)
    assert version.model.memory["step"] == 5
    assert (version.id, version.parent_id, version.kind, version.watermark) == (7, 6, VersionKind.MAJOR, 77)
    assert version.duel == first.duel  # both networks moved alike, so what their readers said still stands
    assert version.metrics == {"loss": 0.5, "base": 3.0, "retrained_on": 70.0, "new_share": 0.125}


def test_how_much_majors_have_learned_goes_along_the_line(first):
    """70 lists of replay, through minor updates and a rollback to what they had led to; a rollback to before forgets them."""
    assert (first.retrained_on, first.new_share) == (0, 1.0)
    major = published(first)
    assert (major.retrained_on, major.new_share) == (70, 0.125)
    back = rollback(replace(major, id=9), major, NOON)
    assert (back.retrained_on, back.new_share) == (70, 0.125)
    before = rollback(replace(major, id=9), replace(first, model=BASE), NOON)
    assert (before.retrained_on, before.new_share) == (0, 1.0)


def test_with_the_duel_gate_readers_decide(first):
    """explore = 4 + (2 − 1.5): the guided steps that landed meanwhile are kept."""
    version = published(first, gate="duel")
    assert version.model.current["w"] == pytest.approx(1.2)
    assert version.model.explore["w"] == pytest.approx(4.5)
    assert version.duel == DuelState(id=7)
    assert not version.model.memory


def test_a_verdict_that_fell_meanwhile_leaves_the_steps_after_it(first):
    """explore = 4 + (2 − 1.2): head's explore network was opened from head's current one."""
    base = replace(first, id=3, model=BASE)
    head = replace(first, id=6, kind=VersionKind.MINOR, model=HEAD, duel=DuelState(id=5))
    version = publish_retrained(TRAINED, base, head, replace(CONFIG, gate="duel"), NOON)
    assert version.model.explore["w"] == pytest.approx(4.8)


def test_an_unchanged_head_gets_exactly_what_was_trained(first):
    base = replace(first, id=3, model=Model(BASE.current, BASE.current))
    version = publish_retrained(TRAINED, base, base, CONFIG, NOON)
    assert version.model.current["w"].tolist() == version.model.explore["w"].tolist() == [4.0]


def test_other_directions_open_a_new_direction_from_the_retrained_network(first):
    version = published(first, direction="random")
    assert 0 < abs(version.model.explore["w"] - version.model.current["w"]) <= 0.1 * 4.2 + 1e-6


def test_what_failed_its_gate_or_came_from_elsewhere_is_not_published(first):
    base = replace(first, id=3, model=BASE)
    with pytest.raises(InvalidInput, match="gate"):
        publish_retrained(replace(TRAINED, accepted=False), base, base, CONFIG, NOON)
    with pytest.raises(InvalidInput, match="not from 4"):
        publish_retrained(TRAINED, replace(base, id=4), base, CONFIG, NOON)
    for kind in (VersionKind.ROLLBACK, VersionKind.MAJOR):
        with pytest.raises(InvalidInput, match=f"version 4, of kind {kind}, landed"):
            publish_retrained(TRAINED, base, replace(base, id=4, parent_id=3, kind=kind), CONFIG, NOON)


def test_a_major_update_learns_from_the_log_what_an_untrained_network_did_not_know(first):
    closed = served(first, 400)
    now = closed[-1].impression.at + timedelta(hours=1)
    config = replace(CONFIG, major_epochs=4.0, major_halfway=0, major_batch=16)
    reported: list[tuple[int, int]] = []
    retrained = major_update(first, closed, config, now, lambda done, total: reported.append((done, total)))
    assert retrained.accepted
    assert retrained.base_id == 1
    assert lead(retrained.weights) > lead(first.model.current) + 0.15
    assert reported == [(done, len(reported)) for done in range(1, len(reported) + 1)]
    again = major_update(first, closed, config, now)
    assert digest(again.weights) == digest(retrained.weights)


def test_a_late_click_reaches_the_replay(first):
    closed = served(first, 60)
    silent = [replace(one, events=()) for one in closed]
    now = NOON + timedelta(days=1)
    assert not major_update(first, silent, CONFIG, now).accepted
    clicked = next(place for place, one in enumerate(closed) if one.events)
    late = [*silent[:clicked], closed[clicked], *silent[clicked + 1 :]]
    assert major_update(first, late, CONFIG, now).metrics["usable"] == 1
