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

Parameter: TypeAlias = str | bytes | None
"""A value as PostgreSQL writes it, or in its binary form; None for NULL."""
Rows: TypeAlias = list[tuple[bytes, ...]]
"""What a statement returned, as PostgreSQL writes it; none of it is NULL."""
SUCCESS = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


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

    async def rows(self, connection: Connection, parameters: Sequence[Parameter]) -> Rows:
        """What the statement returns.

        Raises:
            psycopg.Error: what PostgreSQL, or the connection to it, says of it, or a text that cannot be stored.
        """
        values, formats = encoded(parameters)
        async with connection.lock:
            if connection not in self._known:
                connection.pgconn.send_prepare(self._name, self._statement)
                await answer(connection)
                self._known.add(connection)
            connection.pgconn.send_query_prepared(self._name, values, formats)
            return await answer(connection)


async def answer(connection: Connection) -> Rows:
    """What the statement returns that was sent.

    Raises:
        psycopg.Error: it failed.
    """
    found = good(connection, await everything(connection))
    columns = range(found.nfields)
    return [tuple([cast("bytes", found.get_value(row, column)) for column in columns]) for row in range(found.ntuples)]


async def everything(connection: Connection) -> PGresult | None:
    """The last that PostgreSQL says of a statement, once all of it is there: a commit that fails is an error behind a result."""
    found = None
    while (more := await next_result(connection)) is not None:
        found = more
    return found


async def next_result(connection: Connection) -> PGresult | None:
    """What PostgreSQL says next, once it is there; None after that.

    Nearly always all that was sent fits into the socket at once, so this is all that there is to wait for; the driver's own wait
    looks for room in the socket first. Who cancels this has to close the connection, and nobody may close it meanwhile.
    """
    pgconn = connection.pgconn
    if pgconn.flush():
        await connection.wait(generators.send(pgconn))
    while pgconn.is_busy():
        await readable(pgconn.socket)
        pgconn.consume_input()
    return pgconn.get_result()


async def readable(socket: int) -> None:
    """Waits for something to read."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(socket, wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(socket)


def wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():  # it may be cancelled
        ready.set_result(None)


def good(connection: Connection, found: PGresult | None) -> PGresult:
    """The result, if it is none of an error.

    Raises:
        psycopg.Error: it is one, or the connection is lost.
    """
    if found is None:
        raise psycopg.OperationalError("the connection is lost")
    if found.status not in SUCCESS:
        raise error_from_result(found, encoding=connection.info.encoding)
    return found


def encoded(parameters: Sequence[Parameter]) -> tuple[list[bytes | None], list[int]]:
    """The parameters as they are sent, and for each 1 if it is in binary form.

    Raises:
        psycopg.DataError: see `sendable`.
    """
    values = [sendable(each) if isinstance(each, str) else each for each in parameters]
    return values, [int(isinstance(each, bytes)) for each in parameters]


def sendable(text: str) -> bytes:
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
