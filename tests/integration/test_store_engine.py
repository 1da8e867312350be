"""Connections whose every wait ends, and locks that keep two learners apart."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.store import locks
from service.store.engine import Timeouts, create_engine, libpq_url, reading, sqlalchemy_url, writing
from service.store.errors import InvalidAddress, StoreUnavailable
from service.store.locks import LEARN, RETRAIN

HASTY = Timeouts(connect=2.0, statement=0.2, lock=0.1, idle_in_transaction=0.2)


@pytest.fixture
async def hasty(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, timeouts=HASTY, pool_size=1, overflow=0)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_an_address_is_understood(scheme: str) -> None:
    url = f"{scheme}://u:p%40%25w@host:5433/name?host=/run/pg"
    assert sqlalchemy_url(url).password == "p@%w"
    assert sqlalchemy_url(url).drivername == "postgresql+psycopg"
    assert libpq_url(url).startswith("postgresql://u:p%40%25w@host:5433/name")


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql://h/d", "", "host=/run dbname=x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidAddress, match="postgresql://"):
        sqlalchemy_url(url)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h:port/d", "postgresql://u:secret@h:5432:1/d"])
def test_a_malformed_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        sqlalchemy_url(url)
    assert "secret" not in str(caught.value)


async def test_the_servers_own_clocks_are_set(engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        for name, value in {
            "statement_timeout": "5s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "5s",
            "TimeZone": "UTC",
            "jit": "off",
        }.items():
            assert await connection.scalar(text(f"SHOW {name}")) == value


async def fails(engine: AsyncEngine, statement: str) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await run(engine, statement)
    return str(caught.value)


async def run(engine: AsyncEngine, statement: str) -> None:
    async with writing(engine) as connection:
        await connection.execute(text(statement))


async def test_a_slow_statement_is_ended(hasty: AsyncEngine) -> None:
    assert "statement timeout" in await fails(hasty, "SELECT pg_sleep(5)")


async def test_a_lock_is_not_waited_for_for_ever(engine: AsyncEngine, hasty: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await connection.execute(text("LOCK TABLE articles"))
        assert "lock timeout" in await fails(hasty, "SELECT 1 FROM articles")


async def test_a_full_pool_is_reported(hasty: AsyncEngine) -> None:
    hasty.sync_engine.pool._timeout = 0.1  # type: ignore[attr-defined]  # two seconds in earnest
    async with reading(hasty) as connection:
        await connection.execute(text("SELECT 1"))
        assert "no connection" in await fails(hasty, "SELECT 1")


async def test_a_transaction_left_open_is_ended_and_its_connection_replaced(hasty: AsyncEngine) -> None:
    async def dawdle() -> None:
        async with writing(hasty) as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.sleep(0.5)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        await dawdle()
    await run(hasty, "SELECT 1")


async def test_pooled_connections_that_were_killed_are_replaced_unseen(engine: AsyncEngine) -> None:
    async with reading(engine) as first, reading(engine) as second:
        pid = await second.scalar(text("SELECT pg_backend_pid()"))
        await first.execute(text("SELECT 1"))
    async with create_engine(engine.url.render_as_string(hide_password=False)).connect() as other:
        await other.execute(text(f"SELECT pg_terminate_backend({pid})"))
    for _ in range(3):
        await run(engine, "SELECT 1")


async def test_a_connection_killed_at_work_is_store_unavailable(engine: AsyncEngine) -> None:
    assert "terminat" in await fails(engine, "SELECT pg_terminate_backend(pg_backend_pid())")
    await run(engine, "SELECT 1")


async def test_no_server_is_store_unavailable() -> None:
    await fails(create_engine("postgresql://drn@127.0.0.1:1/drn"), "SELECT 1")


async def test_mistakes_are_not_called_unavailability(engine: AsyncEngine) -> None:
    with pytest.raises(DBAPIError, match="does not exist"):
        await run(engine, "SELECT 1 FROM nowhere")


async def test_reading_cannot_write(engine: AsyncEngine) -> None:
    async with reading(engine) as connection:
        with pytest.raises(DBAPIError, match="read-only"):
            await connection.execute(text("DELETE FROM articles"))


async def test_one_holder_per_lock_until_its_transaction_ends(engine: AsyncEngine) -> None:
    async with writing(engine) as first, writing(engine) as second:
        assert await locks.try_hold(first, LEARN)
        assert not await locks.try_hold(second, LEARN)
        assert await locks.try_hold(second, RETRAIN)
        await first.rollback()
        assert await locks.try_hold(second, LEARN)


async def test_a_session_lock_outlives_transactions_but_not_its_connection(engine: AsyncEngine, database_url: str) -> None:
    other = create_engine(database_url)
    async with other.connect() as holder, engine.connect() as rival:
        assert await locks.try_hold_session(holder, RETRAIN)
        await holder.commit()
        assert not await locks.try_hold_session(rival, RETRAIN)
        await locks.release_session(holder, RETRAIN)
        assert await locks.try_hold_session(rival, RETRAIN)
        await locks.release_session(rival, RETRAIN)
        assert await locks.try_hold_session(holder, RETRAIN)
        await holder.invalidate()
        await asyncio.sleep(0.2)
        assert await locks.try_hold_session(rival, RETRAIN)
        await locks.release_session(rival, RETRAIN)
    await other.dispose()
