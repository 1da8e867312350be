"""A database for one purpose, on a server that has others: made empty, dropped at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from service.store.engine import libpq_url, translated


@asynccontextmanager
async def scratch_database(server_url: str) -> AsyncIterator[str]:
    """The address of a new database. A crash may lose its newest rows, so commits in it do not wait for the disk.

    Raises:
        StoreUnavailable: the server cannot be reached.
        psycopg.errors.InsufficientPrivilege: its user may not create databases.
    """
    name = f"drn_scratch_{uuid4().hex[:12]}"
    own = sql.Identifier(name)
    with translated():
        async with await AsyncConnection.connect(libpq_url(server_url), autocommit=True) as connection:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(own))
            try:
                await connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(own))
                yield make_url(libpq_url(server_url)).set(database=name).render_as_string(hide_password=False)
            finally:
                await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))
