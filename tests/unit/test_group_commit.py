"""Group commit with a log in memory: who is told what, and when. The real logs have tests of their own, on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import psycopg
import pytest

from service.store.group_commit import Connection, GroupCommit, Lane


class Memory:
    """A log in memory. One item per place; `short` answers too few."""

    def __init__(self, short: bool = False) -> None:
        self.items: list[str] = []
        self.groups: list[int] = []
        self._short = short

    async def commit(self, _connection: Connection, items: Sequence[str]) -> list[int | Exception]:
        await asyncio.sleep(0)
        first = len(self.items)
        self.items += items
        self.groups.append(len(items))
        places: list[int | Exception] = [*range(first, len(self.items))]
        return places[1:] if self._short else places

    async def committed(self, _connection: Connection, items: Sequence[str]) -> list[int | None]:
        return [None] * len(items)


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_lane: Lane[Any, Any]) -> Connection:
        return cast("Any", None)

    monkeypatch.setattr(Lane, "connect", connect)


def test_what_is_committed_is_applied_once_and_before_its_writer_hears_of_it():
    log, applied, told = Memory(), [], []

    async def write(group: GroupCommit[str, int], item: str) -> None:
        told.append((item, await group.write(item), len(applied)))

    async def run() -> None:
        group = GroupCommit("postgresql://", "test", log, applied.extend, full=3)
        await asyncio.gather(*[write(group, f"item {i}") for i in range(10)])
        await group.close()

    asyncio.run(run())
    assert log.groups == [3, 3, 3, 1]
    assert sorted(place for _, place in applied) == [*range(10)]
    assert all(log.items[place] == item for item, place in applied)
    assert sorted(item for item, _, _ in told) == sorted(log.items)
    assert all((item, place) in applied[:known] for item, place, known in told)


def test_nobody_waits_for_a_slow_group_while_another_way_is_free():
    async def run() -> None:
        released = asyncio.Event()

        class OneSlow(Memory):
            async def commit(self, connection: Connection, items: Sequence[str]) -> list[int | Exception]:
                if "slow" in items:
                    await released.wait()
                return await super().commit(connection, items)

        group = GroupCommit("postgresql://", "test", OneSlow(), lambda _: None, full=8, lanes=2, beside=1)
        slow = asyncio.create_task(group.write("slow"))
        await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.wait_for(group.write("quick"), 1.0)
        assert not slow.done()
        released.set()
        await slow
        await group.close()

    asyncio.run(run())


def test_a_second_group_leaves_beside_the_first_if_it_is_full():
    log, beside = Memory(), []

    async def run() -> None:
        released = asyncio.Event()

        class Slow(Memory):
            async def commit(self, connection: Connection, items: Sequence[str]) -> list[int | Exception]:
                beside.append(len(items))
                await released.wait()
                return await log.commit(connection, items)

        group = GroupCommit("postgresql://", "test", Slow(), lambda _: None, full=3)
        writes = []
        for more, groups in ((1, [1]), (2, [1]), (1, [1, 3]), (5, [1, 3])):
            writes += [asyncio.create_task(group.write("item")) for _ in range(more)]
            await asyncio.sleep(0.001)
            assert beside == groups
        released.set()
        await asyncio.gather(*writes)
        await group.close()

    asyncio.run(run())
    assert sorted(log.groups) == [1, 2, 3, 3]


def test_a_commit_that_went_unanswered_and_is_not_found_is_doubted():
    """It may be found later, as a duplicate of what is written again: then nobody would be told of it."""

    class Unanswered(Memory):
        async def commit(self, connection: Connection, items: Sequence[str]) -> list[int | Exception]:
            if not self.groups:
                self.groups.append(0)
                raise psycopg.OperationalError("the connection is lost")
            return await super().commit(connection, items)

    async def run(log: Memory) -> None:
        group = GroupCommit("postgresql://", "test", log, lambda _: None, doubted=lambda: doubts.append(1))
        await group.write("item")
        await group.close()

    doubts: list[int] = []
    asyncio.run(run(Memory()))
    assert not doubts
    asyncio.run(run(Unanswered()))
    assert doubts == [1]


def test_the_end_answers_what_was_committed_a_moment_before():
    async def run() -> int:
        group = GroupCommit("postgresql://", "test", Memory(), lambda _: None)
        writing = asyncio.create_task(group.write("item"))
        await asyncio.sleep(0)
        await group.close()
        return await writing

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize(("short", "says"), [(True, "zip"), (False, "memory")])
def test_a_fault_of_the_log_or_of_the_memory_is_heard_at_once(short: bool, says: str):
    def forgetful(_committed: Sequence[tuple[str, int]]) -> None:
        raise ValueError("memory")

    async def run() -> None:
        group = GroupCommit("postgresql://", "test", Memory(short), forgetful)
        async with asyncio.timeout(1):
            with pytest.raises(ValueError, match=says):
                await group.write("item")
        await group.close()

    asyncio.run(run())
