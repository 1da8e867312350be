"""The version line: one child per version, weights kept once, duels and outcomes in step with it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.checkpoint import dump
from drn.config import Config
from drn.errors import CorruptCheckpoint
from drn.types import DuelState, Model, Verdict, VersionKind
from drn.updates import MinorUpdate, Settled
from drn.versions import Version, initial_version, rollback
from service.store import duels, versions
from service.store.engine import reading, writing
from service.store.errors import NoSuchVersion, VersionConflict, WeightsPruned
from service.store.locks import LEARN, hold
from service.store.tables import requests

SMALL = Config(
    provider_slots=2, category_slots=2, topic_slots=2, entity_slots=2, word_slots=2, advantage_layers=(4,), value_layers=(3,)
)


@pytest.fixture
def first(noon: datetime) -> Version:
    return initial_version(SMALL, noon)


def child(parent: Version, kind: VersionKind = VersionKind.MINOR, **changes: Any) -> Version:
    """A minor update that moved the explore network and the optimiser's memory a little."""
    model = parent.model
    moved = Model(
        model.current,
        {name: tensor + np.float32(0.01) for name, tensor in model.explore.items()},
        {"step": np.array([parent.id], np.float32)},
    )
    values: dict[str, Any] = {
        "id": parent.id + 1,
        "parent_id": parent.id,
        "kind": kind,
        "model": moved,
        "watermark": parent.watermark + 10,
    }
    return replace(parent, **(values | {"created_at": parent.created_at + timedelta(minutes=1)} | changes))


async def append_line(connection: AsyncConnection, first: Version, kinds: list[VersionKind]) -> list[Version]:
    line = [first]
    for kind in kinds:
        opens = {"duel": DuelState(line[-1].id + 1)} if kind is not VersionKind.MINOR else {}
        line.append(child(line[-1], kind, **opens))
    for version in line:
        await versions.append(connection, version)
    return line


async def test_a_version_comes_back_with_the_same_digest(connection: AsyncConnection, first: Version) -> None:
    assert await versions.head(connection) is None
    assert await versions.head_id(connection) is None
    second = child(first, metrics={"wins": 3.0, "auc": 0.1}, duel=DuelState(1, 7, 3, 2, 0.1 + 0.2, 1 / 3))
    for version in (first, second):
        await versions.append(connection, version)
    head = await versions.head(connection)
    assert head
    assert head.digest == second.digest
    assert (head.parent_id, head.kind, head.created_at) == (1, VersionKind.MINOR, second.created_at)
    assert (head.duel, head.watermark, head.metrics, head.schema) == (second.duel, 10, second.metrics, second.schema)
    assert head.config == SMALL
    assert not head.model.current["advantage.bias"].flags.writeable
    assert (await versions.load(connection, 1)).digest == first.digest
    assert await versions.head_id(connection) == 2


async def test_serving_needs_no_memory(connection: AsyncConnection, first: Version) -> None:
    await append_line(connection, first, [VersionKind.MINOR])
    head = await versions.head(connection, memory=False)
    assert head
    assert head.model.memory == {}
    assert head.model.explore.keys() == first.model.explore.keys()


async def test_equal_weights_are_stored_once(connection: AsyncConnection, first: Version) -> None:
    await append_line(connection, first, [VersionKind.MINOR])
    # A new explore network equals current: one row for both, one for the moved explore network, two for the memories.
    assert await connection.scalar(text("SELECT count(*) FROM weights")) == 4


async def test_a_version_has_one_child(connection: AsyncConnection, first: Version) -> None:
    await append_line(connection, first, [VersionKind.MINOR])
    await connection.commit()
    with pytest.raises(VersionConflict):
        await versions.append(connection, child(first, metrics={"other": 1.0}))
    await connection.rollback()
    with pytest.raises(VersionConflict):
        await versions.append(connection, replace(child(first), id=9, parent_id=8))
    await connection.rollback()
    with pytest.raises(VersionConflict):
        await versions.append(connection, first)


