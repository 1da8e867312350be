"""Editors' rules: what may run beside what, and the record of what ran."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.types import Article, Rule, RuleKind
from service.store import articles, rules
from service.store.engine import writing
from service.store.errors import RuleConflict
from service.store.notifications import Listener

PIN = Rule(RuleKind.PIN, "a1", position=0)
CAP = Rule(RuleKind.CAP, "a1", most=3)
BOOST = Rule(RuleKind.BOOST, "a1", boost=0.1)


@pytest.fixture
async def published(connection: AsyncConnection, noon: datetime) -> AsyncConnection:
    await articles.upsert(connection, [Article(f"a{i}", f"Title {i}", noon) for i in range(4)], noon)
    return connection


async def test_rules_come_back_as_they_were_set(published: AsyncConnection, noon: datetime) -> None:
    wanted = [PIN, CAP, BOOST, replace(PIN, surface="ä'{", ends_at=noon + timedelta(hours=1)), replace(CAP, surface="home")]
    added = [await rules.add(published, rule, noon) for rule in wanted]
    assert [each.rule for each in added] == wanted
    assert await rules.running(published, noon) == added
    assert {(each.title, each.created_at, each.ended_at) for each in added} == {("Title 1", noon, None)}
    assert await rules.listing(published, 4) == added[:0:-1]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(PIN, article_id="a2"), r"^article 'a1' \(Title 1\) is pinned there on every surface already: rule 1$"),
        (replace(PIN, position=1), r"^article 'a1' \(Title 1\) has a pin on every surface already: rule 1$"),
        (replace(CAP, most=9), r"^article 'a1' \(Title 1\) has a cap on every surface already: rule 3$"),
        (
            replace(PIN, article_id="a3", position=7, surface="home"),
            r"^article 'a2' \(Title 2\) is pinned there on surface 'home' already: rule 4$",
        ),
    ],
)
async def test_what_would_contradict_a_running_rule_is_refused(
    published: AsyncConnection, noon: datetime, other: Rule, reason: str
) -> None:
    for rule in (PIN, replace(CAP, article_id="a2"), CAP, Rule(RuleKind.PIN, "a2", "home", 7)):
        await rules.add(published, rule, noon)
    with pytest.raises(RuleConflict, match=reason):
        await rules.add(published, other, noon)
    assert len(await rules.running(published, noon)) == 4


async def test_an_ended_rule_makes_room_and_stays_on_record(published: AsyncConnection, noon: datetime) -> None:
    first = await rules.add(published, PIN, noon)
    later = noon + timedelta(minutes=5)
    assert await rules.end(published, first.id, later)
    assert not await rules.end(published, first.id, later)
    assert not await rules.end(published, 10**9, later)
    second = await rules.add(published, PIN, later)
    assert await rules.running(published, later) == [second]
    assert await rules.listing(published, 9) == [second, replace(first, ended_at=later)]


async def test_a_rule_past_its_end_makes_room_by_itself(published: AsyncConnection, noon: datetime) -> None:
    over = noon + timedelta(hours=1)
    first = await rules.add(published, replace(PIN, ends_at=over), noon)
    with pytest.raises(RuleConflict):
        await rules.add(published, PIN, over - timedelta(seconds=1))
    assert (first.ended(over - timedelta(seconds=1)), first.ended(over)) == (None, over)
    assert await rules.running(published, over - timedelta(seconds=1)) == [first]
    assert await rules.running(published, over) == []
    second = await rules.add(published, PIN, over + timedelta(hours=1))
    assert await rules.listing(published, 9) == [second, replace(first, ended_at=over)]
    assert not await rules.end(published, first.id, over + timedelta(hours=1))


async def test_a_clock_that_is_behind_may_end_a_rule(published: AsyncConnection, noon: datetime) -> None:
    rule = await rules.add(published, CAP, noon)
    assert await rules.end(published, rule.id, noon - timedelta(seconds=3))
    assert [each.ended_at for each in await rules.listing(published, 1)] == [noon]


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "pin"},
        {"kind": "pin", "position": 100},
        {"kind": "pin", "position": -1},
        {"kind": "pin", "position": 0, "most": 3},
        {"kind": "cap"},
        {"kind": "cap", "most": 0},
        {"kind": "cap", "most": 65_536},
        {"kind": "cap", "most": 1, "position": 1},
        {"kind": "boost"},
        {"kind": "boost", "boost": 0},
        {"kind": "boost", "boost": 100.5},
        {"kind": "boost", "boost": float("nan")},
        {"kind": "boost", "boost": 1, "most": 1},
        {"kind": "pin", "position": 0, "boost": 1},
        {"kind": "nail", "position": 1},
        {"kind": "pin", "position": 0, "surface": ""},
        {"kind": "pin", "position": 0, "article_id": "ghost"},
        {"kind": "pin", "position": 0, "ends_at": datetime.fromisoformat("2026-11-22T12:00:00Z")},
        {"kind": "pin", "position": 0, "ended_at": datetime.fromisoformat("2026-11-22T11:00:00Z")},
    ],
)
async def test_the_schema_refuses_what_is_no_rule(published: AsyncConnection, noon: datetime, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        await published.execute(insert(rules.rules).values({"article_id": "a1", "created_at": noon} | values))


async def test_of_two_who_pin_at_one_place_together_one_is_refused(
    published: AsyncConnection, engine: AsyncEngine, noon: datetime
) -> None:
    await published.commit()

    async def pin(article_id: str) -> None:
        async with writing(engine) as connection:
            await rules.add(connection, replace(PIN, article_id=article_id), noon)
            await asyncio.sleep(0.1)

    outcomes = await asyncio.gather(pin("a1"), pin("a2"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "RuleConflict"]
    assert len(await rules.running(published, noon)) == 1


async def test_rules_announce_themselves(published: AsyncConnection, database_url: str, noon: datetime) -> None:
    async with Listener(database_url) as listener:
        await listener.wait(0.05)
        await rules.add(published, PIN, noon)
        await published.commit()
        while rules.CHANNEL not in (heard := await listener.wait(2)):  # articles announce themselves as well
            assert heard
