from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from drn.types import Context, Pin
from service.schemas import ArticleBody, ArticlesBody, EventBody, FeedbackBody, RankBody

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_a_rank_request_becomes_a_domain_value() -> None:
    body = RankBody.model_validate(
        {
            "user_id": "u1",
            "candidates": ["a", "b", "a"],
            "k": 2,
            "context": {"device": "mobile"},
            "exclude": ["c"],
            "pinned": [{"article_id": "b", "position": 1}],
            "explore": False,
        }
    )
    request = body.to_request("r1", NOW)
    assert (request.request_id, request.at, request.k, request.user_id) == ("r1", NOW, 2, "u1")
    assert (request.candidates, request.exclude, request.pinned) == (("a", "b", "a"), ("c",), (Pin("b", 1),))
    assert (request.context, request.explore) == (Context("mobile", ""), False)


@pytest.mark.parametrize(
    ("body", "reader"),
    [({}, None), ({"session_id": "s"}, "session:s"), ({"user_id": "u", "session_id": "s"}, "u")],
)
def test_a_session_stands_in_for_a_reader(body: dict[str, Any], reader: str | None) -> None:
    assert RankBody.model_validate(body).to_request("r", NOW).user_id == reader


BAD_RANKS: list[tuple[str, Any]] = [
    ("k", 0),
    ("k", 101),
    ("k", "10"),
    ("k", True),
    ("k", 2.5),
    ("k", float("nan")),
    ("user_id", ""),
    ("user_id", "x" * 201),
    ("user_id", "a\x00b"),
    ("user_id", "line\nend"),
    ("user_id", "a\x85"),
    ("user_id", 7),
    ("candidates", []),
    ("candidates", "a1"),
    ("candidates", [""]),
    ("candidates", [None]),
    ("explore", "yes"),
    ("explore", 1),
    ("context", {"device": "x" * 201}),
    ("context", {"browser": "lynx"}),
    ("pinned", [{"article_id": "a", "position": -1}]),
    ("pinned", [{"article_id": "a", "position": 10}]),
    ("pinned", [{"article_id": "a", "position": 0}, {"article_id": "b", "position": 0}]),
    ("pinned", [{"article_id": "a", "position": 0}, {"article_id": "a", "position": 1}]),
    ("exclude", ["a\x1b"]),
    ("usr_id", "u1"),
]


@pytest.mark.parametrize(("field", "value"), BAD_RANKS)
def test_bad_rank_fields_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        RankBody.model_validate({field: value})
    assert field in str(caught.value)


def test_an_article_cannot_be_pinned_and_excluded() -> None:
    with pytest.raises(ValidationError, match="exclude"):
        RankBody.model_validate({"exclude": ["a"], "pinned": [{"article_id": "a", "position": 0}]})


EVENT = {"event_id": "e", "article_id": "a", "type": "click", "at": "2026-11-22T09:00:00+02:00"}


def test_event_times_are_utc_and_never_ahead() -> None:
    assert EventBody.model_validate(EVENT).to_event(NOW).at == datetime(2026, 11, 22, 7, tzinfo=UTC)
    ahead = EVENT | {"at": (NOW + timedelta(hours=1)).isoformat()}
    assert EventBody.model_validate(ahead).to_event(NOW).at == NOW
    assert EventBody.model_validate({k: v for k, v in EVENT.items() if k != "at"}).to_event(NOW).at == NOW


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-11-22T09:00:00"),
        ("at", 1_763_802_000),
        ("at", "1763802000"),
        ("at", "yesterday"),
        ("at", "0001-01-01T00:00:00+14:00"),
        ("at", "9999-12-31T23:59:59-14:00"),
        ("value", float("inf")),
        ("value", float("nan")),
        ("value", 1e300),
        ("value", "3"),
        ("value", True),
        ("type", ""),
        ("type", "Click"),
        ("type", "drop table"),
        ("event_id", None),
        ("request_id", "\x07"),
    ],
)
def test_bad_events_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        FeedbackBody.model_validate({"events": [EVENT, EVENT | {field: value}]})
    assert caught.value.errors()[0]["loc"] == ("events", 1, field)


def test_an_article_becomes_a_domain_value() -> None:
    body = {"id": "a", "title": "T", "published_at": "2026-11-22T10:00:00Z", "topics": ["x", "y"], "embedding": [1, 0.5]}
    article = ArticleBody.model_validate(body).to_article()
    assert (article.id, article.title, article.published_at) == ("a", "T", NOW)
    assert (article.topics, article.entities, article.embedding) == (("x", "y"), (), (1.0, 0.5))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding", [float("nan")]),
        ("embedding", []),
        ("embedding", [0.0] * 4_097),
        ("title", ""),
        ("title", "nul \x00"),
        ("abstract", "x" * 20_001),
        ("expires_at", "2026-11-22"),
        ("topics", "politics"),
        ("published_at", None),
    ],
)
def test_bad_articles_are_refused(field: str, value: Any) -> None:
    good = {"id": "a", "title": "T", "published_at": "2026-11-22T10:00:00Z"}
    with pytest.raises(ValidationError) as caught:
        ArticlesBody.model_validate({"articles": [good | {field: value}]})
    assert caught.value.errors()[0]["loc"][:3] == ("articles", 0, field)
