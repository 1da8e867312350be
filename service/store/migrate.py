"""Brings a database to the schema of this release, from the installed package."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import migrations
from service.store.engine import SERVING, sqlalchemy_url, translated


def configuration(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    # Alembic interpolates %, which percent-encoded passwords are full of.
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(url).render_as_string(hide_password=False).replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Runs every migration that the database does not have yet; any number of processes may do so at once.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached.
    """
    with translated():
        command.upgrade(configuration(url), revision)


def pending(url: str) -> bool:
    """Whether the database lacks a migration of this release.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached.
    """
    head = ScriptDirectory.from_config(configuration(url)).get_current_head()
    with translated():
        engine = create_engine(sqlalchemy_url(url), connect_args=SERVING.options(), poolclass=NullPool)
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() != head
