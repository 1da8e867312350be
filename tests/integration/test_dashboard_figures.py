"""The dashboard's document over a real store: complete, the same however often it is asked for, honest when there is nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.types import Article, DuelState, Verdict, VersionKind
from drn.versions import initial_version
from service.app import create_app
from service.dashboard import rollback, tallies
from service.dashboard.evidence import Evidence, look
from service.dashboard.tallies import ScoreTally, TrafficTally
from service.keys import new_key
from service.settings import Settings
from service.store import articles, dashboard, duels, keys, locks, runs, versions
from service.store.dashboard import Outcome, Score
from service.store.impressions import ImpressionWriter
from service.store.locks import LEARN, Lock
from service.store.notifications import Listener
from service.store.tables import duel_outcomes

Make = Callable[..., Any]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CONFIG = Config(advantage_layers=(2,), value_layers=(2,), embedding_size=0)
CHANGES = {"advantage_layers": [2], "value_layers": [2], "embedding_size": 0}
FOREVER = float("inf")


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[ImpressionWriter]:
    async with ImpressionWriter(database_url, "w1") as writer:
        yield writer


@pytest.fixture
async def app(database_url: str, connection: AsyncConnection) -> AsyncIterator[FastAPI]:
    """The application over a database that holds the first version and one article."""
    now = datetime.now(UTC)
    await versions.append(connection, initial_version(CONFIG, now))
    await articles.upsert(connection, [Article("a1", "First", now - HOUR), Article("a2", "Second", now - HOUR)], now)
    await connection.commit()
    app = create_app(Settings(database_url=database_url, changes=CHANGES))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drn") as client:
        yield client


async def settle(connection: AsyncConnection, version_id: int, at: datetime, outcomes: list[float]) -> None:
    rows = [
        {"request_id": f"{version_id}-{i}", "at": at, "duel_id": 1, "version_id": version_id, "user_id": f"u{i}"}
        | {"clicks": int(outcome != 0), "outcome": outcome}
        for i, outcome in enumerate(outcomes)
    ]
    await connection.execute(insert(duel_outcomes), rows)


async def test_an_empty_service_has_a_document_without_figures(client: httpx.AsyncClient) -> None:
    answer = await client.get("/admin/data")
    assert answer.status_code == 200
    document = answer.json()
    assert document["served"]["version"] == 1
    assert document["duel"]["impressions"] == 0
    assert document["duel"]["forecast"] == "undecided"
    assert document["duel"]["harm"] == 0
    assert (document["holdback"]["reference"], document["holdback"]["difference"], document["holdback"]["harm"]) == (
        None,
        None,
        0,
    )
    assert document["fault"] is None
    assert document["outcomes"]["buckets"] == []
    assert document["articles"] == []
    assert document["totals"] == {"lists": 0, "shown": 0, "clicks": 0, "fallbacks": 0, "articles": 2, "readers_today": None}


async def test_what_is_served_and_clicked_shows_in_the_next_document(client: httpx.AsyncClient) -> None:
    for i in range(3):
        await client.post("/rank", json={"request_id": f"r{i}", "user_id": f"u{i}", "k": 2})
    event = {"event_id": "e1", "request_id": "r0", "article_id": "a2", "type": "click"}
    assert (await client.post("/feedback", json={"events": [event]})).status_code == 202
    document = (await client.get("/admin/data?hours=1")).json()
    assert {name: document["totals"][name] for name in ("lists", "shown", "clicks")} == {"lists": 3, "shown": 6, "clicks": 1}
    assert sum(row["lists"] for row in document["traffic"]) == 3
    assert document["duel"]["waiting"] == 3
    assert [(row["id"], row["title"], row["clicks"]) for row in document["articles"]] == [("a1", "First", 0), ("a2", "Second", 1)]
    assert document["totals"]["readers_today"] == 3


async def test_running_rules_and_what_they_can_be_for_show_in_the_document(client: httpx.AsyncClient) -> None:
    body = {"kind": "pin", "article_id": "a2", "position": 0, "surface": "home", "ends_at": "2999-11-22T10:00:00Z"}
    assert (await client.post("/rules", json=body)).status_code == 201
    ended = (await client.post("/rules", json={"kind": "cap", "article_id": "a1", "most": 3})).json()["id"]
    assert (await client.delete(f"/rules/{ended}")).status_code == 204
    document = (await client.get("/admin/data")).json()
    [rule] = document["rules"]
    assert (rule["title"], rule["position"], rule["surface"], rule["live"]) == ("Second", 0, "home", True)
    assert rule["ends_at"] == datetime(2999, 11, 22, 10, tzinfo=UTC).timestamp()
    assert document["newest"] == [{"id": "a1", "title": "First"}, {"id": "a2", "title": "Second"}]


@pytest.mark.parametrize("hours", ["0", "169", "-1", "x", "NaN", "1e9"])
async def test_a_span_out_of_range_is_a_problem_that_names_the_field(client: httpx.AsyncClient, hours: str) -> None:
    answer = await client.get("/admin/data", params={"hours": hours})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "hours"


async def test_a_rollback_is_a_new_version_with_a_row_in_the_ledger(
    app: FastAPI, client: httpx.AsyncClient, connection: AsyncConnection
) -> None:
    second = {"to": 1}
    assert (await client.post("/admin/rollback", json=second)).status_code == 422  # it is what is served
    head = await versions.load(connection, 1)
    child = replace(head, id=2, parent_id=1, kind=VersionKind.MINOR, duel=DuelState(1, impressions=4))
    await versions.append(connection, child)
    await connection.commit()
    answer = await client.post("/admin/rollback", json=second)
    assert (answer.status_code, answer.json()) == (200, {"version": 3})
    async with asyncio.timeout(2):
        while app.state.node.live.version_id != 3:  # noqa: ASYNC110  # a client has no event for it either
            await asyncio.sleep(0.05)
    again = await client.post("/admin/rollback", json=second)  # as after a 503
    assert again.status_code == 422
    assert "version 3, the newest one, is the rollback to version 1 already" in again.text
    document = (await client.get("/admin/data?hours=3")).json()
    assert [(row["id"], row["kind"], row["restored"], row["verdict"]) for row in document["versions"]][-1] == (
        3,
        "rollback",
        1,
        "abandoned",
    )
    assert [(row["job"], row["outcome"], row["version"]) for row in document["jobs"]] == [
        ("rollback", "skipped", None),
        ("rollback", "published", 3),
        ("rollback", "skipped", None),
    ]


async def test_a_rollback_waits_for_a_learner_and_says_when_it_waits_no_longer(
    client: httpx.AsyncClient, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = replace(await versions.load(connection, 1), id=2, parent_id=1, kind=VersionKind.MINOR)
    await versions.append(connection, child)
    await connection.commit()
    await locks.hold(connection, LEARN)
    waiting = asyncio.create_task(client.post("/admin/rollback", json={"to": 1}))
    await asyncio.sleep(2.5)  # longer than requests wait for any other lock
    assert not waiting.done()
    await connection.rollback()
    assert (await waiting).json() == {"version": 3}
    monkeypatch.setattr(rollback, "LEARNER_SECONDS", 0.1)
    await locks.hold(connection, LEARN)
    answer = await client.post("/admin/rollback", json={"to": 1})
    assert answer.status_code == 503
    assert "a learner is at work" in answer.json()["detail"]
    await connection.rollback()
    assert [(run.outcome, run.version_id) for run in await runs.listing(connection)] == [("failed", None), ("published", 3)]
    assert "a learner is at work" in (await runs.listing(connection))[0].detail["reason"]
    assert await versions.head_id(connection) == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [({"to": 99}, 422), ({"to": 0}, 422), ({"to": "1"}, 422), ({"to": 1.5}, 422), ({}, 422), ({"to": 1, "x": 1}, 422), ([], 422)],
)
async def test_a_rollback_that_makes_no_sense_changes_nothing(
    client: httpx.AsyncClient, connection: AsyncConnection, body: Any, status: int
) -> None:
    answer = await client.post("/admin/rollback", json=body)
    assert answer.status_code == status
    assert answer.json()["errors"]
    assert await versions.head_id(connection) == 1


async def test_another_site_cannot_roll_back_through_a_visitors_browser(
    client: httpx.AsyncClient, connection: AsyncConnection
) -> None:
    """A form or a simple fetch of a foreign page can send no JSON content type without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await client.post("/admin/rollback", content=orjson.dumps({"to": 1}), headers={"content-type": kind})
        assert answer.status_code == 415
    assert (
        "access-control-allow-origin" not in (await client.options("/admin/rollback", headers={"origin": "http://evil"})).headers
    )


