"""The largest requests that are allowed: stored, and answered without keeping the others waiting."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from service.live import Live

LARGEST = 10_000  # articles
EVENTS = 5_000


async def test_the_largest_batch_of_articles_is_stored(api: Any) -> None:
    articles = [{"id": f"a{i}", "title": f"Title {i}", "published_at": "2026-11-22T08:00:00Z"} for i in range(LARGEST)]
    answer = await api.client.put("/articles", json={"articles": articles})
    assert (answer.status_code, answer.json()) == (200, {"stored": LARGEST})
    assert len((await api.rank(candidates=["a0", f"a{LARGEST - 1}"]))["items"]) == 2


async def test_other_requests_have_their_turn_while_a_batch_is_applied(
    initial: Any, open_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await open_api(follow_seconds=1.0)
    turn, turns = 0, []

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    put = Live.put

    def noted(live: Live, *arguments: Any) -> None:
        turns.append(turn)
        put(live, *arguments)

    monkeypatch.setattr(Live, "put", noted)
    waiting = asyncio.create_task(others())
    await api.publish(*(f"a{i}" for i in range(1_000)))
    waiting.cancel()
    assert len(turns) == 1_000
    longest = max(len([each for each in turns if each == at]) for at in set(turns))
    assert longest <= 100


async def test_thousands_of_events_on_unknown_articles_cost_one_look_up(api: Any) -> None:
    await api.publish("a1")
    events = [{"event_id": f"e{i}", "article_id": f"ghost{i}", "type": "click"} for i in range(EVENTS)]
    statements: list[str] = []
    event.listen(api.node.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    answer = await api.client.post("/feedback", json={"events": events})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "events.0.article_id"
    assert len([each for each in statements if "FROM articles" in each and "revision >" not in each]) == 1
