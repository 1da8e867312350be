"""Whatever editors set and whatever an app asks for: a list that can be decided, with the app's own wishes kept."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from drn.catalogue import Catalogue
from drn.config import Config
from drn.editing import edited
from drn.errors import NoCandidates
from drn.interleaving import ranked_alone
from drn.ranking import candidate_rows
from drn.readers import Reader
from drn.types import Article, Context, Pin, RankRequest, Rule, RuleKind

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
CATALOGUE = Catalogue(Config(embedding_size=0))
for number in range(6):
    CATALOGUE.put(Article(f"a{number}", "Title", NOW))
CATALOGUE.withdraw("a5")

ids = st.sampled_from([f"a{number}" for number in range(7)])  # a5 is withdrawn, a6 unknown
surfaces = st.sampled_from([None, "home", "sport"])
pins = st.builds(lambda a, s, p: Rule(RuleKind.PIN, a, s, position=p), ids, surfaces, st.integers(0, 6))
caps = st.builds(lambda a, s, m: Rule(RuleKind.CAP, a, s, most=m), ids, surfaces, st.integers(1, 3))
boosts = st.builds(lambda a, s, b: Rule(RuleKind.BOOST, a, s, boost=b), ids, surfaces, st.floats(-100, 100))


@st.composite
def requests(draw: st.DrawFn) -> RankRequest:
    k = draw(st.integers(1, 7))
    own = draw(st.lists(st.tuples(ids, st.integers(0, k - 1)), unique_by=(lambda one: one[0], lambda one: one[1]), max_size=k))
    exclude = set(draw(st.lists(ids, max_size=2))) - {article_id for article_id, _ in own}
    candidates = draw(st.one_of(st.none(), st.lists(ids, min_size=1, max_size=6).map(tuple)))
    surface = draw(st.sampled_from(["", "home"]))
    pinned = tuple(Pin(*each) for each in own)
    user_id = draw(st.sampled_from([None, "u"]))
    return RankRequest("r", NOW, k, user_id, candidates, Context("", surface), tuple(sorted(exclude)), pinned)


@given(requests(), st.lists(st.one_of(pins, caps, boosts), max_size=8), st.lists(st.integers(0, 4), max_size=9))
def test_an_edited_request_can_be_decided_and_keeps_what_was_asked(
    request: RankRequest, rules: list[Rule], shown: list[int]
) -> None:
    asked = candidates_of(request)
    try:
        found, reason = edited(request, rules, CATALOGUE, having_seen(shown), NOW)
    except NoCandidates:
        assert not asked
        return
    added = found.pinned[len(request.pinned) :]
    assert found.pinned[: len(request.pinned)] == request.pinned
    assert found.exclude[: len(request.exclude)] == request.exclude
    assert not {pin.article_id for pin in added} & {*request.exclude, "a5", "a6"}
    assert {pin.article_id for pin in found.pinned}.isdisjoint(found.exclude)
    assert (reason is None) or found.exclude == request.exclude
    assert bool(candidates_of(found)) == bool(asked)
    assert set(unknown_of(found)) == set(unknown_of(request))


@given(requests(), st.lists(st.one_of(pins, caps), max_size=8), st.lists(st.integers(0, 4), max_size=9))
def test_the_apps_pins_stand_where_they_did_and_those_of_rules_at_their_own_place(
    request: RankRequest, rules: list[Rule], shown: list[int]
) -> None:
    assume(candidates_of(request))
    found, _ = edited(request, rules, CATALOGUE, having_seen(shown), NOW)
    without, places = places_of(replace(request, exclude=found.exclude)), places_of(found)  # a cap may shorten the list
    own = [pin.article_id for pin in request.pinned]
    assert [places.get(article_id) for article_id in own] == [without.get(article_id) for article_id in own]
    for pin in found.pinned[len(own) :]:
        assert places[pin.article_id] == pin.position


def having_seen(shown: list[int]) -> Reader:
    reader = Reader(5)
    for row in shown:
        reader.show(np.array([row], np.int32))
    return reader


def places_of(request: RankRequest) -> dict[str, int]:
    """Where each article stands, for rankers to whom all are equal."""
    rows, unknown = candidate_rows(request, CATALOGUE, NOW)
    ids = CATALOGUE.ids(rows)
    pinned = {pin.position: ids.index(pin.article_id) for pin in request.pinned if pin.article_id not in unknown}
    shown = ranked_alone(np.zeros(len(rows), np.float32), request.k, pinned).shown
    return {ids[candidate]: place for place, candidate in enumerate(shown.tolist())}


def candidates_of(request: RankRequest) -> tuple[int, ...]:
    """The rows that may be in the list; none where nothing can be."""
    try:
        return tuple(candidate_rows(request, CATALOGUE, NOW)[0].tolist())
    except NoCandidates:
        return ()


def unknown_of(request: RankRequest) -> tuple[str, ...]:
    try:
        return candidate_rows(request, CATALOGUE, NOW)[1]
    except NoCandidates as error:
        return error.unknown
