"""POST /rank, from JSON to the committed row."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import impressions, versions
from service.store.engine import reading, writing


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["article_id"] for item in answer["items"]]


async def test_given_candidates_are_ranked_and_unknown_ones_named(api: Any) -> None:
    await api.publish("a1", "a2", "a3")
    answer = await api.rank(user_id="u1", candidates=["a1", "ghost", "a2", "a1"], k=10, request_id="r1")
    assert answer["request_id"] == "r1"
    assert answer["model_version"] == 1
    assert sorted(ids(answer)) == ["a1", "a2"]
    assert [item["position"] for item in answer["items"]] == [0, 1]
    assert {item["reason"] for item in answer["items"]} == {"ranked"}
    assert answer["unknown"] == ["ghost"]
    assert answer["fallback"] is None


async def test_without_candidates_the_live_catalogue_is_ranked(api: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    await api.publish("a1", "a2", "a3")
    await api.publish("embargoed", embargo_until=soon)
    await api.publish("expired", expires_at=past)
    assert sorted(ids(await api.rank())) == ["a1", "a2", "a3"]
    assert len(ids(await api.rank(k=2))) == 2


async def test_a_live_catalogue_above_the_limit_is_cut_openly(initial: Any, open_api: Any) -> None:
    api = await open_api(max_candidates=3)
    for i in range(5):
        await api.publish(f"a{i}", published_at=f"2026-11-2{i}T00:00:00Z")
    answer = await api.rank()
    assert sorted(ids(answer)) == ["a2", "a3", "a4"]
    assert "newest 3 of 5" in answer["fallback"]


async def test_pins_exclusions_and_lists_without_exploration(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(6)))
    pinned = [{"article_id": "a5", "position": 0}, {"article_id": "a4", "position": 2}]
    answer = await api.rank(k=4, pinned=pinned, exclude=["a0"], explore=False, request_id="still")
    assert (answer["items"][0]["article_id"], answer["items"][2]["article_id"]) == ("a5", "a4")
    assert [item["reason"] for item in answer["items"]] == ["pinned", "ranked", "pinned", "ranked"]
    assert "a0" not in ids(answer)
    ranked = [item["score"] for item in answer["items"] if item["reason"] == "ranked"]
    assert ranked == sorted(ranked, reverse=True)


async def test_the_impression_is_committed_before_the_answer(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2")
    answer = await api.rank(user_id="u1", context={"device": "mobile", "surface": "home"}, request_id="r1")
    async with reading(engine) as connection:
        stored = await impressions.by_request_id(connection, "r1")
    assert stored is not None
    assert list(stored.impression.article_ids) == ids(answer)
    assert (stored.impression.user_id, stored.impression.context.device) == ("u1", "mobile")


async def test_a_retry_gets_the_same_list(api: Any, open_api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(20)))
    first = await api.rank(user_id="u1", request_id="r1")
    assert await api.rank(user_id="u1", request_id="r1") == first
    for i in range(20):
        assert (await api.client.delete(f"/articles/a{i}")).status_code == 204
    other = await open_api()
    assert await other.rank(user_id="u1", request_id="r1") == first


async def test_a_retry_after_an_upgrade_gets_the_same_list(api: Any, engine: AsyncEngine) -> None:
    """The features that were logged then cannot be read any more, and nobody needs them."""
    await api.publish(*(f"a{i}" for i in range(20)))
    first = await api.rank(user_id="u1", request_id="r1", pinned=[{"article_id": "a3", "position": 1}])
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE impressions SET observation = set_byte(observation, 4, 1)"))
    assert await api.rank(user_id="u1", request_id="r1") == first


async def test_a_request_id_of_another_reader_gets_nobodys_list(api: Any) -> None:
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1")
    for body in ({"user_id": "u2"}, {"session_id": "u1"}, {}, {"user_id": "u2", "candidates": ["ghost"]}):
        answer = await api.client.post("/rank", json={"request_id": "r1"} | body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "request_id"
        assert "items" not in answer.json()


async def test_racing_retries_get_one_list_and_one_row(api: Any, open_api: Any, engine: AsyncEngine) -> None:
    await api.publish(*(f"a{i}" for i in range(50)))
    other = await open_api()
    for attempt in range(5):
        answers = await asyncio.gather(*(each.rank(request_id=f"race{attempt}") for each in (api, other) * 4))
        assert all(answer == answers[0] for answer in answers)
    async with reading(engine) as connection:
        assert (await impressions.horizon(connection)).impressions >= 5
        assert len(await impressions.exposures_since(connection, 0)) == 5


async def test_a_session_stands_in_for_a_user(api: Any) -> None:
    await api.publish("a1")
    await api.rank(session_id="s1", request_id="r1")
    await api.rank(request_id="r2")
    assert (await api.client.get("/decisions/r1")).json()["user_id"] == "session:s1"
    assert (await api.client.get("/decisions/r2")).json()["user_id"] is None


async def test_nothing_to_rank_is_named_and_not_stored(api: Any, engine: AsyncEngine) -> None:
    empty = await api.client.post("/rank", json={})
    assert empty.status_code == 422
    answer = await api.client.post("/rank", json={"candidates": ["g1", "g2"]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["candidates", "candidates"]
    assert "g1" in answer.json()["errors"][0]["message"]
    async with reading(engine) as connection:
        assert await impressions.exposures_since(connection, 0) == []


async def test_too_many_candidates_are_413(api: Any) -> None:
    answer = await api.client.post("/rank", json={"candidates": [f"c{i}" for i in range(10_000)]})
    assert answer.status_code == 413
    assert "DRN_MAX_CANDIDATES" in answer.text


async def test_a_new_article_is_in_the_next_list_and_a_deleted_one_is_not(api: Any) -> None:
    await api.publish("a1")
    assert ids(await api.rank()) == ["a1"]
    await api.publish("a2")
    assert sorted(ids(await api.rank())) == ["a1", "a2"]
    assert (await api.client.delete("/articles/a1")).status_code == 204
    answer = await api.rank(candidates=["a1", "a2"])
    assert (ids(answer), answer["unknown"]) == (["a2"], ["a1"])
    assert (await api.client.delete("/articles/a1")).status_code == 404
    await api.publish("a1")
    assert sorted(ids(await api.rank())) == ["a1", "a2"]


async def test_without_a_version_rank_is_503_and_the_process_writes_none(open_api: Any, engine: AsyncEngine) -> None:
    api = await open_api()
    await api.publish("a1")
    answer = await api.client.post("/rank", json={})
    assert answer.status_code == 503
    assert "python -m jobs" in answer.json()["detail"]
    assert (await api.client.get("/readyz")).status_code == 503
    assert (await api.client.get("/livez")).status_code == 200
    async with reading(engine) as connection:
        assert await versions.head_id(connection) is None


@pytest.mark.parametrize("name", ["a/b", "ü €", "100%", "a?b#c", "..", "a b", "über/..//x"])
async def test_any_printable_id_works_everywhere(api: Any, name: str) -> None:
    await api.publish(name)
    answer = await api.rank(user_id=name, request_id=name)
    assert ids(answer) == [name]
    path = quote(name, safe="").replace("..", "%2E%2E")
    assert (await api.client.get(f"/articles/{path}")).json()["id"] == name
    decision = await api.client.get(f"/decisions/{path}")
    assert decision.json().get("reproduced") is True, decision.text
    assert (await api.click("e1", name, request_id=name)).json() == {"accepted": 1, "duplicates": 0}
    assert (await api.client.delete(f"/users/{path}")).json()["impressions"] == 1
    assert (await api.client.delete(f"/articles/{path}")).status_code == 204
