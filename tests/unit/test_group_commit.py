"""Group commit with a log in memory: who is told what, and when. The real logs have tests of their own, on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from service.store.group_commit import Connection, GroupCommit


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


class Group(GroupCommit[str, int]):
    """Without a database."""

    async def _connect(self) -> Connection:
        return cast("Any", None)


def test_what_is_committed_is_applied_once_in_the_order_of_the_log_and_before_its_writer_hears_of_it():
    log, applied, told = Memory(), [], []

    async def write(group: Group, item: str) -> None:
        told.append((item, await group.write(item), len(applied)))

    async def run() -> None:
        group = Group("postgresql://", "test", log, applied.extend, full=3)
        await asyncio.gather(*[write(group, f"item {i}") for i in range(10)])
        await group.close()

    asyncio.run(run())
    assert log.groups == [3, 3, 3, 1]
    assert applied == [(item, place) for place, item in enumerate(log.items)]
    assert sorted(item for item, _, _ in told) == sorted(log.items)
    assert all(log.items[place] == item and place < known for item, place, known in told)


def test_the_end_answers_what_was_committed_a_moment_before():
    async def run() -> int:
        group = Group("postgresql://", "test", Memory(), lambda _: None)
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
        group = Group("postgresql://", "test", Memory(short), forgetful)
        async with asyncio.timeout(1):
            with pytest.raises(ValueError, match=says):
                await group.write("item")
        await group.close()

    asyncio.run(run())
