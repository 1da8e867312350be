"""A database for one purpose, on a server that has others: made empty, dropped at the end."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from service.store.engine import libpq_url, translated

PREFIX = "drn_scratch"
YOUNG = 60  # seconds after which the database of somebody who lives has a connection


@asynccontextmanager
async def scratch_database(server_url: str) -> AsyncIterator[str]:
    """The address of a new database. A crash may lose its newest rows, so commits in it do not wait for the disk.

    Whoever is killed leaves its database behind; the next one drops it.

    Raises:
        StoreUnavailable: the server cannot be reached.
        psycopg.errors.InsufficientPrivilege: its user may not create databases.
    """
    name = f"{PREFIX}_{time.time():.0f}_{uuid4().hex[:12]}"
    own = sql.Identifier(name)
    url = make_url(libpq_url(server_url)).set(database=name).render_as_string(hide_password=False)
    with translated():
        async with await AsyncConnection.connect(libpq_url(server_url), autocommit=True) as connection:
            await drop_abandoned(connection)
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(own))
            try:
                await connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(own))
                async with await AsyncConnection.connect(url, autocommit=True):  # says that somebody is here
                    yield url
            finally:
                await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(own))


async def drop_abandoned(connection: AsyncConnection[tuple[object, ...]]) -> None:
    """Drops scratch databases of this user that nobody is connected to, except those that were made just now."""
    left = await connection.execute(ABANDONED, [rf"^{PREFIX}_\d+_", time.time() - YOUNG])
    for (name,) in await left.fetchall():
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InvalidCatalogName):  # somebody else was here first
            await connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(str(name))))


ABANDONED = """
SELECT datname FROM pg_database WHERE datname ~ %s AND split_part(datname, '_', 3)::bigint < %s
    AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = pg_database.oid)
"""
