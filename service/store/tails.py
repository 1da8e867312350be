"""Following a log by its numbers."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Select, Table, Text, bindparam, cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.impression_rows import numbers


async def behind(
    connection: AsyncConnection,
    query: Select[Any],
    log: Table,
    seq: int,
    exclude_writer: str | None,
    limit: int,
    missing: Sequence[int],
) -> list[Sequence[Any]]:
    """The rows of a query on one log with these numbers: those of `missing` that there are by now, then all above `seq`.

    They are two statements, because PostgreSQL would rather read a whole table than unite two ranges of an index.

    Args:
        missing: numbers up to `seq`, ascending.
        limit: most rows above `seq`.
    """
    if exclude_writer is not None:
        query = query.where(log.c.writer != exclude_writer)
    found: list[Sequence[Any]] = []
    if missing:
        # A group that was refused, for an event sent twice, leaves its numbers unused. Of 180,000 the driver would hold up
        # every request for 180 ms.
        wanted = cast(bindparam("missing", numbers(missing), type_=Text), ARRAY(BigInteger))
        found += await connection.execute(query.where(log.c.seq == wanted.any_()).order_by(log.c.seq))
    found += await connection.execute(query.where(log.c.seq > seq).order_by(log.c.seq).limit(limit))
    return found
