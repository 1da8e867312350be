"""POST /feedback: all of a request or nothing, once, and felt in the next list."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import feedback, impressions
from service.store.engine import reading, writing
from service.store.erasures import erase_user


async def features(api: Any, article_id: str, **request: Any) -> dict[str, Any]:
    """What the networks see of an article in the next list."""
    answer = await api.rank(candidates=[article_id], **request)
    decision = (await api.client.get(f"/decisions/{answer['request_id']}")).json()
    found: dict[str, Any] = decision["items"][0]["features"] | {"reader": decision["reader_features"]}
    return found


async def log_size(engine: AsyncEngine) -> int:
    async with reading(engine) as connection:
        return len(await feedback.events_since(connection, 0))


async def test_a_credited_click_is_seen_in_the_next_request(api: Any) -> None:
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1")
    before = await features(api, "a1", user_id="u1")
    assert "already_read" not in before
    assert (await api.click("e1", "a1", request_id="r1")).json() == {"accepted": 1, "duplicates": 0}
    after = await features(api, "a1", user_id="u1")
    assert after["already_read"] > 0
    assert after["clicks_1h"] > before["clicks_1h"]
    assert after["shown_before"] > before["shown_before"]
    assert after["reader"]["reader_clicks_1h"] > 0
    assert "already_read" not in await features(api, "a1", user_id="u2")


async def test_organic_reading_feeds_history_and_counters(api: Any) -> None:
    await api.publish("a1")
    before = await features(api, "a1", user_id="u1")
    assert (await api.click("e1", "a1", user_id="u1")).status_code == 202
    after = await features(api, "a1", user_id="u1")
    assert after["already_read"] > 0
    assert after["clicks_1h"] > before["clicks_1h"]
    assert (await api.click("e2", "a1", session_id="s1")).status_code == 202
    assert (await features(api, "a1", session_id="s1"))["already_read"] > 0
    assert (await api.click("e3", "a1")).status_code == 202
    assert (await features(api, "a1"))["clicks_1h"] > after["clicks_1h"]


async def test_events_count_once_however_often_they_are_sent(api: Any) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    assert (await api.click("e1", "a1", request_id="r1")).json() == {"accepted": 1, "duplicates": 0}
    once = (await features(api, "a1", user_id="u1"))["already_read"]
    assert (await api.click("e1", "a1", request_id="r1")).json() == {"accepted": 0, "duplicates": 1}
    event = {"event_id": "e2", "article_id": "a1", "type": "dwell", "value": 31.5, "request_id": "r1"}
    answer = await api.client.post("/feedback", json={"events": [event, event]})
    assert answer.json() == {"accepted": 1, "duplicates": 1}
    assert (await features(api, "a1", user_id="u1"))["already_read"] == once


async def test_racing_retries_are_stored_once(api: Any, open_api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    other = await open_api()
    answers = await asyncio.gather(*(each.click("e1", "a1", request_id="r1") for each in (api, other) * 5))
    assert sum(answer.json()["accepted"] for answer in answers) == 1
    assert await log_size(engine) == 1


async def test_all_of_a_request_or_nothing(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2")
    await api.rank(candidates=["a1"], request_id="r1")
    good = {"event_id": "e0", "article_id": "a1", "type": "click", "request_id": "r1"}
    wrong = [
        good | {"event_id": "e1", "request_id": "nowhere"},
        good | {"event_id": "e2", "article_id": "a2"},
        {"event_id": "e3", "article_id": "ghost", "type": "click"},
    ]
    answer = await api.client.post("/feedback", json={"events": [good, *wrong]})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [
        "events.1.request_id",
        "events.2.article_id",
        "events.3.article_id",
    ]
    for event_id, error in zip(("e1", "e2", "e3"), answer.json()["errors"], strict=True):
        assert event_id in error["message"]
    assert await log_size(engine) == 0


async def test_an_unknown_request_is_404(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    answer = await api.click("e1", "a1", request_id="nowhere")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["field"] == "events.0.request_id"
    assert await log_size(engine) == 0


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"type": "stare"}, "type"),
        ({"type": "dwell"}, "value"),
        ({"type": "dwell", "value": -1}, "value"),
        ({"type": "read", "value": 1.5}, "value"),
        ({"user_id": "somebody else"}, "user_id"),
    ],
)
async def test_events_that_make_no_sense_are_422(api: Any, engine: AsyncEngine, event: dict[str, Any], field: str) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    answer = await api.click("e1", "a1", **({"request_id": "r1"} | event))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"events.0.{field}"
    assert await log_size(engine) == 0


async def test_any_type_that_the_settings_reward_is_taken(initial: Any, open_api: Any, changes: dict[str, Any]) -> None:
    api = await open_api(changes=changes | {"event_rewards": {"subscribe": 3.0}})
    await api.publish("a1")
    assert (await api.click("e1", "a1", type="subscribe")).status_code == 202


async def test_a_time_in_the_future_is_stored_as_now(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    ahead = datetime.now(UTC) + timedelta(days=300)
    assert (await api.click("e1", "a1", at=ahead.isoformat())).status_code == 202
    async with reading(engine) as connection:
        (stored,) = await feedback.events_since(connection, 0)
    assert stored.event.at <= datetime.now(UTC)


async def test_a_time_before_the_list_is_stored_as_the_lists(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    assert (await api.click("e1", "a1", request_id="r1", at="1995-01-01T00:00:00Z")).status_code == 202
    async with reading(engine) as connection:
        (stored,) = await feedback.events_since(connection, 0)
        (shown,) = await impressions.exposures_since(connection, 0)
    assert stored.event.at == shown.at


async def test_an_erasure_between_look_up_and_write_is_404(
    api: Any, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    api.node.live.lists.clear()

    find = api.node.lists.find

    async def overtaken(request_ids: Collection[str], seconds: float) -> Any:
        lists = await find(request_ids, seconds)
        async with writing(engine) as other:
            await erase_user(other, "u1", datetime.now(UTC))
        return lists

    monkeypatch.setattr(api.node.lists, "find", overtaken)
    answer = await api.click("e1", "a1", request_id="r1")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "events.0.request_id")
    assert await log_size(engine) == 0
    assert api.node.live.lists.get("r1") is None


async def test_a_list_that_was_looked_up_is_kept(api: Any) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    api.node.live.lists.clear()
    assert (await api.click("e1", "a1", request_id="r1")).status_code == 202
    assert api.node.live.lists.get("r1").user_id == "u1"


async def test_a_list_in_memory_that_was_erased_elsewhere_is_404(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    await api.rank(user_id="u2", request_id="r2")
    shown = api.node.live.lists.get("r1")
    async with writing(engine) as other:
        await erase_user(other, "u1", datetime.now(UTC))
    api.node.live.lists.remember(shown)  # should the follower have been quicker
    answers = await asyncio.gather(*(api.click(f"e{name}", "a1", request_id=name) for name in ("r2", "r1", "r2")))
    assert [answer.status_code for answer in answers] == [202, 404, 202]
    assert answers[1].json()["errors"][0]["field"] == "events.0.request_id"
    assert await log_size(engine) == 1


@pytest.mark.parametrize(("commits", "status"), [(True, 404), (False, 202)])
async def test_an_erasure_under_way_is_waited_for_by_feedback_on_its_lists_alone(
    api: Any, engine: AsyncEngine, commits: bool, status: int
) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1", request_id="r1")
    await api.rank(user_id="u2", request_id="r2")
    async with engine.connect() as erasing:
        await erase_user(erasing, "u1", datetime.now(UTC))
        waiting = asyncio.create_task(api.click("e1", "a1", request_id="r1"))
        assert (await api.click("e2", "a1", request_id="r2")).status_code == 202
        assert not waiting.done()
        await (erasing.commit() if commits else erasing.rollback())
    assert (await waiting).status_code == status
    assert await log_size(engine) == (1 if commits else 2)


async def test_a_list_that_has_left_memory_is_looked_up(api: Any, open_api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1")
    restarted = await open_api()
    assert (await restarted.click("e1", "a1", request_id="r1")).status_code == 202
    assert (await restarted.click("e2", "ghost", request_id="r1")).status_code == 422
    async with reading(engine) as connection:
        (stored,) = await feedback.events_since(connection, 0)
    assert stored.event.user_id == "u1"


async def test_what_other_processes_served_is_remembered_too(api: Any, open_api: Any) -> None:
    await api.publish("a1")
    other = await open_api()
    await api.rank(user_id="u1", request_id="r1")
    await other.node.follower.catch_up()
    assert other.node.live.lists.get("r1") == api.node.live.lists.get("r1")
    assert (await api.client.delete("/users/u1")).status_code == 200
    for each in (api, other):
        await each.node.follower.catch_up()
        assert each.node.live.lists.get("r1") is None


async def test_what_arrives_together_is_refused_or_stored_one_by_one(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1", candidates=["a1"])
    calls = [
        api.click("e1", "a1", request_id="r1"),
        api.click("e1", "a1", request_id="r1"),
        api.click("e2", "a2", request_id="r1"),
        api.click("e3", "a1", request_id="nowhere"),
        api.click("e4", "ghost"),
        api.click("e5", "a2", user_id="u2"),
    ]
    answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [202, 202, 422, 404, 422, 202]
    assert sorted(answer.json()["accepted"] for answer in answers[:2]) == [0, 1]
    assert await log_size(engine) == 2
    assert (await features(api, "a1", user_id="u1"))["already_read"] > 0


async def test_a_late_event_is_stored_and_counted(initial: Any, open_api: Any, engine: AsyncEngine) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    api = await open_api(clock=lambda: now)
    await api.publish("a1", published_at="2026-11-22T09:00:00Z")
    await api.rank(user_id="u1", request_id="r1")
    now += timedelta(minutes=30)  # the feedback window is 5 s
    assert (await api.click("e1", "a1", request_id="r1")).json() == {"accepted": 1, "duplicates": 0}
    assert (await features(api, "a1", user_id="u1"))["already_read"] > 0
    assert await log_size(engine) == 1


async def test_an_article_published_elsewhere_a_moment_ago_can_be_read(initial: Any, open_api: Any) -> None:
    first, second = await open_api(), await open_api(follow_seconds=1.0)
    await first.publish("fresh")
    assert (await second.click("e1", "fresh", user_id="u1")).status_code == 202
    assert (await features(second, "fresh", user_id="u1"))["already_read"] > 0


async def test_a_cold_reader_is_read_from_the_log(api: Any, open_api: Any) -> None:
    await api.publish("a1", "a2")
    await api.rank(user_id="u1", request_id="r1")
    await api.click("e1", "a1", request_id="r1")
    warm = await features(api, "a1", user_id="u1")
    restarted = await open_api()
    cold = await features(restarted, "a1", user_id="u1")
    for name in ("already_read", "clicks_1h"):
        assert cold[name] == warm[name]
    assert cold["shown_before"] > warm["shown_before"]  # the list that read `warm` counts as well
