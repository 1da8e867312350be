"""A prepared statement sends what it is given, says what PostgreSQL says, and knows which connection has prepared it."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from service.store.engine import libpq_url
from service.store.impression_rows import byteas
from service.store.prepared import Prepared

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url), autocommit=True) as opened:
        yield opened


async def test_texts_and_bytes_come_back_as_they_were_sent(connection: Connection) -> None:
    statement = Prepared("echo", "SELECT $1::text, encode(x, 'hex'), $3::int, $4::text IS NULL FROM unnest($2::bytea[]) AS x")
    text = "ö,{}\\\"'"
    found = await statement.rows(connection, (text, byteas([b"", b"\0\xff"]), "7", None))
    assert found == [(text.encode(), b"", b"7", b"t"), (text.encode(), b"00ff", b"7", b"t")]


async def test_an_error_is_postgresqls_and_the_next_run_is_none(connection: Connection) -> None:
    statement = Prepared("divide", "SELECT 6 / $1::int")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await statement.rows(connection, ("0",))
    assert await statement.rows(connection, ("3",)) == [(b"2",)]


async def test_a_statement_that_cannot_be_prepared_says_why_each_time(connection: Connection) -> None:
    statement = Prepared("wrong", "SELECT nothing FROM nowhere")
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            await statement.rows(connection, ())


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_a_text_that_cannot_be_stored_is_refused_before_it_is_sent(connection: Connection, text: str) -> None:
    with pytest.raises(psycopg.DataError):
        await Prepared("echo", "SELECT $1::text").rows(connection, (text,))


async def test_every_connection_prepares_it_anew(connection: Connection, database_url: str) -> None:
    statement = Prepared("one", "SELECT 1")
    assert await statement.rows(connection, ()) == [(b"1",)]
    await connection.close()
    with pytest.raises(psycopg.OperationalError):
        await statement.rows(connection, ())
    async with await psycopg.AsyncConnection.connect(libpq_url(database_url), autocommit=True) as another:
        assert await statement.rows(another, ()) == await statement.rows(another, ()) == [(b"1",)]


async def test_a_commit_that_fails_is_an_error(connection: Connection) -> None:
    """The row is there, then the transaction ends, and with it what was put off until then."""
    await connection.execute("CREATE TEMPORARY TABLE numbers (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    statement = Prepared("twice", "INSERT INTO numbers VALUES ($1::int), ($1::int) RETURNING n")
    for _ in range(2):
        with pytest.raises(psycopg.errors.UniqueViolation):
            await statement.rows(connection, ("1",))
