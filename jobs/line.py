"""The head of the line, as a job may build on it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.errors import SchemaMismatch
from drn.features import schema_digest
from drn.versions import Version
from jobs.runner import Skipped
from service.store import versions


async def current_head(connection: AsyncConnection, config: Config) -> Version | Skipped:
    """The newest version, if there is one.

    Raises:
        SchemaMismatch: it was made for other features than those configured.
    """
    head = await versions.head(connection)
    if head is None:
        return Skipped("there is no version yet: `python -m jobs migrate` makes the first")
    if head.schema != schema_digest(config):
        raise SchemaMismatch(
            f"version {head.id} was made for features {head.schema}, the configured ones are {schema_digest(config)}: "
            "start the learner with the configuration that the API runs with"
        )
    return head
