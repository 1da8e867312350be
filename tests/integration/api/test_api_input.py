"""Whatever is sent: a clear 4xx that names the field, and nothing stored."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store.engine import reading

JSON = {"content-type": "application/json"}
BODIES: list[tuple[bytes, int]] = [
    (b"", 422),
    (b"{", 400),
    (b"not json", 400),
    (b"null", 422),
    (b"[]", 422),
    (b'"text"', 422),
    (b'{"k": NaN}', 400),
    (b'{"k": Infinity}', 400),
    (b'{"k": 1e999}', 400),
    (b'{"k": 99999999999999999999999999}', 422),
    (b'{"user_id": "\xff\xfe"}', 400),
    (b'{"user_id": "\\ud800"}', 400),
    (b'{"user_id": "a\\u0000b"}', 422),
    ('{"user_id": "ü"}'.encode("utf-16"), 400),
    ('{"user_id": "ü"}'.encode("latin-1"), 400),
    (b"[" * 100_000, 400),
    (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, 400),
    (b'{"candidates": {"0": "a1"}}', 422),
]


def check(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "errors"} <= problem.keys()
    return problem


@pytest.mark.parametrize(("body", "status"), BODIES)
@pytest.mark.parametrize("path", ["/rank", "/feedback"])
async def test_broken_bodies(api: Any, path: str, body: bytes, status: int) -> None:
    check(await api.client.post(path, content=body, headers=JSON), status)


async def test_wrong_fields_are_named(api: Any) -> None:
    answer = await api.client.post("/rank", json={"k": 0, "candidates": ["a", 7], "usr": "u1"})
    problem = check(answer, 422)
    assert {error["field"] for error in problem["errors"]} == {"k", "candidates.1", "usr"}
    assert all(error["message"] for error in problem["errors"])


async def test_an_answer_to_thousands_of_wrong_fields_stays_small(api: Any) -> None:
    answer = await api.client.post("/rank", json={"candidates": [""] * 1_500})
    problem = check(answer, 422)
    assert len(problem["errors"]) == 100
    assert "1500" in problem["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "application/json; charset=UTF-8"}, 200),
        ({"content-type": "application/vnd.reader+json"}, 200),
    ],
)
async def test_content_types_and_encodings(api: Any, headers: dict[str, str], status: int) -> None:
    await api.publish("a1")
    answer = await api.client.post("/rank", content=b"{}", headers=headers)
    if status == 200:
        assert answer.status_code == 200
    else:
        check(answer, status)


async def test_a_body_without_a_type_is_refused(api: Any) -> None:
    request = api.client.build_request("POST", "/rank", content=b"{}")
    request.headers.pop("content-type", None)
    check(await api.client.send(request), 415)


async def test_bodies_above_the_limit(initial: Any, open_api: Any) -> None:
    api = await open_api(max_body_bytes=10_000)
    check(await api.client.post("/rank", content=b" " * 10_001, headers=JSON), 413)

    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 1_000

    check(await api.client.post("/rank", content=endless(), headers=JSON), 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/rank", 405),
        ("POST", "/articles/a1", 405),
        ("GET", "/articles/ghost", 404),
        ("DELETE", "/articles/ghost", 404),
        ("GET", "/articles/" + "x" * 201, 422),
        ("GET", "/decisions/a%00b", 422),
        ("DELETE", "/users/%07", 422),
    ],
)
async def test_wrong_paths(api: Any, method: str, path: str, status: int) -> None:
    check(await api.client.request(method, path), status)


@pytest.mark.parametrize(
    "broken",
    [{"title": None}, {"published_at": "yesterday"}, {"embedding": ["x"]}, {"id": ""}, {"colour": "red"}, {"topics": [None]}],
)
async def test_one_bad_article_stores_none(api: Any, engine: AsyncEngine, broken: dict[str, Any]) -> None:
    good = {"id": "a1", "title": "T", "published_at": "2026-11-22T10:00:00Z"}
    problem = check(await api.client.put("/articles", json={"articles": [good, good | broken]}), 422)
    assert problem["errors"][0]["field"].startswith(f"articles.1.{next(iter(broken))}")
    async with reading(engine) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM articles")) == 0


async def test_an_article_comes_back_as_it_was_put(api: Any) -> None:
    put = {
        "id": "a1",
        "title": "Ein Titel — with “quotes”\tand a tab",
        "published_at": "2026-11-22T10:00:00+01:00",
        "abstract": "Two\nlines",
        "provider": "p",
        "category": "c",
        "topics": ["t1", "t2"],
        "entities": ["e"],
        "expires_at": "2027-11-22T10:00:00Z",
        "embargo_until": "2026-11-22T11:00:00Z",
        "url": "https://example.org/a1",
        "embedding": [0.1, -2, 1e-9],
    }
    assert (await api.client.put("/articles", json={"articles": [put]})).json() == {"stored": 1}
    found = (await api.client.get("/articles/a1")).json()
    assert found.pop("published_at").replace("+00:00", "Z") == "2026-11-22T09:00:00Z"
    for name in ("expires_at", "embargo_until"):
        assert found.pop(name).replace("+00:00", "Z") == put[name]
    assert found == {name: value for name, value in put.items() if name in found}


async def test_of_two_articles_with_one_id_the_last_counts(api: Any) -> None:
    good = {"id": "a1", "title": "First", "published_at": "2026-11-22T10:00:00Z"}
    answer = await api.client.put("/articles", json={"articles": [good, good | {"title": "Second"}]})
    assert answer.json() == {"stored": 1}
    assert (await api.client.get("/articles/a1")).json()["title"] == "Second"
