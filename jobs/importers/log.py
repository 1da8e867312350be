"""A public reading log in this project's words, whatever its file format was."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from drn.types import Article, Event
from jobs.errors import UnreadableLog


@dataclass(frozen=True, slots=True)
class LoggedImpression:
    """One list that a reader saw, and what was clicked in it. `in_view` and `clicked` hold no id twice."""

    id: str
    at: datetime
    user_id: str
    device: str
    in_view: tuple[str, ...]
    clicked: tuple[str, ...]
    surface: str = ""
    page: str | None = None  # the article on whose page the list stood


class Log(Protocol):
    """A log on disk. Times without a zone are read as UTC, which moves hour-of-day by a constant and nothing else."""

    def articles(self) -> list[Article]:
        """Every article. `published_at` is its publication where the format tells it, else its first sighting in the log:
        what a system that ran at the time could have known."""
        ...

    def clicks(self) -> Iterator[Event]:
        """What readers had read before the log begins, oldest first: organic events, their ids the same at every reading."""
        ...

    def impressions(self) -> Iterator[LoggedImpression]:
        """The lists in time order."""
        ...


def require(path: Path, what: str) -> Path:
    """The path itself.

    Raises:
        UnreadableLog: there is no such file.
    """
    if not path.is_file():
        raise UnreadableLog(f"{what} is not there: {path}")
    return path


def find_above(directory: Path, name: str) -> Path:
    """The file called `name` in the directory or the one above it, where these sets keep what their splits share."""
    beside = directory / name
    return beside if beside.is_file() else directory.parent / name