async def test_a_run_is_asked_for_where_a_learner_listens_and_none_is_at_it(
    client: httpx.AsyncClient, connection: AsyncConnection, database_url: str
) -> None:
    answer = await client.post("/admin/jobs/minor", json={})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "no learner is listening: start one with python -m jobs schedule"
    async with Listener(database_url, (runs.CHANNEL,), presence=Lock.LISTENING) as listener:
        await listener.notices(0.05)
        answer = await client.post("/admin/jobs/major", json={})
        assert (answer.status_code, answer.json()) == (202, {"job": "major_retrain", "behind": 0})
        assert await listener.notices(1) == [("drn_runs", "major_retrain 0")]
        left = await runs.open(connection, "minor_update", datetime.now(UTC))  # by a process that died
        await connection.commit()
        assert (await client.post("/admin/jobs/minor", json={})).json() == {"job": "minor_update", "behind": left}
        await locks.hold_run(connection, left)
        answer = await client.post("/admin/jobs/minor", json={})
        assert (answer.status_code, answer.json()["detail"]) == (422, "a minor update is under way already")
        await locks.release_run(connection, left)
        await connection.rollback()
        assert len(await listener.notices(1)) == 1
        assert await listener.notices(0.1) == []
    async with asyncio.timeout(5):  # PostgreSQL takes a moment to notice that the listener is gone
        while (await client.post("/admin/jobs/minor", json={})).status_code != 422:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "content", "kind", "status"),
    [
        ("minor", "{}", "text/plain", 415),  # what a form of another site can send
        ("minor", "", "application/x-www-form-urlencoded", 415),
        ("minor", '{"now": true}', "application/json", 422),
        ("minor", "[]", "application/json", 422),
        ("rollback", "{}", "application/json", 422),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, path: str, content: str, kind: str, status: int
) -> None:
    answer = await client.post(f"/admin/jobs/{path}", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert "listening" not in answer.json()["detail"]


async def test_with_keys_the_figures_need_the_admin_scope_and_the_page_does_not(
    database_url: str, connection: AsyncConnection
) -> None:
    now = datetime.now(UTC)
    await versions.append(connection, initial_version(CONFIG, now))
    admin, ranker = new_key(), new_key()
    await keys.create(connection, "admin", admin.digest, ["admin"], now)
    await keys.create(connection, "ranker", ranker.digest, ["rank"], now)
    await connection.commit()
    app = create_app(Settings(database_url=database_url, changes=CHANGES))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://drn") as client,
    ):
        for method, path, body in (
            ("GET", "/admin/data", None),
            ("POST", "/admin/rollback", {"to": 1}),
            ("POST", "/admin/jobs/minor", {}),
        ):
            for key, status in ((None, 401), ("drn_wrong", 401), (ranker.text, 403)):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                assert (await client.request(method, path, json=body, headers=headers)).status_code == status
        allowed = {"authorization": f"Bearer {admin.text}"}
        assert (await client.get("/admin/data", headers=allowed)).status_code == 200
        assert (await client.get("/admin")).status_code == 200