async def test_of_learners_that_append_at_once_one_wins(engine: AsyncEngine, first: Version) -> None:
    async with writing(engine) as connection:
        await versions.append(connection, first)

    async def learn(learner: int) -> None:
        async with writing(engine) as connection:
            await versions.append(connection, child(first, metrics={"learner": float(learner)}))

    results = await asyncio.gather(*map(learn, range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType"] + 4 * ["VersionConflict"]
    async with reading(engine) as connection:
        assert await versions.head_id(connection) == 2


async def test_a_transaction_that_ends_early_leaves_no_version(engine: AsyncEngine, first: Version) -> None:
    async def learn() -> None:
        async with writing(engine) as connection:
            await versions.append(connection, first)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await learn()
    async with reading(engine) as connection:
        assert await versions.head(connection) is None


async def test_a_rollback_shares_its_targets_weights(connection: AsyncConnection, first: Version, noon: datetime) -> None:
    line = await append_line(connection, first, [VersionKind.MINOR, VersionKind.MAJOR])
    back = rollback(line[-1], await versions.load(connection, 1), noon + timedelta(hours=1))
    await versions.append(connection, back)
    head = await versions.head(connection)
    assert head
    assert head.digest == back.digest
    np.testing.assert_array_equal(head.model.current["advantage.bias"], first.model.current["advantage.bias"])


async def test_unknown_and_damaged_versions_are_told_apart(connection: AsyncConnection, first: Version) -> None:
    with pytest.raises(NoSuchVersion, match="7"):
        await versions.load(connection, 7)
    await versions.append(connection, first)
    other = child(first)
    digest = await connection.scalar(text("SELECT explore_digest FROM model_versions"))
    await connection.execute(
        text("UPDATE weights SET data = :data WHERE digest = :d"), {"data": dump(other.model.explore), "d": digest}
    )
    with pytest.raises(CorruptCheckpoint, match="version 1"):
        await versions.load(connection, 1)


async def test_the_listing_is_newest_first_and_says_what_was_pruned(
    connection: AsyncConnection, first: Version, noon: datetime
) -> None:
    line = await append_line(connection, first, [VersionKind.MINOR] * 3 + [VersionKind.MAJOR] + [VersionKind.MINOR] * 3)
    dropped = await versions.prune(connection, noon, 2, noon)
    rows = await versions.listing(connection)
    assert [row.id for row in rows] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert {row.id for row in rows if row.pruned} == {2, 3, 4, 6}
    assert [row.digest for row in rows] == [version.digest for version in reversed(line)]
    assert rows[3].kind is VersionKind.MAJOR
    assert rows[0].config_digest == SMALL.digest
    assert [row.id for row in await versions.listing(connection, limit=2, before=6)] == [5, 4]
    assert dropped == 4  # explore of four minor updates
    with pytest.raises(WeightsPruned, match="version 3"):
        await versions.load(connection, 3)
    for kept in (1, 5, 7, 8):
        assert (await versions.load(connection, kept)).digest == line[kept - 1].digest
    assert await versions.prune(connection, noon, 2, noon) == 0


async def test_what_has_served_lately_keeps_its_weights_and_the_newest_their_memory(
    connection: AsyncConnection, first: Version, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version n was made at minute n − 1: the third served until minute 3, so half a minute before that it was in service."""
    monkeypatch.setattr(versions, "MEMORIES", 2)
    line = await append_line(connection, first, [VersionKind.MINOR] * 5)
    await versions.prune(connection, noon + timedelta(minutes=2.5), 100, noon)
    assert {row.id for row in await versions.listing(connection) if row.pruned} == {2}
    for number in (3, 4):
        with pytest.raises(WeightsPruned):
            await versions.load(connection, number)
        kept = await versions.load(connection, number, memory=False)
        np.testing.assert_array_equal(kept.model.explore["advantage.bias"], line[number - 1].model.explore["advantage.bias"])
    assert [(await versions.load(connection, number)).digest for number in (5, 6)] == [line[4].digest, line[5].digest]


async def test_weights_are_not_pruned_beside_a_learner_who_may_need_them(
    engine: AsyncEngine, first: Version, noon: datetime
) -> None:
    async with writing(engine) as connection:
        await append_line(connection, first, [VersionKind.MINOR] * 3)
    async with writing(engine) as learner, writing(engine) as pruner:
        await hold(learner, LEARN)
        assert await versions.prune(pruner, noon, 1, noon) == 0
    async with writing(engine) as pruner:
        assert await versions.prune(pruner, noon, 1, noon) > 0


async def test_pruned_weights_that_are_needed_again_are_stored_again(
    connection: AsyncConnection, first: Version, noon: datetime
) -> None:
    line = await append_line(connection, first, [VersionKind.MINOR] * 4)
    await versions.prune(connection, noon, 1, noon)
    again = replace(child(line[-1]), model=line[1].model)
    await versions.append(connection, again)
    assert (await versions.load(connection, 6)).digest == again.digest
    assert (await versions.load(connection, 2)).digest == line[1].digest


async def test_a_duel_follows_the_line(connection: AsyncConnection, first: Version) -> None:
    second = child(first, duel=DuelState(1, 10, 4, 3, 1.25, 0.5))
    third = child(second, VersionKind.MAJOR, duel=DuelState(3))
    for version in (first, second):
        await versions.append(connection, version)
    (open_duel,) = await duels.listing(connection)
    assert open_duel == duels.DuelRow(DuelState(1, 10, 4, 3, 1.25, 0.5), first.created_at, None, Verdict.UNDECIDED)
    await versions.append(connection, third)
    newest, ended = await duels.listing(connection)
    assert newest == duels.DuelRow(DuelState(3), third.created_at, None, Verdict.UNDECIDED)
    assert ended == replace(open_duel, closed_at=third.created_at, verdict=Verdict.ABANDONED)


def minor(version: Version, judged: DuelState, verdict: Verdict, *requests: str) -> MinorUpdate:
    settled = tuple(Settled(name, version.created_at, "u1", 1, 0.5) for name in requests)
    return MinorUpdate(version=version, settled=settled, verdict=verdict, judged_duel=judged)


async def log_requests(connection: AsyncConnection, at: datetime, *request_ids: str) -> None:
    """What is no longer in the log is settled without its name."""
    await connection.execute(insert(requests), [{"request_id": request_id, "at": at} for request_id in request_ids])


async def test_a_verdict_is_written_with_the_final_score(connection: AsyncConnection, first: Version) -> None:
    await versions.append(connection, first)
    judged = DuelState(1, 2, 2, 0, 1.0, 0.5)
    second = child(first, duel=DuelState(2))
    await versions.append(connection, second)
    await log_requests(connection, second.created_at, "r1", "r2")
    await duels.settle(connection, minor(second, judged, Verdict.EXPLORE_WON, "r1", "r2"))
    newest, ended = await duels.listing(connection)
    assert newest.state == DuelState(2)
    assert ended == duels.DuelRow(judged, first.created_at, second.created_at, Verdict.EXPLORE_WON)
    assert await duels.outcomes(connection, 1) == [
        duels.Outcome(name, second.created_at, 1, 2, "u1", 1, 0.5) for name in ("r1", "r2")
    ]


async def test_an_impression_is_settled_once(connection: AsyncConnection, first: Version) -> None:
    await versions.append(connection, first)
    second = child(first, duel=replace(first.duel, impressions=1))
    await versions.append(connection, second)
    await log_requests(connection, second.created_at, "r1")
    await duels.settle(connection, minor(second, second.duel, Verdict.UNDECIDED, "r1"))
    third = child(second)
    await versions.append(connection, third)
    with pytest.raises(IntegrityError, match="duel_outcomes"):
        await duels.settle(connection, minor(third, third.duel, Verdict.UNDECIDED, "r2", "r1"))
