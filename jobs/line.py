"""The head of the line, as a job may build on it."""

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.config import Config
from drn.errors import SchemaMismatch
from drn.features import schema_digest
from drn.versions import Version
from jobs.runner import Skipped
from service.settings import Settings
from service.store import versions
from service.store.engine import reading

NETWORK = ("activation", "list_pooling", "advantage_layers", "value_layers")  # hyper-parameters that weights are made for
WAYS_ON = (
    "Set DRN_PROFILE and DRN_CONFIG to those that the line was learned with, or begin anew behind it with an untrained "
    "network: `python -m jobs migrate --new-line`"
)


async def current_head(connection: AsyncConnection, config: Config) -> Version | Skipped:
    """The newest version, if there is one.

    Raises:
        SchemaMismatch: it was made for other features or another network than those configured.
    """
    head = await versions.head(connection)
    if head is None:
        return Skipped("there is no version yet: `python -m jobs migrate` makes the first")
    require_fit(head, config)
    return head


def require_fit(head: Version, config: Config) -> None:
    """Raises SchemaMismatch, with what to do, unless a learner of this configuration can go on from this version."""
    if head.schema != (ours := schema_digest(config)):
        raise SchemaMismatch(f"version {head.id} was made for features {head.schema}, the configured ones are {ours}. {WAYS_ON}")
    for name in NETWORK:
        found, wanted = getattr(head.config, name), getattr(config, name)
        if found != wanted:
            raise SchemaMismatch(f"{name} of version {head.id} is {found}, the configured one is {wanted}. {WAYS_ON}")


async def configuration(engine: AsyncEngine, settings: Settings) -> Config:
    """What a command that extends the line once goes by: the operator's hyper-parameters if any are set, else the head's."""
    if settings.model_fields_set & {"profile", "changes"}:
        return settings.config()
    async with reading(engine) as connection:
        head = await versions.head(connection, memory=False)
    return settings.config() if head is None else head.config


def unread(number: int) -> dict[str, float]:
    """For metrics: the impressions that were stepped over, where there are any."""
    return {"undecodable": float(number)} if number else {}
