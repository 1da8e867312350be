"""Whatever editors set and whatever an app asks for: a list that can be decided, with the app's own wishes kept."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drn.catalogue import Catalogue
from drn.config import Config
from drn.editing import edited
from drn.errors import NoCandidates
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
    k = draw(st.integers(1, 5))
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
    reader = Reader(5)
    for row in shown:
        reader.show(np.array([row], np.int32))
    found, reason = edited(request, rules, CATALOGUE, reader, NOW)
    added = found.pinned[len(request.pinned) :]
    assert found.pinned[: len(request.pinned)] == request.pinned
    assert found.exclude[: len(request.exclude)] == request.exclude
    assert not {pin.article_id for pin in added} & {*request.exclude, "a5", "a6"}
    assert {pin.article_id for pin in found.pinned}.isdisjoint(found.exclude)
    assert (reason is None) or found.exclude == request.exclude
    asked = len(candidates_of(request))
    if asked or added:
        assert len(candidates_of(found)) > 0
    assert set(unknown_of(found)) == set(unknown_of(request))


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
