"""What an operator sets, from the environment. Learning constants are not here: they are `drn.config`."""

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from drn.config import PROFILES, Config, Profile


class Settings(BaseSettings):
    """One value per environment variable; the field's alias is the variable's name."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    database_url: str = Field("", alias="DATABASE_URL", description="PostgreSQL; empty where the caller brings an embedded one")
    host: str = Field("127.0.0.1", alias="HOST", description="address to listen on; anything but loopback needs an API key")
    port: int = Field(8000, alias="PORT", ge=0, le=65_535, description="port to listen on; 0 lets the system choose")
    data: Path = Field(Path(".drn"), alias="DRN_DATA", description="where the embedded PostgreSQL keeps its files")
    profile: Profile = Field("default", alias="DRN_PROFILE", description="a named set of hyper-parameters")
    changes: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, alias="DRN_CONFIG", description="JSON: changes on top of the profile"
    )
    max_candidates: int = Field(
        2_000, alias="DRN_MAX_CANDIDATES", ge=1, le=60_000, description="more in one /rank are refused: 413"
    )
    max_body_bytes: int = Field(
        4_194_304, alias="DRN_MAX_BODY_BYTES", ge=1_024, description="larger request bodies are refused: 413"
    )
    cached_readers: int = Field(100_000, alias="DRN_CACHED_READERS", ge=1, description="readers whose history stays in memory")
    pool_size: int = Field(
        8, alias="DRN_POOL_SIZE", ge=2, le=100, description="pooled connections of one API process; under load up to 21 more"
    )
    store_timeout: float = Field(
        1.5, alias="DRN_STORE_TIMEOUT", gt=0, le=60, description="seconds PostgreSQL may take before a 503"
    )
    start_timeout: float = Field(30.0, alias="DRN_START_TIMEOUT", ge=0, description="seconds to wait for PostgreSQL at start")
    follow_seconds: float = Field(
        0.25, alias="DRN_FOLLOW_SECONDS", gt=0, le=1, description="at most this long between looks at the log"
    )
    access_log: bool = Field(False, alias="DRN_ACCESS_LOG", description="one log line per request")
    log_level: str = Field(
        "INFO", alias="DRN_LOG_LEVEL", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR"
    )

    @field_validator("profile", mode="before")
    @classmethod
    def known_profile(cls, value: object) -> object:
        if value not in PROFILES:
            raise ValueError(f"there is no profile {value!r}; there are {', '.join(PROFILES)}")
        return value

    @field_validator("changes", mode="before")
    @classmethod
    def json_object(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f'must be a JSON object such as {{"gamma": 0.3}}: {error}') from error

    def config(self) -> Config:
        """The hyper-parameters: the profile with the operator's changes.

        Raises:
            InvalidConfig: no such hyper-parameter, or a value out of range.
        """
        return Config.profile(self.profile, **{name: as_parameter(value) for name, value in self.changes.items()})

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def as_parameter(value: Any) -> Any:
    """A JSON value as a hyper-parameter: lists are layer widths, which are tuples."""
    return tuple(value) if isinstance(value, list) else dict(value) if isinstance(value, Mapping) else value


def is_loopback(host: str) -> bool:
    """True for localhost and for addresses of the loopback network; names are not resolved, so any other name is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