async def test_the_page_loads_only_its_own_files(client: httpx.AsyncClient) -> None:
    page = await client.get("/admin")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "<style" not in page.text
    assert "style=" not in page.text
    for name, kind in (
        ("dashboard.js", "text/javascript"),
        ("dashboard.css", "text/css"),
        ("vendor/uplot/LICENSE", "text/plain"),
    ):
        answer = await client.get(f"/admin/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    for name in ("../__init__.py", "%2e%2e/__init__.py", "..%2f..%2fapp.py", "nothing.js", "", "/etc/passwd"):
        assert (await client.get(f"/admin/static/{name}")).status_code == 404


async def test_counts_kept_in_memory_are_those_of_the_log(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    """Read forwards while it grows and backwards in pieces, every list is counted once."""
    tally = TrafficTally()
    late = TrafficTally()
    for i in range(40):
        at = noon + i * 7 * MINUTE
        await writer.write(make_impression(f"r{i}", at))
        await tally.read(connection, noon - HOUR, at, until=0.0)
        await connection.rollback()  # what a poll does: the next one sees what was committed meanwhile
    end = noon + 40 * 7 * MINUTE
    for now in (end, end + SECOND, end + MINUTE):
        await tally.read(connection, noon - HOUR, now, FOREVER)
        await late.read(connection, noon - HOUR, now, FOREVER)
    direct = await dashboard.traffic(connection, noon, end)
    assert sum(counts.lists for counts in direct.values()) == 40
    assert tally.slices == late.slices == direct


async def test_counts_begin_anew_after_nobody_has_looked_for_long(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    tally = TrafficTally()
    await writer.write(make_impression("r1", noon))
    await tally.read(connection, noon, noon, FOREVER)
    await connection.rollback()
    await writer.write(make_impression("r2", noon + 3 * HOUR))
    await tally.read(connection, noon, noon + 5 * HOUR, FOREVER)
    assert sum(counts.lists for counts in tally.slices.values()) == 2


async def test_scores_kept_in_memory_are_those_of_the_log(connection: AsyncConnection, noon: datetime) -> None:
    await versions.append(connection, initial_version(CONFIG, noon))
    head = await versions.load(connection, 1)
    tally = ScoreTally()
    for version_id in range(2, 8):
        head = replace(head, id=version_id, parent_id=version_id - 1, kind=VersionKind.MINOR, duel=DuelState(1))
        await versions.append(connection, head)
        now = noon + version_id * 9 * MINUTE
        await settle(connection, version_id, now - 11 * MINUTE, [1.0, -1.0, 0.0])
        await tally.read(connection, version_id, noon - HOUR, now, 0.0 if version_id < 5 else FOREVER)
        await tally.read(connection, version_id, noon - HOUR, now, FOREVER)  # nothing new: nothing counted twice
    assert tally.slices == await dashboard.scores(connection, noon - HOUR, None, 0, 7)
    assert sum(score.wins for score in tally.slices.values()) == 6
    assert all(score == Score(1, 1, 1) for score in tally.slices.values())


async def test_evidence_reads_only_what_is_new_and_keeps_no_names(connection: AsyncConnection, noon: datetime) -> None:
    await versions.append(connection, initial_version(CONFIG, noon))
    await settle(connection, 1, noon, [0.5, -0.5])
    evidence = Evidence()
    await evidence.read(connection, 1, gap=60.0)
    assert evidence.anchor == 1
    assert len(evidence.looks.at) == 0  # the sessions are still open
    head = await versions.load(connection, 1)
    child = replace(head, id=2, parent_id=1, kind=VersionKind.MINOR, duel=DuelState(1, impressions=3))
    await versions.append(connection, child)
    await settle(connection, 2, noon + HOUR, [1.0])
    await evidence.read(connection, 2, gap=60.0)
    assert len(evidence.rows) == 3
    assert evidence.looks.since == noon
    assert evidence.looks.as_of((noon + 2 * MINUTE).timestamp())["sessions"] == 2
    assert evidence.looks.as_of(noon.timestamp())["mean"] is None
    assert not {"u0", "u1"} & {row.user_id for row in evidence.rows}
    await duels.close(connection, DuelState(1, impressions=3), Verdict.EXPLORE_WON, noon)


def test_the_band_narrows_around_the_mean(noon: datetime) -> None:
    rows = [Outcome(noon + i * SECOND, 2, None, 1, 0.4 if i % 4 else -0.2) for i in range(4_000)]
    looks = look(rows, gap=10.0)
    early, late = (looks.as_of((noon + later).timestamp()) for later in (40 * SECOND, 2 * HOUR))
    (wide_low, wide_high), (low, high) = ((float(look["low"] or 0), float(look["high"] or 0)) for look in (early, late))
    assert 0 < low < 0.25 < high
    assert high - low < (wide_high - wide_low) / 4


def test_slices_start_on_whole_slices(noon: datetime) -> None:
    assert tallies.slice_of(noon + 14 * SECOND) == noon
    assert tallies.slice_of(noon + 15 * SECOND) == noon + 15 * SECOND
