"""GET, POST /rules and DELETE /rules/{id}, and what they do to lists."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.transitions import experience, preference_pairs
from drn.types import ClosedImpression, Event, Rule, RuleKind
from drn.updates import settled_outcome
from service.handlers import rules as handler
from service.keys import Scope, new_key
from service.store import impressions, keys, rules
from service.store.engine import reading, writing
from service.store.errors import StoreUnavailable
from tests.integration.api.conftest import until

CONFIG = Config(embedding_size=4)


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["article_id"] for item in answer["items"]]


async def test_articles_are_found_by_their_titles(api: Any) -> None:
    await api.publish("a1", title="Storm closes the harbour")
    await api.publish("a2", title="Late goal")
    answer = await api.client.get("/articles", params={"title": "THE HARB"})
    assert [each["id"] for each in answer.json()["articles"]] == ["a1"]
    assert len((await api.client.get("/articles")).json()["articles"]) == 2
    assert len((await api.client.get("/articles?limit=1")).json()["articles"]) == 1
    for wrong in ({"title": "x" * 201}, {"title": "\0"}, {"limit": 0}, {"limit": 101}):
        assert (await api.client.get("/articles", params=wrong)).status_code == 422


async def set_rule(api: Any, **body: Any) -> dict[str, Any]:
    answer = await api.client.post("/rules", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def listed(api: Any, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.client.get("/rules", params=query)).json()["rules"]
    return found


async def refused(api: Any, **body: Any) -> dict[str, Any]:
    answer = await api.client.post("/rules", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_pin_is_set_listed_and_ended(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(8)))
    rule = await set_rule(api, kind="pin", article_id="a7", position=1)
    assert rule | {"created_at": None} == {
        "id": 1,
        "kind": "pin",
        "article_id": "a7",
        "title": "Title of a7",
        "live": True,
        "surface": None,
        "position": 1,
        "most": None,
        "boost": None,
        "created_at": None,
        "ends_at": None,
        "ended_at": None,
    }
    assert await listed(api) == [rule]
    answer = await api.rank(k=3)
    assert ids(answer)[1] == "a7"
    assert [item["reason"] for item in answer["items"]] == ["ranked", "pinned", "ranked"]
    assert (await api.client.delete("/rules/1")).status_code == 204
    assert {item["reason"] for item in (await api.rank(k=3))["items"]} == {"ranked"}
    assert await listed(api) == []
    [ended] = await listed(api, ended=True)
    assert ended["ended_at"] is not None
    assert (await api.client.delete("/rules/1")).status_code == 404
    assert (await api.client.delete("/rules/nought")).status_code == 422


async def test_what_the_app_asks_for_wins_and_is_not_blamed(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(6)))
    for position in range(4):
        await set_rule(api, kind="pin", article_id=f"a{position}", position=position)
    own = {"article_id": "a5", "position": 0}
    answer = await api.rank(k=3, candidates=["a4", "a5"], pinned=[own], exclude=["a1"])
    assert (ids(answer)[0], ids(answer)[2]) == ("a5", "a2")  # a0's place is taken, a1 excluded, a3's beyond the list
    assert ids(answer)[1] == "a4"
    assert answer["unknown"] == []
    assert (await api.client.delete("/articles/a2")).status_code == 204
    answer = await api.rank(k=3, candidates=["a4"])
    assert (ids(answer), answer["unknown"]) == (["a0", "a1", "a4"], [])
    pinned = [{"article_id": "a4", "position": 2}]
    assert ids(await api.rank(k=9, candidates=["a4", "a5", "a3"], pinned=pinned))[:4] == ["a0", "a1", "a4", "a3"]
    assert [(rule["article_id"], rule["live"]) for rule in await listed(api)][2] == ("a2", False)


async def test_a_broken_list_of_ids_is_refused_as_without_rules(api: Any) -> None:
    await api.publish("a1")
    await set_rule(api, kind="pin", article_id="a1", position=0)
    answer = await api.client.post("/rank", json={"candidates": ["nope"]})
    assert answer.status_code == 422
    assert "nope" in answer.json()["errors"][0]["message"]
    assert ids(await api.rank(k=3)) == ["a1"]


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), TypeError("anything else")])
async def test_what_is_committed_is_a_success_also_where_it_cannot_be_followed_at_once(
    api: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails() -> None:
        raise error

    await api.publish("a1")
    with monkeypatch.context() as broken:
        broken.setattr(api.node.follower, "follow_rules", fails)
        rule = await set_rule(api, kind="pin", article_id="a1", position=0)
        await until(lambda: len(api.node.live.rules) == 1)
        assert (await api.client.delete(f"/rules/{rule['id']}")).status_code == 204
        await until(lambda: api.node.live.rules == ())


async def test_rules_of_a_surface_hold_there_alone(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(6)))
    await set_rule(api, kind="pin", article_id="a5", position=0, surface="sport")
    await set_rule(api, kind="pin", article_id="a4", position=0)
    assert ids(await api.rank(k=2, context={"surface": "sport"}))[0] == "a5"
    assert ids(await api.rank(k=2, context={"surface": "home"}))[0] == "a4"
    assert ids(await api.rank(k=2))[0] == "a4"


async def test_a_rule_ends_by_itself(initial: Any, open_api: Any) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    api = await open_api(lambda: now)
    await api.publish("a1", "a2", "a3", published_at="2026-11-22T08:00:00Z")
    await set_rule(api, kind="pin", article_id="a3", position=0, ends_at="2026-11-22T12:00:00+01:00")
    now = datetime(2026, 11, 22, 10, 59, 59, tzinfo=UTC)
    assert (await api.rank(k=1))["items"][0]["reason"] == "pinned"
    assert len(await listed(api)) == 1
    now = datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert (await api.rank(k=1))["items"][0]["reason"] == "ranked"
    assert await listed(api) == []
    assert [rule["ended_at"] for rule in await listed(api, ended=True)] == ["2026-11-22T11:00:00+00:00"]
    assert (await api.client.delete("/rules/1")).status_code == 404
    await set_rule(api, kind="pin", article_id="a3", position=0)


async def test_a_cap_counts_for_each_reader(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(4)))
    await set_rule(api, kind="cap", article_id="a0", most=2)
    for expected in (True, True, False, False):
        assert ("a0" in ids(await api.rank(user_id="u1"))) is expected
    assert "a0" in ids(await api.rank(user_id="u2"))
    for _ in range(4):
        assert "a0" in ids(await api.rank())
        await api.rank(session_id="s1")
    assert "a0" not in ids(await api.rank(session_id="s1"))
    assert "a0" not in ids(await api.rank(user_id="u1", candidates=["a0", "a1"]))
    assert "a0" in ids(await api.rank(user_id="u1", pinned=[{"article_id": "a0", "position": 0}]))
    assert (await api.client.delete("/users/u1")).status_code == 200
    assert "a0" in ids(await api.rank(user_id="u1"))  # an erased reader was shown nothing


async def test_a_cap_counts_what_other_processes_showed(api: Any, open_api: Any) -> None:
    await api.publish("a1", "a2")
    await set_rule(api, kind="cap", article_id="a1", most=1)
    await api.rank(user_id="u1")
    other = await open_api()
    assert ids(await other.rank(user_id="u1")) == ["a2"]


async def test_caps_leave_no_list_empty(api: Any) -> None:
    await api.publish("a1", "a2")
    for name in ("a1", "a2"):
        await set_rule(api, kind="cap", article_id=name, most=1)
    assert (await api.rank(user_id="u1"))["fallback"] is None
    answer = await api.rank(user_id="u1")
    assert sorted(ids(answer)) == ["a1", "a2"]
    assert "caps were ignored" in answer["fallback"]
    assert "drn_fallbacks_total 0.0" in (await api.client.get("/metrics")).text  # the ranking was no simpler
    assert (await api.client.post("/rank", json={"user_id": "u1", "candidates": ["ghost"]})).status_code == 422


async def test_a_list_of_rules_is_derived_again_also_when_they_have_ended(api: Any) -> None:
    await api.publish(*(f"a{i}" for i in range(9)))
    await api.rank(user_id="u1", candidates=["a1"])
    await set_rule(api, kind="pin", article_id="a8", position=2)
    await set_rule(api, kind="cap", article_id="a1", most=1)
    served = await api.rank(user_id="u1", k=4, request_id="r1")
    assert ids(served)[2] == "a8"
    assert "a1" not in ids(served)
    for end in (False, True):
        if end:
            for rule in await listed(api):
                assert (await api.client.delete(f"/rules/{rule['id']}")).status_code == 204
        found = (await api.client.get("/decisions/r1")).json()
        assert found["reproduced"] is True
        assert [slot["article_id"] for slot in found["items"]] == ids(served)
        assert (found["items"][2]["reason"], found["items"][2]["credit"], found["items"][2]["propensity"]) == ("pinned", 0.5, 1.0)
        assert "a1" not in found["candidates"]
        assert await api.rank(user_id="u1", k=4, request_id="r1") == served  # a retry gets the same list


async def test_a_boosted_list_is_derived_again(api: Any, engine: AsyncEngine) -> None:
    await api.publish(*(f"a{i}" for i in range(9)))
    plain = await api.rank(user_id="u1", k=9, explore=False)
    last, first = ids(plain)[-1], ids(plain)[0]
    rule = await set_rule(api, kind="boost", article_id=last, boost=50.0)
    await set_rule(api, kind="boost", article_id=first, boost=-50)
    served = await api.rank(user_id="u1", k=9, request_id="r1")
    still = await api.rank(user_id="u2", k=9, request_id="r2", explore=False)
    assert (ids(still)[0], ids(still)[-1]) == (last, first)
    assert max(abs(item["score"]) for item in still["items"]) < 40  # Q itself, without the boost
    await api.client.delete(f"/rules/{rule['id']}")
    for request_id, answer in (("r1", served), ("r2", still)):
        found = (await api.client.get(f"/decisions/{request_id}")).json()
        assert found["reproduced"] is True
        assert [slot["article_id"] for slot in found["items"]] == ids(answer)
        assert {slot["article_id"]: slot["boost"] for slot in found["items"] if slot["boost"]} == {last: 50.0, first: -50.0}
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE impressions SET boosts = ''"))
    found = (await api.client.get("/decisions/r2")).json()
    assert found["reproduced"] is False
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE impressions SET boosts = 'damaged!'"))
    found = (await api.client.get("/decisions/r2")).json()
    assert (found["reproduced"], [slot["boost"] for slot in found["items"]]) == (None, [0.0] * 9)
    assert "boosts of 2" in found["reason"]


async def test_a_click_on_an_editors_pin_says_nothing_in_the_duel(api: Any, engine: AsyncEngine) -> None:
    await api.publish(*(f"a{i}" for i in range(9)))
    await set_rule(api, kind="pin", article_id="a8", position=0)
    await api.rank(user_id="u1", k=3, request_id="r1")
    async with reading(engine) as connection:
        found = await impressions.by_request_id(connection, "r1")
    assert found is not None
    assert [(pin.article_id, pin.position) for pin in found.impression.pins] == [("a8", 0)]
    assert found.impression.interleaving.pinned.tolist() == [True, False, False]
    assert found.impression.interleaving.credit[0] == 0.5
    at = found.impression.at
    closed = ClosedImpression(found.impression, (Event("e1", "a8", "click", at, request_id="r1", user_id="u1"),), found.seq)
    assert (settled_outcome(closed).clicks, settled_outcome(closed).outcome) == (1, 0.0)
    assert len(preference_pairs(experience(closed, CONFIG, at))) == 0


async def test_every_process_goes_by_a_rule_within_a_second(api: Any, open_api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2")
    other = await open_api(follow_seconds=0.25)
    rule = await set_rule(api, kind="pin", article_id="a2", position=0)
    await until(lambda: len(other.node.live.rules) == 1)
    assert (await other.rank())["items"][0]["reason"] == "pinned"
    assert (await api.client.delete(f"/rules/{rule['id']}")).status_code == 204
    await until(lambda: other.node.live.rules == ())
    assert (await open_api()).node.live.rules == ()
    async with writing(engine) as connection:
        await rules.add(connection, Rule(RuleKind.PIN, "a1", position=0), datetime.now(UTC))
    assert len((await open_api()).node.live.rules) == 1


async def test_rules_are_followed_without_notices(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    async with writing(engine) as connection:  # behind every process's back
        values = "('pin', 'a1', 0, now())"
        await connection.execute(text(f"INSERT INTO rules (kind, article_id, position, created_at) VALUES {values}"))
    await until(lambda: len(api.node.live.rules) == 1)


def test_processes_on_real_sockets_go_by_one_rule(initial: Any, spawn: Any) -> None:
    first, second = spawn(), spawn()
    for each in (first, second):
        each.wait_until_ready()
    articles = [{"id": f"a{i}", "title": f"Title {i}", "published_at": "2026-11-22T10:00:00Z"} for i in range(9)]
    assert httpx.put(f"{first.url}/articles", json={"articles": articles}).status_code == 200
    rule = {"kind": "pin", "article_id": "a8", "position": 1, "surface": "home"}
    answer = httpx.post(f"{first.url}/rules", json=rule)
    assert answer.status_code == 201

    def pinned(url: str) -> bool:
        home = httpx.post(f"{url}/rank", json={"k": 3, "context": {"surface": "home"}}).json()
        return [item["reason"] for item in home["items"]] == ["ranked", "pinned", "ranked"] and ids(home)[1] == "a8"

    assert pinned(first.url)  # from the very next list on
    time.sleep(1)
    assert pinned(second.url)
    assert httpx.get(f"{second.url}/rules").json()["rules"][0]["id"] == answer.json()["id"]
    assert httpx.delete(f"{second.url}/rules/{answer.json()['id']}").status_code == 204
    assert not pinned(second.url)
    time.sleep(1)
    assert not pinned(first.url)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"kind": "pin", "article_id": "ghost", "position": 0}, "article_id", "there is no article 'ghost'"),
        ({"kind": "pin", "article_id": "down", "position": 0}, "article_id", "article 'down' was withdrawn"),
        (
            {"kind": "pin", "article_id": "a2", "position": 0},
            "position",
            "article 'a1' (Title of a1) is pinned there on every surface already: rule 1",
        ),
        ({"kind": "pin", "article_id": "a1", "position": 3}, "article_id", "has a pin on every surface already: rule 1"),
        ({"kind": "pin", "article_id": "a2", "position": 1, "ends_at": "2026-11-22T10:00:00Z"}, "ends_at", "is past"),
        ({"kind": "pin", "article_id": "a2", "position": 1, "ends_at": "tomorrow"}, "ends_at", "ISO 8601"),
        ({"kind": "pin", "article_id": "a2", "position": 100}, "position", "less than or equal to 99"),
        ({"kind": "pin", "article_id": "a2", "position": -1}, "position", "greater than or equal to 0"),
        ({"kind": "pin", "article_id": "a2", "position": True}, "position", "must be a number"),
        ({"kind": "pin", "article_id": "a2"}, "body", "position: a pin needs it"),
        ({"kind": "pin", "article_id": "a2", "position": 1, "most": 1}, "body", "most: a pin has none"),
        ({"kind": "cap", "article_id": "a2"}, "body", "most: a cap needs it"),
        ({"kind": "cap", "article_id": "a2", "most": 0}, "most", "greater than or equal to 1"),
        ({"kind": "cap", "article_id": "a2", "most": 65_536}, "most", "less than or equal to 65535"),
        ({"kind": "boost", "article_id": "a2"}, "body", "boost: a boost needs it"),
        ({"kind": "boost", "article_id": "a2", "boost": 0}, "body", "boost: 0 changes nothing"),
        ({"kind": "boost", "article_id": "a2", "boost": -100.5}, "boost", "greater than or equal to -100"),
        ({"kind": "boost", "article_id": "a2", "boost": "1"}, "boost", "must be a number"),
        ({"kind": "nail", "article_id": "a2"}, "kind", "'pin', 'cap' or 'boost'"),
        ({"kind": "cap", "article_id": "a2", "most": 1, "surface": ""}, "surface", "at least 1 character"),
        ({"kind": "cap", "article_id": "a2", "most": 1, "until": None}, "until", "not permitted"),
    ],
)
async def test_what_is_wrong_with_a_rule_is_said(api: Any, body: dict[str, Any], field: str, message: str) -> None:
    await api.publish("a1", "a2", "down")
    await api.client.delete("/articles/down")
    await set_rule(api, kind="pin", article_id="a1", position=0)
    problem = await refused(api, **body)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert message in problem["errors"][0]["message"]
    assert len(await listed(api)) == 1


async def test_rules_are_bounded(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "MOST_RUNNING", 1)
    await api.publish("a1")
    rule = await set_rule(api, kind="cap", article_id="a1", most=5)
    assert "which is the most" in (await refused(api, kind="pin", article_id="a1", position=0))["detail"]
    await api.client.delete(f"/rules/{rule['id']}")
    await set_rule(api, kind="pin", article_id="a1", position=0)


async def test_only_admins_set_rules(api: Any, engine: AsyncEngine) -> None:
    made = {scope: new_key() for scope in (Scope.READ, Scope.ADMIN)}
    async with writing(engine) as connection:
        for scope, key in made.items():
            await keys.create(connection, scope, key.digest, [scope], datetime.now(UTC) - timedelta(minutes=1))
    await until(lambda: len(api.node.live.keys.scopes) == 2)
    for scope, allowed in ((Scope.READ, False), (Scope.ADMIN, True)):
        headers = {"authorization": f"Bearer {made[scope].text}"}
        assert (await api.client.get("/rules", headers=headers)).status_code == (200 if allowed else 403)
        body = {"kind": "pin", "article_id": "ghost", "position": 0}
        assert (await api.client.post("/rules", headers=headers, json=body)).status_code == (422 if allowed else 403)
        assert (await api.client.delete("/rules/9", headers=headers)).status_code == (404 if allowed else 403)
    assert (await api.client.get("/rules")).status_code == 401
