"""Rules become part of the request: what holds for whom, who wins, and what is left out in silence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.catalogue import Catalogue
from drn.config import Config
from drn.editing import CAPS_IGNORED, edited
from drn.errors import NoCandidates
from drn.readers import Reader
from drn.types import Article, Boost, Context, Pin, RankRequest, Rule, RuleKind

CONFIG = Config(embedding_size=0)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
REQUEST = RankRequest("r1", NOW, 3, user_id="u1", context=Context("mobile", "home"))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    catalogue = Catalogue(CONFIG)
    for i in range(6):
        catalogue.put(Article(f"a{i}", f"Headline number {i}", NOW))
    catalogue.put(Article("early", "Not yet", NOW, embargo_until=NOW + HOUR))
    catalogue.put(Article("late", "No more", NOW, expires_at=NOW - HOUR))
    catalogue.put(Article("down", "Taken down", NOW))
    catalogue.withdraw("down")
    return catalogue


def pin(article_id: str, position: int, surface: str | None = None, ends_at: datetime | None = None) -> Rule:
    return Rule(RuleKind.PIN, article_id, surface, position=position, ends_at=ends_at)


def cap(article_id: str, most: int, surface: str | None = None) -> Rule:
    return Rule(RuleKind.CAP, article_id, surface, most=most)


def boost(article_id: str, by: float, surface: str | None = None) -> Rule:
    return Rule(RuleKind.BOOST, article_id, surface, boost=by)


def having_seen(**times: int) -> Reader:
    """A reader who was shown these articles so often; `a3` is row 3."""
    reader = Reader(10)
    for name, count in times.items():
        for _ in range(count):
            reader.show(np.array([int(name[1:])], np.int32))
    return reader


@pytest.mark.parametrize(
    ("rules", "pinned"),
    [
        ([pin("a1", 2), pin("a2", 0)], [("a2", 0), ("a1", 2)]),
        ([pin("a1", 0, "home"), pin("a2", 1, "sport"), pin("a3", 2)], [("a1", 0), ("a3", 2)]),
        ([pin("a1", 0), pin("a2", 0, "home")], [("a2", 0)]),  # the surface's own wins a place
        ([pin("a1", 0), pin("a1", 2, "home")], [("a1", 2)]),  # and an article
        ([pin("a1", 3), pin("a2", 99)], []),  # beyond the list
        ([pin("early", 0), pin("late", 1), pin("down", 2)], []),
        ([pin("a1", 0), pin("ghost", 1)], [("a1", 0)]),  # known to the store, not yet to this process
        ([pin("a1", 0, ends_at=NOW), pin("a2", 1, ends_at=NOW + HOUR)], [("a2", 1)]),
    ],
)
def test_pins_that_can_be_held_join_the_request(catalogue: Catalogue, rules: list[Rule], pinned: list[tuple[str, int]]) -> None:
    found = edited(REQUEST, rules, catalogue, Reader(10), NOW)
    assert found == (replace(REQUEST, pinned=tuple(Pin(*each) for each in pinned)), None)


def test_what_the_request_asks_for_wins(catalogue: Catalogue) -> None:
    own = replace(REQUEST, pinned=(Pin("a1", 0),), exclude=("a2",))
    rules = [pin("a3", 0), pin("a1", 1), pin("a2", 2)]
    assert edited(own, rules, catalogue, Reader(10), NOW) == (own, None)
    assert edited(own, [*rules, pin("a4", 1, "home")], catalogue, Reader(10), NOW)[0].pinned == (Pin("a1", 0), Pin("a4", 1))


@pytest.mark.parametrize(
    ("own", "rules", "held"),
    [
        ([("a1", 2)], [pin("a2", 9)], []),  # beyond the end of three
        ([("a1", 2)], [pin("a2", 1), pin("a5", 3), pin("a4", 4)], [("a2", 1), ("a5", 3), ("a4", 4)]),  # longer by what joins
        ([], [pin("a5", 4), pin("a4", 3), pin("a0", 9)], [("a4", 3), ("a5", 4)]),
        ([("a1", 9)], [pin("a2", 0), pin("a5", 3)], []),  # the app's own stands at the end, and stays there
        ([("down", 9)], [pin("a2", 2)], [("a2", 2)]),
    ],
)
def test_a_pin_beyond_a_short_list_moves_nothing(
    catalogue: Catalogue, own: list[tuple[str, int]], rules: list[Rule], held: list[tuple[str, int]]
) -> None:
    asked = replace(REQUEST, k=10, candidates=("a1", "a2", "a3"), pinned=tuple(Pin(*each) for each in own))
    found, _ = edited(asked, rules, catalogue, Reader(10), NOW)
    assert found.pinned == (*asked.pinned, *[Pin(*each) for each in held])


def test_a_list_is_as_short_as_caps_leave_it(catalogue: Catalogue) -> None:
    asked = replace(REQUEST, k=10, candidates=("a1", "a2", "a3"))
    rules = [cap("a1", 1), cap("a2", 1), pin("a4", 2), pin("a2", 1)]
    found, _ = edited(asked, rules, catalogue, having_seen(a1=1, a2=1), NOW)
    assert (found.pinned, found.exclude) == ((Pin("a2", 1), Pin("a4", 2)), ("a1",))
    found, reason = edited(
        asked, [cap(f"a{i}", 1) for i in (1, 2, 3)] + [pin("a4", 1)], catalogue, having_seen(a1=1, a2=1, a3=1), NOW
    )
    assert (found.pinned, found.exclude, reason) == ((Pin("a4", 1),), (), CAPS_IGNORED)


def test_rules_answer_nothing_that_would_be_refused_without_them(catalogue: Catalogue) -> None:
    for asked in (replace(REQUEST, candidates=("late", "ghost")), replace(REQUEST, candidates=("a1",), exclude=("a1",))):
        with pytest.raises(NoCandidates):
            edited(asked, [pin("a2", 0)], catalogue, Reader(10), NOW)


def test_a_capped_article_is_left_out_once_its_reader_was_shown_it_so_often(catalogue: Catalogue) -> None:
    reader = having_seen(a1=2, a2=3, a4=9)
    rules = [cap("a1", 3), cap("a2", 3), cap("a3", 1), cap("a4", 1, "sport")]
    found, reason = edited(replace(REQUEST, exclude=("a5",)), rules, catalogue, reader, NOW)
    assert (found.exclude, reason) == (("a5", "a2"), None)
    assert edited(replace(REQUEST, user_id=None), rules, catalogue, reader, NOW)[0].exclude == ()
    assert edited(replace(REQUEST, context=Context(surface="sport")), rules, catalogue, reader, NOW)[0].exclude == ("a2", "a4")


def test_a_pinned_article_is_not_capped(catalogue: Catalogue) -> None:
    reader = having_seen(a1=5, a2=5, a3=5)
    rules = [cap("a1", 1), cap("a2", 1), cap("a3", 1), pin("a1", 0)]
    found, _ = edited(replace(REQUEST, pinned=(Pin("a2", 1),)), rules, catalogue, reader, NOW)
    assert (found.pinned, found.exclude) == ((Pin("a2", 1), Pin("a1", 0)), ("a3",))


@pytest.mark.parametrize("candidates", [("a1", "a2", "late"), ("a1",)])
def test_where_nothing_would_be_left_caps_are_ignored_openly(catalogue: Catalogue, candidates: tuple[str, ...]) -> None:
    asked = replace(REQUEST, candidates=candidates)
    rules = [cap("a1", 1), cap("a2", 1)]
    assert edited(asked, rules, catalogue, having_seen(a1=1, a2=4), NOW) == (asked, CAPS_IGNORED)
    found, reason = edited(asked, [*rules, pin("a5", 0)], catalogue, having_seen(a1=1, a2=4), NOW)
    assert (set(found.exclude) >= {"a1"}, reason) == (True, None)


def test_without_candidates_the_live_catalogue_is_what_may_be_left(catalogue: Catalogue) -> None:
    everything = [cap(f"a{i}", 1) for i in range(6)]
    assert edited(REQUEST, everything, catalogue, having_seen(**{f"a{i}": 1 for i in range(6)}), NOW)[1] == CAPS_IGNORED
    assert edited(REQUEST, everything, catalogue, having_seen(**{f"a{i}": 1 for i in range(5)}), NOW)[1] is None


def test_boosts_are_handed_on(catalogue: Catalogue) -> None:
    rules = [boost("a1", 0.5), boost("a1", 0.25, "home"), boost("a2", -1.0, "sport"), boost("down", 1.0)]
    found = edited(REQUEST, rules, catalogue, Reader(10), NOW)
    assert found == (replace(REQUEST, boosts=(Boost("a1", 0.5), Boost("a1", 0.25), Boost("down", 1.0))), None)


def test_rules_of_other_surfaces_leave_the_request_as_it_is(catalogue: Catalogue) -> None:
    found, reason = edited(REQUEST, [pin("a1", 0, "sport"), cap("a2", 1, "sport")], catalogue, having_seen(a2=3), NOW)
    assert found is REQUEST
    assert reason is None
