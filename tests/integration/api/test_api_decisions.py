"""GET /decisions, /versions, and DELETE /users: what can be looked up, proved and erased."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.types import VersionKind
from drn.versions import Version, initial_version, rollback
from service.store import versions
from service.store.engine import writing


async def decision(api: Any, request_id: str) -> dict[str, Any]:
    answer = await api.client.get(f"/decisions/{request_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u1", "k": 5},
        {"user_id": "u1", "k": 3, "candidates": ["a3", "a1", "ghost", "a7"]},
        {"explore": False},
        {"k": 4, "pinned": [{"article_id": "a9", "position": 3}, {"article_id": "a0", "position": 1}], "exclude": ["a4"]},
    ],
)
async def test_a_decision_is_derived_again_from_its_row(api: Any, body: dict[str, Any]) -> None:
    await api.publish(*(f"a{i}" for i in range(12)), topics=["x"], embedding=[0.5, -1.0, 2.0])
    for i in range(3):
        await api.click(f"e{i}", f"a{i}", user_id="u1")
    served = await api.rank(**body, request_id="r1")
    await api.click("later", "a5", user_id="u1")  # what is known later must not matter
    await api.publish("a6", title="Another title")
    found = await decision(api, "r1")
    assert found["reproduced"] is True
    assert found["reason"] is None
    assert [slot["article_id"] for slot in found["items"]] == [item["article_id"] for item in served["items"]]
    assert [slot["current_score"] for slot in found["items"]] == pytest.approx([item["score"] for item in served["items"]])
    assert found["unknown"] == served["unknown"]
    for slot in found["items"]:
        assert 0 <= slot["credit"] <= 1
        assert 0 < slot["propensity"] <= 1
        assert slot["features"]["slots"]["category"]
        if body.get("explore") is False or slot["reason"] == "pinned":
            assert (slot["credit"], slot["propensity"]) == (0.5, 1.0)


async def test_titles_and_clicks_stand_beside_a_decision_as_of_now(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2", "a3")
    await api.rank(request_id="r1", candidates=["a1", "a2", "a3"])
    await api.rank(request_id="r2", candidates=["a1"])
    await api.click("e1", "a2", request_id="r1")
    await api.click("e2", "a1", request_id="r2")
    await api.click("e3", "a3", user_id="u1")  # organic
    await api.publish("a1", title="A better title")
    assert (await api.client.delete("/articles/a3")).status_code == 204
    found = {slot["article_id"]: slot for slot in (await decision(api, "r1"))["items"]}
    assert {name: (slot["title"], slot["withdrawn"], slot["clicked"]) for name, slot in found.items()} == {
        "a1": ("A better title", False, False),
        "a2": ("Title of a2", False, True),
        "a3": ("Title of a3", True, False),
    }


async def test_pruned_weights_are_said_to_be_gone(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(request_id="r1")
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE weights SET data = NULL, pruned_at = now()"))
    found = await decision(api, "r1")
    assert found["reproduced"] is None
    assert "no longer stored" in found["reason"]
    assert found["items"][0]["article_id"] == "a1"


async def test_a_row_that_was_tampered_with_is_not_reproduced(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2", "a3")
    await api.rank(request_id="r1")
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE impressions SET shown = ARRAY[shown[2], shown[1], shown[3]]"))
    found = await decision(api, "r1")
    assert found["reproduced"] is False
    assert "derived list" in found["reason"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE impressions SET observation = set_byte(observation, 4, 9)", "feature schema 9"),
        ("UPDATE impressions SET observation = 'damaged'", "not a packed observation"),
        ("UPDATE impressions SET observation = substr(observation, 1, 40)", "a packed observation of"),
        ("UPDATE impressions SET shown = ARRAY['a1', 'ghost']", "ghost"),
        ("UPDATE weights SET data = 'damaged'", "version 1 cannot be read"),
    ],
)
async def test_what_cannot_be_read_is_said_and_the_rest_is_shown(api: Any, engine: AsyncEngine, damage: str, reason: str) -> None:
    await api.publish("a1", "a2")
    served = await api.rank(user_id="u1", request_id="r1", candidates=["a1", "a2", "ghost2"])
    async with writing(engine) as connection:
        await connection.execute(text(damage))
    found = await decision(api, "r1")
    assert found["reproduced"] is None
    assert reason in found["reason"]
    assert (found["user_id"], found["model_version"], found["unknown"]) == ("u1", 1, ["ghost2"])
    if "shown" in damage:
        assert [slot["article_id"] for slot in found["items"]] == ["a1", "ghost"]
        assert (found["items"][1]["current_score"], found["items"][1]["title"]) == (None, None)
    else:
        assert [slot["article_id"] for slot in found["items"]] == [item["article_id"] for item in served["items"]]
        assert [slot["current_score"] for slot in found["items"]] == pytest.approx([item["score"] for item in served["items"]])
    assert all(bool(slot["features"]) == ("weights" in damage) for slot in found["items"])


async def test_features_of_other_sizes_are_left_out(
    initial: Version, open_api: Any, engine: AsyncEngine, changes: dict[str, Any]
) -> None:
    first = await open_api()
    await first.publish("a1")
    await first.rank(request_id="r1")
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE weights SET data = NULL, pruned_at = now()"))
        wide = initial_version(Config(advantage_layers=(8,), value_layers=(8,), embedding_size=8), datetime.now(UTC))
        await versions.append(connection, replace(wide, id=2, parent_id=1, kind=VersionKind.MAJOR))
    other = await open_api(changes=changes | {"embedding_size": 8})
    found = await decision(other, "r1")
    assert (found["reproduced"], found["items"][0]["features"]) == (None, {})


async def test_a_decision_that_was_never_made_is_404(api: Any) -> None:
    answer = await api.client.get("/decisions/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_line_of_versions_newest_first(api: Any, initial: Version, engine: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await versions.append(connection, rollback(initial, initial, datetime(2026, 11, 22, 10, tzinfo=UTC)))
    found = (await api.client.get("/versions")).json()["versions"]
    assert [(each["id"], each["parent_id"], each["kind"]) for each in found] == [(2, 1, "rollback"), (1, None, "initial")]
    assert datetime.fromisoformat(found[0]["created_at"]) == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert len((await api.client.get("/versions?limit=1")).json()["versions"]) == 1
    assert (await api.client.get("/versions?limit=0")).status_code == 422


async def test_an_erased_reader_is_gone_everywhere(api: Any, open_api: Any) -> None:
    other = await open_api(follow_seconds=0.05)
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1")
    await api.rank(user_id="u2", request_id="r2")
    await api.click("e1", "a1", request_id="r1")
    await other.rank(user_id="u1", request_id="r3")
    receipt = (await api.client.delete("/users/u1")).json()
    assert (receipt["impressions"], receipt["feedback"]) == (2, 1)
    assert "u1" not in str(receipt)
    assert (await api.client.get("/decisions/r1")).status_code == 404
    assert (await api.client.get("/decisions/r2")).status_code == 200
    assert (await api.click("e2", "a1", request_id="r1")).status_code == 404
    await other.node.follower.catch_up()
    for each in (api, other):
        answer = await each.rank(user_id="u1", candidates=["a1"])
        features = (await decision(each, answer["request_id"]))["items"][0]["features"]
        assert "already_read" not in features
        await api.client.delete("/users/u1")
        await other.node.follower.catch_up()
    again = await api.client.delete("/users/u1")
    assert (again.status_code, again.json()["impressions"]) == (200, 0)
