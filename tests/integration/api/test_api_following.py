"""A process stays in step with the store: trouble with one thing keeps nothing else from being followed, and nothing ends it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.checkpoint import digest
from drn.types import Event, Model, VersionKind
from drn.versions import Version
from service import following, node
from service.following import Follower
from service.keys import Scope, new_key
from service.store import feedback, impressions, keys, versions
from service.store.engine import writing
from service.store.erasures import Receipt, erase_user
from service.store.errors import StoreUnavailable
from service.store.locks import try_hold_erasure
from service.store.lookups import Histories
from service.store.tables import weights
from tests.integration.api.conftest import until

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a fault of this release")


def clicks(api: Any, article_id: str) -> int:
    row = api.node.live.catalogue.row(article_id)
    return 0 if row is None else int(api.node.live.catalogue.counts[row, 0])


async def test_an_unexpected_error_neither_ends_following_nor_stops_the_rest(
    initial: Version, open_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, follower = await open_api(), await open_api()
    with monkeypatch.context() as broken:
        broken.setattr(impressions, "exposures_since", fails)
        await writer.publish("a1")
        await writer.click("e1", "a1")
        await until(lambda: "a1" in follower.node.live.catalogue)
        await asyncio.sleep(0.5)
        assert clicks(follower, "a1") == 0
        assert not follower.node.following.done()
        assert "drn_follow_failures_total 0.0" not in (await follower.client.get("/metrics")).text
    await until(lambda: clicks(follower, "a1") == 1)


async def test_notices_that_cannot_be_heard_are_no_end(initial: Version, open_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.notifications.Listener.wait", fails)
    writer, follower = await open_api(), await open_api()
    await writer.publish("a1")
    await until(lambda: "a1" in follower.node.live.catalogue)


async def append_other_weights(engine: AsyncEngine, initial: Version, data: bytes | None) -> None:
    """A second version whose network is stored as `data`."""
    current = {name: array + 1 for name, array in initial.model.current.items()}
    model = Model(current, current, {})
    async with writing(engine) as connection:
        await versions.append(connection, replace(initial, id=2, parent_id=1, kind=VersionKind.MAJOR, model=model))
        values = {"data": data, "pruned_at": NOW if data is None else None}
        await connection.execute(update(weights).where(weights.c.digest == digest(current)).values(values))


@pytest.mark.parametrize(("data", "reason"), [(b"no weights", "version 2"), (None, "dropped to save space")])
async def test_a_bad_newest_version_keeps_nothing_else_from_being_followed(
    initial: Version, open_api: Any, engine: AsyncEngine, data: bytes | None, reason: str
) -> None:
    writer, follower = await open_api(), await open_api()
    await writer.publish("a1")
    await append_other_weights(engine, initial, data)
    await follower.node.follower.catch_up()
    answer = await follower.rank()
    assert answer["model_version"] == 1
    assert reason in answer["fallback"]
    made = new_key()
    async with writing(engine) as connection:
        await keys.create(connection, "admin", made.digest, [Scope.ADMIN], NOW)
    await until(lambda: bool(follower.node.live.keys.scopes))
    headers = {"authorization": f"Bearer {made.text}"}
    assert (await follower.client.get("/readyz")).status_code == 200
    assert (await follower.client.get("/versions", headers=headers)).status_code == 200


async def test_readiness_ends_when_the_store_is_not_followed(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "LAG_SECONDS", 1.0)
    with monkeypatch.context() as broken:
        broken.setattr(keys, "active", fails)
        await until(lambda: api.node.follower.lag > 1.0)
        answer = await api.client.get("/readyz")
        assert (answer.status_code, "not been followed" in answer.json()["detail"]) == (503, True)
        assert "drn_follow_lag_seconds 0." not in (await api.client.get("/metrics")).text
    await until(lambda: api.node.follower.lag < 1.0)
    assert (await api.client.get("/readyz")).status_code == 200
    api.node.following.cancel()
    await asyncio.wait({api.node.following})
    assert (await api.client.get("/readyz")).status_code == 503


async def test_a_reader_who_cannot_be_read_leaves_nothing_behind(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.publish("a1")

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as broken:
        broken.setattr(Histories, "commit", away)
        for i in range(3):
            assert (await api.client.post("/rank", json={"user_id": f"u{i}"})).status_code == 503
    assert api.node.live.loading == 0
    assert (await api.client.post("/rank", json={"user_id": "u0"})).status_code == 200


async def test_a_reader_who_takes_long_to_read_is_refused_once_and_then_known(
    initial: Version, open_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await open_api(store_timeout=0.2)
    await api.publish("a1")
    commit, released = Histories.commit, asyncio.Event()

    async def slow(self: Histories, connection: Any, items: Any) -> Any:
        await released.wait()
        return await commit(self, connection, items)

    monkeypatch.setattr(Histories, "commit", slow)
    assert (await api.client.post("/rank", json={"user_id": "u1"})).status_code == 503
    released.set()
    await until(lambda: api.node.live.cached_reader("u1") is not None)
    assert (await api.client.post("/rank", json={"user_id": "u1"})).status_code == 200


async def test_in_doubt_readers_are_dropped_only_for_what_their_process_wrote(
    initial: Version, open_api: Any, engine: AsyncEngine
) -> None:
    writer, doubting = await open_api(), await open_api()
    live, follower = doubting.node.live, doubting.node.follower
    doubting.node.following.cancel()  # looks are taken here
    await writer.publish("a1")
    await follower.catch_up()
    await doubting.rank(user_id="u1", candidates=["a1"])
    for _ in range(2):
        await follower.catch_up()
    reader = live.cached_reader("u1")
    assert reader is not None
    now = datetime.now(UTC)
    async with engine.begin() as connection:  # a commit of its own that was not answered
        await feedback.record(connection, [Event("e1", "a1", "click", now, user_id="u1")], follower._writer_id, now)
    await writer.click("e2", "a1", user_id="u1")
    await follower.catch_up()
    assert (clicks(doubting, "a1"), live.cached_reader("u1")) == (1, reader)
    follower.doubt()
    await writer.click("e3", "a1", user_id="u2")
    await follower.catch_up()
    assert (clicks(doubting, "a1"), live.cached_reader("u1")) == (3, None)


async def test_a_start_that_is_tried_again_counts_once(initial: Version, open_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await open_api()
    await first.publish("a1")
    await first.click("e1", "a1")
    catch_up, tries = Follower.catch_up, []

    async def fails_at_first(follower: Follower) -> None:
        tries.append(follower)
        if len(tries) == 1:
            raise StoreUnavailable("away for a moment")
        await catch_up(follower)

    monkeypatch.setattr(Follower, "catch_up", fails_at_first)
    again = await open_api()
    assert len(tries) == 2
    assert clicks(again, "a1") == 1


async def test_requests_have_their_turn_while_erasures_are_followed(
    api: Any, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt names nobody, so it is compared with every reader in memory."""
    monkeypatch.setattr(following, "HASHES", 10)
    live, turns, following_it = api.node.live, [], True
    monkeypatch.setattr(live, "known_readers", lambda: tuple(f"u{i}" for i in range(1_000)))
    concerns = Receipt.concerns

    async def others() -> None:
        while following_it:
            turns.append(seen[0])
            await asyncio.sleep(0)

    seen = [0]

    def counted(receipt: Receipt, user_id: str) -> bool:
        seen[0] += 1
        return concerns(receipt, user_id)

    monkeypatch.setattr(Receipt, "concerns", counted)
    async with writing(engine) as connection:
        await erase_user(connection, "u1", NOW)
    waiting = asyncio.create_task(others())
    await until(lambda: seen[0] == 1_000)
    following_it = False
    await waiting
    assert max(after - before for before, after in pairwise(turns)) <= 10


async def test_one_erasure_of_a_reader_at_a_time(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1")
    async with writing(engine) as connection:
        assert await try_hold_erasure(connection, "u1")
        answer = await api.client.delete("/users/u1")
        assert (answer.status_code, answer.json()["detail"]) == (503, "this reader is being erased; ask again when that is done")
        assert (await api.client.delete("/users/u2")).status_code == 200
    assert (await api.client.delete("/users/u1")).json()["impressions"] == 1


async def test_an_erasure_that_commits_after_a_later_one_is_followed(api: Any, engine: AsyncEngine) -> None:
    await api.publish("a1")
    await api.rank(user_id="u1")
    assert api.node.live.cached_reader("u1") is not None
    async with engine.begin() as slow:
        first = await erase_user(slow, "u1", NOW)
        async with writing(engine) as quick:
            assert (await erase_user(quick, "u9", NOW)).id > first.id
        await api.node.follower.catch_up()
    await api.node.follower.catch_up()
    assert api.node.live.cached_reader("u1") is None
