"""Alembic's entry point: one connection, one transaction, one migrator at a time."""

import os

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

MIGRATE = "SELECT pg_advisory_xact_lock(6582894, 6)"  # the lock MIGRATE of service.store.locks


def address() -> str:
    """The caller's `sqlalchemy.url`, or DATABASE_URL for the `alembic` command."""
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get("DATABASE_URL", "")
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise SystemExit("set DATABASE_URL to the PostgreSQL to migrate")
    return f"postgresql+psycopg://{rest}"


def run() -> None:
    # A migration that waits for a lock makes every later query wait behind it: it gives up instead and can be run again.
    engine = create_engine(address(), poolclass=NullPool, connect_args={"connect_timeout": 5, "options": "-c lock_timeout=30000"})
    with engine.begin() as connection:
        connection.execute(text(MIGRATE))
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()


run()
