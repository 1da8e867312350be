"""A statement that a connection prepares once and then runs with none of a cursor's work, which costs more than to send it."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias, cast
from weakref import WeakSet

import psycopg
from psycopg import generators
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from service.store.group_commit import Connection

Parameter: TypeAlias = str | bytes
"""A value as PostgreSQL writes it, or in its binary form."""


class Prepared:
    """One statement, for autocommit connections whose client encoding is UTF-8.

    Args:
        name: of it, among a connection's prepared statements.
        statement: with $1, $2, … in the place of values.
    """

    def __init__(self, name: str, statement: str) -> None:
        self._name = name.encode()
        self._statement = statement.encode()
        self._known: WeakSet[Connection] = WeakSet()  # who has prepared it

    async def rows(self, connection: Connection, parameters: Sequence[Parameter]) -> list[tuple[bytes, ...]]:
        """The rows that the statement returns, none of whose values is NULL, as PostgreSQL writes them.

        Raises:
            psycopg.Error: what PostgreSQL, or the connection to it, says of it, or a text that cannot be stored.
        """
        values = [encoded(each) if isinstance(each, str) else each for each in parameters]
        formats = [int(isinstance(each, bytes)) for each in parameters]
        async with connection.lock:
            if connection not in self._known:
                connection.pgconn.send_prepare(self._name, self._statement)
                only(connection, await results(connection))
                self._known.add(connection)
            connection.pgconn.send_query_prepared(self._name, values, formats)
            result = only(connection, await results(connection))
        columns = range(result.nfields)
        return [tuple([cast("bytes", result.get_value(row, column)) for column in columns]) for row in range(result.ntuples)]


async def results(connection: Connection) -> list[PGresult]:
    """What comes of the statement that is being sent, once it is there.

    Nearly every statement fits into the socket at once, so its answer is all that there is to wait for; the driver's own wait
    looks for room in the socket first. Who cancels this has to close the connection, and nobody may close it meanwhile.
    """
    pgconn = connection.pgconn
    found: list[PGresult] = []
    if pgconn.flush():
        return await connection.wait(generators.execute(pgconn))
    while True:
        while pgconn.is_busy():
            await readable(pgconn.socket)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return found
        found.append(result)


async def readable(socket: int) -> None:
    """Waits for something to read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(socket)


def only(connection: Connection, results: Sequence[PGresult]) -> PGresult:
    """The result of one statement.

    Raises:
        psycopg.Error: it is an error.
    """
    (result,) = results
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise error_from_result(result, encoding=connection.info.encoding)
    return result


def encoded(text: str) -> bytes:
    """The text as it is sent.

    Raises:
        psycopg.DataError: it has a NUL, where libpq would end it, or half a surrogate pair.
    """
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise psycopg.DataError(str(error)) from error
