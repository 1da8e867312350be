from datetime import UTC, datetime

import pytest

from drn.config import Config
from drn.types import Event
from service.errors import NotFound, Unprocessable
from service.handlers.feedback import attributed, check_places, check_values, refuse
from service.store.impressions import ShownList

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
CLICK = Event("e1", "a1", "click", NOW, request_id="r1")
LISTS = {"r1": ShownList("r1", 1, NOW, "u1", ("a1", "a2")), "r2": ShownList("r2", 2, NOW, None, ("a1",))}


def fields(*events: Event) -> list[str]:
    return [fault.error.field for fault in check_places(events, LISTS, lambda name: name == "known")]


def test_credited_events_get_the_reader_of_their_list() -> None:
    assert attributed(CLICK, LISTS).user_id == "u1"
    anonymous = CLICK._replace(request_id="r2", user_id="u9")
    assert attributed(anonymous, LISTS).user_id == "u9"
    organic = CLICK._replace(request_id=None, user_id="u7")
    assert attributed(organic, LISTS) == organic


def test_a_credited_event_is_not_earlier_than_its_list() -> None:
    early, late = NOW.replace(year=1995), NOW.replace(minute=5)
    assert attributed(CLICK._replace(at=early), LISTS).at == NOW
    assert attributed(CLICK._replace(at=early, request_id="r2"), LISTS).at == NOW
    assert attributed(CLICK._replace(at=late), LISTS).at == late
    assert attributed(CLICK._replace(at=early, request_id=None), LISTS).at == early


def test_places() -> None:
    assert fields(CLICK, CLICK._replace(user_id="u1"), CLICK._replace(request_id=None, article_id="known")) == []
    assert fields(CLICK._replace(request_id="r9")) == ["events.0.request_id"]
    assert fields(CLICK, CLICK._replace(article_id="a3")) == ["events.1.article_id"]
    assert fields(CLICK._replace(user_id="u2")) == ["events.0.user_id"]
    assert fields(CLICK._replace(request_id=None, article_id="ghost")) == ["events.0.article_id"]


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        ("click", None, False),
        ("seen", None, False),
        ("dwell", 3.5, False),
        ("dwell", None, True),
        ("dwell", -0.1, True),
        ("read", 1.0, False),
        ("read", 1.01, True),
        ("stare", None, True),
        ("subscribe", None, False),
    ],
)
def test_values(kind: str, value: float | None, wrong: bool) -> None:
    config = Config(event_rewards={"subscribe": 2.0})
    assert bool(check_values([CLICK._replace(type=kind, value=value)], config)) is wrong


def test_only_missing_requests_are_not_found() -> None:
    refuse([])
    missing = check_places([CLICK._replace(request_id="r9")], LISTS, bool)
    misplaced = check_places([CLICK._replace(article_id="a3")], LISTS, bool)
    with pytest.raises(NotFound, match="nothing was stored"):
        refuse(missing)
    with pytest.raises(Unprocessable, match="and 1 more"):
        refuse(missing + misplaced)
