"""What the dashboard reads: each query against rows whose answer can be counted by hand."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.types import Article, DuelState, Verdict, VersionKind
from drn.versions import Version, initial_version, rollback
from service.store import articles, dashboard, duels, feedback, versions
from service.store.dashboard import ReaderDay, Score, ShownArticle, Traffic
from service.store.impressions import ImpressionWriter
from service.store.tables import duel_outcomes

Make = Callable[..., Any]
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
CONFIG = Config(advantage_layers=(2,), value_layers=(2,), embedding_size=0)


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[ImpressionWriter]:
    async with ImpressionWriter(database_url, "w1") as writer:
        yield writer


def child(head: Version, duel: DuelState, kind: VersionKind = VersionKind.MINOR) -> Version:
    return replace(head, id=head.id + 1, parent_id=head.id, kind=kind, duel=duel, created_at=head.created_at + MINUTE)


async def settle(connection: AsyncConnection, version: Version, duel_id: int, at: datetime, *outcomes: float) -> None:
    await connection.execute(
        insert(duel_outcomes),
        [
            {"request_id": f"{version.id}-{i}", "at": at, "duel_id": duel_id, "version_id": version.id}
            | {"user_id": f"u{i}", "clicks": int(outcome != 0), "outcome": outcome}
            for i, outcome in enumerate(outcomes)
        ],
    )


async def test_traffic_counts_lists_slots_fallbacks_and_credited_clicks_by_slice(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    await writer.write(make_impression("r1", noon))
    await writer.write(make_impression("r2", noon + 14 * SECOND, fallback="no version"))
    await writer.write(make_impression("r3", noon + 15 * SECOND, k=2))
    events = [
        make_event("e1", "a4", request_id="r1", at=noon + SECOND),
        make_event("e2", "a4", request_id="r1", at=noon + 2 * SECOND),  # the same slot again
        make_event("e3", "a4", at=noon + SECOND, user_id="u1"),  # organic
        make_event("e4", "a4", type="dwell", request_id="r2", at=noon + SECOND, value=3.0),
        make_event("e5", "a3", request_id="r3", at=noon + 40 * SECOND),  # a slice without a list
    ]
    await feedback.record(connection, events, "w1", noon + MINUTE)
    assert await dashboard.traffic(connection, noon, noon + MINUTE) == {
        noon: Traffic(lists=2, shown=6, fallbacks=1, clicks=1),
        noon + 15 * SECOND: Traffic(lists=1, shown=2, fallbacks=0, clicks=0),
        noon + 30 * SECOND: Traffic(lists=0, shown=0, fallbacks=0, clicks=1),
    }
    assert await dashboard.traffic(connection, noon - DAY, noon) == {}
    assert await dashboard.first_impression_at(connection) == noon


async def test_scores_are_by_slice_and_by_range_of_versions(connection: AsyncConnection, noon: datetime) -> None:
    first = initial_version(CONFIG, noon)
    second = child(first, DuelState(1, impressions=3))
    third = child(second, DuelState(1, impressions=4))
    for version in (first, second, third):
        await versions.append(connection, version)
    await settle(connection, second, 1, noon, 1.0, -0.5, 0.0, 0.25)
    await settle(connection, third, 1, noon + MINUTE, -1.0)
    both = {noon: Score(2, 1, 1), noon + MINUTE: Score(0, 1, 0)}
    assert await dashboard.scores(connection, noon, None, 0, 3) == both
    assert await dashboard.scores(connection, noon, noon + MINUTE, 0, 3) == {noon: Score(2, 1, 1)}
    assert await dashboard.scores(connection, noon, None, 2, 3) == {noon + MINUTE: Score(0, 1, 0)}
    assert await dashboard.scores(connection, noon, None, 0, 1) == {}
    pieces = [piece async for piece in dashboard.outcomes(connection, 1, 2, 3)]
    assert [(row.at, row.version_id, row.clicks, row.value) for row in pieces[0]] == [(noon + MINUTE, 3, 1, -1.0)]


async def test_the_line_says_which_version_ended_a_duel_and_how(connection: AsyncConnection, noon: datetime) -> None:
    line = [initial_version(CONFIG, noon)]
    line.append(child(line[-1], DuelState(1, impressions=5)))
    line.append(child(line[-1], DuelState(3)))
    line.append(rollback(line[-1], line[0], line[-1].created_at + MINUTE))
    for version in line:
        await versions.append(connection, version)
        if version.id == 3:
            await duels.close(connection, DuelState(1, impressions=9), Verdict.EXPLORE_WON, version.created_at)
    rows = await dashboard.line(connection, 10)
    assert [(row.id, row.parent_id, row.kind, row.duel_id, row.ended) for row in rows] == [
        (1, None, "initial", 1, None),
        (2, 1, "minor", 1, None),
        (3, 2, "minor", 3, Verdict.EXPLORE_WON),
        (4, 3, "rollback", 4, Verdict.ABANDONED),
    ]
    assert all(row.servable for row in rows)
    assert [row.id for row in await dashboard.line(connection, 2)] == [3, 4]


async def test_versions_without_weights_are_not_offered(connection: AsyncConnection, noon: datetime) -> None:
    first = initial_version(CONFIG, noon)
    weights = {name: tensor + 1 for name, tensor in first.model.current.items()}
    second = child(first, DuelState(1))
    second = replace(second, model=replace(second.model, current=weights, explore=weights))
    third = child(first, DuelState(1))
    third = replace(third, id=3, parent_id=2)
    for version in (first, second, third):
        await versions.append(connection, version)
    await versions.prune(connection, noon, 1, noon)
    assert [(row.id, row.servable) for row in await dashboard.line(connection, 10)] == [(1, True), (2, False), (3, True)]


async def test_waiting_counts_lists_that_may_still_speak(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    seqs = [await writer.write(make_impression(f"r{i}", noon, explore=i != 2)) for i in range(4)]
    assert await dashboard.waiting(connection, 0) == 3
    assert await dashboard.waiting(connection, seqs[1]) == 1


async def test_most_shown_takes_the_newest_lists_and_their_clicks(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, make_event: Make, noon: datetime
) -> None:
    await articles.upsert(connection, [Article(f"a{i}", f"Title <{i}>", noon, category="c") for i in range(5)], noon)
    await connection.commit()
    await writer.write(make_impression("old", noon, n=1, k=1))  # shows a0
    await writer.write(make_impression("r1", noon))  # shows a4, a3, a2; a3 is pinned
    await writer.write(make_impression("r2", noon, n=4, k=1))  # shows a3
    await feedback.record(connection, [make_event("e1", "a3", request_id="r2")], "w1", noon)
    assert await articles.withdraw(connection, "a2", noon)
    assert await dashboard.most_shown(connection, noon - DAY, newest=2, limit=2) == [
        ShownArticle("a3", "Title <3>", "c", shown=2, clicks=1, pinned=True, withdrawn=False),
        ShownArticle("a2", "Title <2>", "c", shown=1, clicks=0, pinned=False, withdrawn=True),
    ]
    assert await dashboard.most_shown(connection, noon + DAY, newest=2, limit=2) == []


async def test_a_reader_returns_if_seen_on_the_next_day(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    visits = [("u1", 0), ("u1", 0), ("u2", 0), (None, 0), ("u1", 1), ("u3", 1), ("u2", 2)]
    for i, (user_id, days) in enumerate(visits):
        await writer.write(make_impression(f"r{i}", noon + days * DAY, user_id))
    midnight = noon - 12 * 60 * MINUTE
    assert await dashboard.reader_day(connection, midnight) == ReaderDay(readers=2, returned=1)
    assert await dashboard.reader_day(connection, midnight + DAY) == ReaderDay(readers=2, returned=0)
    assert await dashboard.reader_day(connection, midnight + 5 * DAY) == ReaderDay(readers=0, returned=0)
