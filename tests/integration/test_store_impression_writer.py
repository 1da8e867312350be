"""Group commit under concurrency, duplicates and a PostgreSQL that goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from service.store.engine import libpq_url
from service.store.errors import DuplicateRequest, StoreUnavailable
from service.store.impression_writer import ImpressionWriter

Make = Callable[..., Any]


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[ImpressionWriter]:
    async with ImpressionWriter(database_url, "w1") as writer:
        yield writer


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url), autocommit=True) as connection:
        yield connection


async def rows(connection: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query)).fetchall()


async def kill_writers(connection: psycopg.AsyncConnection[Any]) -> int:
    killed = await rows(
        connection, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drn impression writer'"
    )
    return len(killed)


@asynccontextmanager
async def elapsed(at_most: float) -> AsyncIterator[None]:
    began = asyncio.get_running_loop().time()
    yield
    assert asyncio.get_running_loop().time() - began < at_most


class Wire:
    """A TCP proxy before PostgreSQL that can lose what the server answers, refuse, or cut every connection."""

    def __init__(self, url: str) -> None:
        self._target = make_url(libpq_url(url))
        self._ends: set[asyncio.StreamWriter] = set()
        self.mute = False

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return self._target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._ends |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer, True), self._pump(far_reader, writer, False), return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, upstream: bool) -> None:
        while data := await source.read(65_536):
            if upstream or not self.mute:
                sink.write(data)
                await sink.drain()
        sink.close()


async def test_what_arrives_together_is_committed_together(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    seqs = await asyncio.gather(*(writer.write(make_impression(f"r{i}")) for i in range(300)))
    assert sorted(seqs) == list(range(1, 301))
    assert await rows(other, "SELECT count(*), count(DISTINCT xmin::text) <= 10 FROM impressions") == [(300, True)]


async def test_writers_of_several_processes_share_one_log(
    database_url: str, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    async def process(name: str) -> list[int]:
        async with ImpressionWriter(database_url, name) as writer:
            return [await writer.write(make_impression(f"{name}-{i}")) for i in range(40)]

    seqs = [seq for found in await asyncio.gather(*map(process, "abcd")) for seq in found]
    assert len(set(seqs)) == 160
    assert await rows(other, "SELECT count(*) FROM impressions i JOIN requests r USING (seq, at, request_id)") == [(160,)]


async def test_of_two_with_one_id_one_is_stored_and_the_others_of_the_group_are_unharmed(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    ids = ["r1", "r2", "r1", "r3", "r2", "r4"]
    results = await asyncio.gather(*(writer.write(make_impression(name)) for name in ids), return_exceptions=True)
    assert [type(result) for result in results] == [int, int, DuplicateRequest, int, DuplicateRequest, int]
    with pytest.raises(DuplicateRequest, match="r3"):
        await writer.write(make_impression("r3"))
    assert await rows(other, "SELECT count(*) FROM impressions") == [(4,)]


async def test_a_request_id_is_taken_on_every_day(writer: ImpressionWriter, make_impression: Make, noon: datetime) -> None:
    await writer.write(make_impression("r1", noon))
    with pytest.raises(DuplicateRequest):
        await writer.write(make_impression("r1", noon + timedelta(days=1)))


async def test_of_two_processes_with_one_id_one_wins(
    database_url: str, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    async with ImpressionWriter(database_url, "a") as a, ImpressionWriter(database_url, "b") as b:
        for i in range(20):
            results = await asyncio.gather(*(writer.write(make_impression(f"r{i}")) for writer in (a, b)), return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["DuplicateRequest", "int"]
    assert await rows(other, "SELECT count(*) FROM impressions") == [(20,)]


async def test_an_idle_connection_that_was_killed_is_replaced_unseen(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    await writer.write(make_impression("r1"))
    assert await kill_writers(other) == 1
    assert await writer.write(make_impression("r2")) > 1


async def test_a_connection_killed_in_the_middle_of_a_commit_loses_and_repeats_nothing(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    await writer.write(make_impression("first"))
    async with other.transaction():
        await other.execute("LOCK TABLE requests IN EXCLUSIVE MODE")  # the writer's statement now waits
        writes = [asyncio.create_task(writer.write(make_impression(f"r{i}"))) for i in range(5)]
        await asyncio.sleep(0.2)
        assert await kill_writers(other) == 1
        await asyncio.sleep(0.1)
    assert len(set(await asyncio.gather(*writes))) == 5
    assert await rows(other, "SELECT count(*), count(DISTINCT request_id) FROM impressions") == [(6, 6)]


async def test_a_commit_whose_answer_was_lost_is_found_again(
    database_url: str, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    async with Wire(database_url) as wire, ImpressionWriter(wire.url, "w1") as writer:
        await writer.write(make_impression("r1"))
        wire.mute = True
        write = asyncio.create_task(writer.write(make_impression("r2")))
        async with asyncio.timeout(1):
            while await rows(other, "SELECT count(*) FROM impressions") != [(2,)]:  # noqa: ASYNC110  # PostgreSQL sets no events
                await asyncio.sleep(0.01)
        wire.mute = False
        wire.cut()
        assert [(await write,)] == await rows(other, "SELECT seq FROM impressions WHERE request_id = 'r2'")
        assert await rows(other, "SELECT count(*) FROM impressions") == [(2,)]


async def test_a_server_that_refuses_is_reported_at_once(make_impression: Make) -> None:
    async with ImpressionWriter("postgresql://drn@127.0.0.1:1/drn", "w1") as writer, elapsed(0.5):
        with pytest.raises(StoreUnavailable):
            await writer.write(make_impression())


async def test_a_server_that_falls_silent_is_given_up_after_two_seconds_and_taken_up_again(
    database_url: str, make_impression: Make
) -> None:
    async with Wire(database_url) as wire, ImpressionWriter(wire.url, "w1") as writer:
        await writer.write(make_impression("r1"))
        wire.mute = True
        async with elapsed(2.5):
            results = await asyncio.gather(*(writer.write(make_impression(f"lost{i}")) for i in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 3
        wire.mute = False
        wire.cut()
        assert await writer.write(make_impression("r2")) > 1


async def test_a_server_that_is_away_for_a_while(database_url: str, make_impression: Make) -> None:
    async with Wire(database_url) as wire:
        url = wire.url
    async with ImpressionWriter(url, "w1") as writer:
        with pytest.raises(StoreUnavailable):
            await writer.write(make_impression("r1"))
        port = make_url(url).port
        assert port
        again = Wire(database_url)
        again._server = await asyncio.start_server(again._serve, "127.0.0.1", port)
        async with again._server:
            assert await writer.write(make_impression("r1")) == 1
            again.cut()


async def test_a_lock_held_too_long_ends_in_time_and_stores_nothing_twice(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    await writer.write(make_impression("r1"))
    async with other.transaction():
        await other.execute("LOCK TABLE requests IN EXCLUSIVE MODE")
        async with elapsed(2.5):
            with pytest.raises(StoreUnavailable):
                await writer.write(make_impression("r2"))
    assert await writer.write(make_impression("r3")) > 1
    assert (await rows(other, "SELECT count(*) FROM impressions"))[0][0] in {2, 3}


async def test_an_impression_that_postgresql_refuses_costs_only_itself(writer: ImpressionWriter, make_impression: Make) -> None:
    good, bad = make_impression("r1"), make_impression("r2", fallback="\x00")
    crooked = replace(make_impression("r3"), explore_scores=good.explore_scores[:-1])
    results = await asyncio.gather(*map(writer.write, [good, bad, crooked, make_impression("r4")]), return_exceptions=True)
    assert [type(result) for result in results] == [int, psycopg.DataError, psycopg.errors.CheckViolation, int]


async def test_days_are_made_as_they_are_met(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make, noon: datetime
) -> None:
    days = [-2000, 0, 1, 400]
    await asyncio.gather(*(writer.write(make_impression(f"r{days}", noon + timedelta(days=days))) for days in days))
    assert await rows(other, "SELECT tableoid::regclass::text FROM impressions ORDER BY at") == [
        ("impressions_20210601",),
        ("impressions_20261122",),
        ("impressions_20261123",),
        ("impressions_20271227",),
    ]


async def test_a_day_ends_at_midnight_utc(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make, noon: datetime
) -> None:
    midnight = noon + timedelta(hours=12)
    await writer.write(make_impression("r1", midnight - timedelta(microseconds=1)))
    await writer.write(make_impression("r2", midnight))
    assert await rows(other, "SELECT tableoid::regclass::text FROM impressions ORDER BY at") == [
        ("impressions_20261122",),
        ("impressions_20261123",),
    ]


async def test_a_day_that_was_dropped_is_made_again(
    writer: ImpressionWriter, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    await writer.write(make_impression("r1"))
    await other.execute("DROP TABLE impressions_20261122")
    assert await writer.write(make_impression("r2")) > 1


async def test_two_processes_may_meet_a_new_day_at_once(database_url: str, make_impression: Make, noon: datetime) -> None:
    async with ImpressionWriter(database_url, "a") as a, ImpressionWriter(database_url, "b") as b:
        for i in range(5):
            at = noon + timedelta(days=i)
            await asyncio.gather(a.write(make_impression(f"a{i}", at)), b.write(make_impression(f"b{i}", at)))


async def test_closing_commits_what_is_waiting(
    database_url: str, other: psycopg.AsyncConnection[Any], make_impression: Make
) -> None:
    writer = ImpressionWriter(database_url, "w1")
    writes = [asyncio.create_task(writer.write(make_impression(f"r{i}"))) for i in range(200)]
    await asyncio.sleep(0)
    await writer.close()
    assert len(set(await asyncio.gather(*writes))) == 200
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.write(make_impression("after"))
    assert await rows(other, "SELECT count(*) FROM impressions") == [(200,)]
