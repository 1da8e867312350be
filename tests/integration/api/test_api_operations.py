"""Health, metrics, documentation, keys, and when the service refuses to start."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.versions import Version, initial_version
from service.errors import StartRefused
from service.keys import new_key
from service.store import keys, versions
from service.store.engine import writing

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


async def create_key(engine: AsyncEngine, *scopes: str) -> tuple[str, dict[str, str]]:
    """A stored key's id, and the header that carries it."""
    made = new_key()
    async with writing(engine) as connection:
        stored = await keys.create(connection, "test", made.digest, scopes, NOW)
    return stored.id, {"authorization": f"Bearer {made.text}"}


async def test_health(api: Any) -> None:
    for path in ("/livez", "/readyz"):
        answer = await api.client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_metrics_tell_what_happened(api: Any) -> None:
    await api.publish("a1", "a2")
    answer = await api.rank(user_id="u1")
    await api.click("e1", "a1", request_id=answer["request_id"])
    await api.client.get("/nowhere/at/all")
    text = (await api.client.get("/metrics")).text
    for line in (
        'drn_http_requests_total{method="POST",route="/rank",status="200"} 1.0',
        'drn_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'drn_feedback_events_total{type="click"} 1.0',
        "drn_impressions_total 1.0",
        "drn_model_version 1.0",
        "drn_articles 2.0",
        "drn_cached_readers 1.0",
        'drn_http_request_seconds_count{route="/rank"} 1.0',
    ):
        assert line in text, line
    assert "process_resident_memory_bytes" in text


async def test_the_documentation_works_offline(api: Any) -> None:
    page = (await api.client.get("/docs")).text
    found = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(found) >= 3
    for address in found:
        assert not address.startswith(("http:", "https:", "//"))
        if not address.startswith("data:"):
            assert (await api.client.get(address)).status_code == 200
    assert "http://" not in page.replace("http://test", "")
    assert "https://" not in page


async def test_openapi_describes_every_route_and_its_problems(api: Any) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    assert {"/rank", "/feedback", "/articles", "/articles/{article_id}", "/users/{user_id}", "/versions"} <= schema[
        "paths"
    ].keys()
    assert "HTTPValidationError" not in str(schema)
    problem = schema["paths"]["/rank"]["post"]["responses"]["422"]["content"]
    assert list(problem) == ["application/problem+json"]


async def test_with_keys_every_request_needs_one_with_the_scope(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    key_id, ranker = await create_key(engine, "rank")
    _, admin = await create_key(engine, "admin")
    await api.node.follower.catch_up()
    refused = await api.client.post("/rank", json={})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert (await api.client.post("/rank", json={}, headers=ranker)).status_code == 200
    for method, path in (
        ("POST", "/feedback"),
        ("PUT", "/articles"),
        ("GET", "/articles/a1"),
        ("DELETE", "/articles/a1"),
        ("DELETE", "/users/u1"),
        ("GET", "/versions"),
        ("GET", "/decisions/r1"),
        ("GET", "/metrics"),
        ("GET", "/admin/data"),
    ):
        bare = await api.client.request(method, path, json={})
        assert bare.status_code in (401, 405), path
        assert (await api.client.request(method, path, headers=ranker, json={})).status_code == 403, path
        assert (await api.client.request(method, path, headers=admin, json={})).status_code not in (401, 403), path
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        assert (await api.client.get(path)).status_code == 200
    async with writing(engine) as connection:
        assert await keys.revoke(connection, key_id, NOW)
    await api.node.follower.catch_up()
    assert (await api.client.post("/rank", json={}, headers=ranker)).status_code == 401


async def test_beyond_loopback_it_needs_a_key(initial: Version, open_api: Any, engine: AsyncEngine) -> None:
    with pytest.raises(StartRefused, match="python -m jobs keys create"):
        await open_api(host="0.0.0.0")
    await create_key(engine, "rank")
    api = await open_api(host="0.0.0.0")
    assert (await api.client.post("/rank", json={})).status_code == 401


async def test_the_last_key_revoked_opens_only_a_loopback_service(initial: Version, open_api: Any, engine: AsyncEngine) -> None:
    key_id, _ = await create_key(engine, "admin")
    beyond, local = await open_api(host="0.0.0.0"), await open_api()
    async with writing(engine) as connection:
        assert await keys.revoke(connection, key_id, NOW)
    for each in (beyond, local):
        await each.node.follower.catch_up()
    assert (await beyond.client.get("/versions")).status_code == 401
    assert (await beyond.client.delete("/users/u1")).status_code == 401
    assert (await local.client.get("/versions")).status_code == 200


async def test_other_features_than_the_newest_version_are_refused(
    initial: Version, open_api: Any, changes: dict[str, Any]
) -> None:
    with pytest.raises(StartRefused, match="DRN_CONFIG"):
        await open_api(changes=changes | {"embedding_size": 8})


async def test_a_version_with_other_features_is_refused_openly_while_running(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    other = initial_version(Config(advantage_layers=(8,), value_layers=(8,), embedding_size=8), NOW)
    successor = Version(2, 1, other.kind.MAJOR, NOW, other.model, other.duel, 0, other.config, other.schema, {})
    async with writing(engine) as connection:
        await versions.append(connection, successor)
    await api.node.follower.catch_up()
    answer = await api.rank()
    assert answer["model_version"] == 1
    assert "version 2" in answer["fallback"]
    assert "drn_version_refused 1.0" in (await api.client.get("/metrics")).text


async def test_a_database_without_tables_is_refused(empty_database_url: str, open_api: Any) -> None:
    with pytest.raises(StartRefused, match="python -m jobs migrate"):
        await open_api(database_url=empty_database_url)


async def test_an_unreachable_database_is_refused_in_the_end(open_api: Any) -> None:
    with pytest.raises(StartRefused, match="not reached"):
        await open_api(database_url="postgresql://drn@127.0.0.1:1/drn", start_timeout=0.0)


@pytest.mark.parametrize(("url", "reason"), [("", "DATABASE_URL"), ("mysql://x/y", "postgresql://")])
async def test_no_database_is_refused(open_api: Any, url: str, reason: str) -> None:
    with pytest.raises(StartRefused, match=reason):
        await open_api(database_url=url)
