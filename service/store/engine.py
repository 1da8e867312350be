"""Connections to PostgreSQL: every wait on them ends."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.store.errors import InvalidAddress, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection may wait for what. Seconds."""

    connect: float = 2.0
    statement: float = 5.0
    lock: float = 2.0
    idle_in_transaction: float = 5.0

    def options(self) -> dict[str, str]:
        """The same as libpq connection parameters; `jit` off because planning it costs more than these queries."""
        settings = {
            "statement_timeout": round(1000 * self.statement),
            "lock_timeout": round(1000 * self.lock),
            "idle_in_transaction_session_timeout": round(1000 * self.idle_in_transaction),
            "jit": "off",
            "timezone": "UTC",
        }
        return {
            "connect_timeout": str(max(2, round(self.connect))),  # libpq rounds 1 up to 2 itself
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "keepalives_idle": "10",
            "keepalives_interval": "5",
            "keepalives_count": "2",
            "tcp_user_timeout": "5000",  # a server that vanished without a goodbye is noticed
        }


SERVING = Timeouts()
LEARNING = Timeouts(statement=120.0, lock=10.0, idle_in_transaction=1800.0)
"""A learner keeps its transaction open while it computes; reading a full replay takes longer than any request."""


def sqlalchemy_url(url: str) -> URL:
    """`postgres://`, `postgresql://` and `postgresql+psycopg://` alike, for SQLAlchemy with psycopg 3.

    Raises:
        InvalidAddress: it is no PostgreSQL address.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise InvalidAddress("DATABASE_URL must begin with postgresql://")
    try:
        return make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError) as error:  # without the address itself, which may hold a password
        raise InvalidAddress("DATABASE_URL must look like postgresql://user:password@host:5432/database") from error


def libpq_url(url: str) -> str:
    """The same address for psycopg itself and for psql."""
    return sqlalchemy_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def create_engine(url: str, *, timeouts: Timeouts = SERVING, pool_size: int = 5, overflow: int = 10) -> AsyncEngine:
    """A pool whose connections carry `timeouts`; a connection that died while it was idle is replaced unseen."""
    return create_async_engine(
        sqlalchemy_url(url),
        connect_args={**timeouts.options(), "application_name": "drn"},
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=timeouts.connect,
        pool_pre_ping=True,
        pool_recycle=1800,
    )


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a read-only transaction that is rolled back at the end.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(postgresql_readonly=True)
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that is committed at the end, or rolled back when an exception leaves it.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached, or did not answer in time.
    """
    with translated():
        async with engine.begin() as connection:
            yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turns what drivers and pool raise when PostgreSQL is gone, slow or full into StoreUnavailable."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("no connection became free in time") from error
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(first_line(error.orig or error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(first_line(error.orig or error)) from error
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
        raise StoreUnavailable(first_line(error)) from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
