"""A real PostgreSQL for every test that asks for one: one server per run, one migrated template, one copy per test."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from uuid import uuid4

import psycopg
import pytest
import torch
from psycopg import sql
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.store import embedded
from service.store.engine import create_engine, libpq_url
from service.store.migrate import upgrade

# As a learner does at its start. Sums depend on the number of threads, which a thread keeps from its first use of torch.
torch.set_num_threads(1)


def at_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def administer(url: str, statement: str, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def database(server_url: str, template: str) -> Iterator[str]:
    name = f"drn_test_{uuid4().hex[:12]}"
    administer(server_url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield at_database(server_url, name)
    finally:
        administer(server_url, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on which databases can be made: TEST_DATABASE_URL, or an embedded one for this run."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield libpq_url(given)
        return
    with embedded.tied(tmp_path_factory.mktemp("postgres"), embedded.SCRATCH) as server:
        yield server.url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database that tests copy."""
    with database(server_url, "template0") as url:
        upgrade(url)
        yield str(make_url(url).database)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A database without any table."""
    with database(server_url, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def fresh_database(server_url: str, template: str) -> Callable[[], AbstractContextManager[str]]:
    """Makes migrated databases, each dropped at the end of its `with` block."""
    return partial(database, server_url, template)


@pytest.fixture
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A migrated database of this test's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One open transaction; a test that wants others to see its work commits it."""
    async with engine.connect() as connection:
        yield connection
