"""A statement that a connection prepares once and then runs with none of a cursor's work, which costs more than to send it."""

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias
from weakref import WeakSet

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Parameter: TypeAlias = str | bytes
"""A value as PostgreSQL writes it, or in its binary form."""

BYTEA = 17  # the type's number


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

    async def rows(self, connection: Connection, parameters: Sequence[Parameter]) -> list[tuple[bytes | None, ...]]:
        """The rows that the statement returns, every value as PostgreSQL writes it.

        Raises:
            psycopg.Error: what PostgreSQL, or the connection to it, says of it.
        """
        values = [each.encode() if isinstance(each, str) else each for each in parameters]
        if any(b"\0" in value for value, each in zip(values, parameters, strict=True) if isinstance(each, str)):
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")  # libpq would end them there
        formats = [int(isinstance(each, bytes)) for each in parameters]
        async with connection.lock:
            if connection not in self._known:
                await connection.wait(self._prepare(connection))
                self._known.add(connection)
            result = await connection.wait(self._run(connection, values, formats))
        return [tuple([result.get_value(row, column) for column in range(result.nfields)]) for row in range(result.ntuples)]

    def _prepare(self, connection: Connection) -> PQGen[None]:
        connection.pgconn.send_prepare(self._name, self._statement)
        only(connection, (yield from generators.execute(connection.pgconn)))

    def _run(self, connection: Connection, values: Sequence[bytes], formats: Sequence[int]) -> PQGen[PGresult]:
        connection.pgconn.send_query_prepared(self._name, values, formats)
        return only(connection, (yield from generators.execute(connection.pgconn)))


def only(connection: Connection, results: Sequence[PGresult]) -> PGresult:
    """The result of one statement.

    Raises:
        psycopg.Error: it is an error.
    """
    (result,) = results
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise error_from_result(result, encoding=connection.info.encoding)
    return result


def byteas(values: Sequence[bytes]) -> bytes:
    """A bytea[] in its binary form: dimensions, no NULLs, type, length and first index, then each with its own length."""
    parts = [struct.pack("!iiIii", 1, 0, BYTEA, len(values), 1)]
    for value in values:
        parts += (struct.pack("!i", len(value)), value)
    return b"".join(parts)
