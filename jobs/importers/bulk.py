"""A log's articles and earlier clicks → the store, in large transactions. What is there already stays as it is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from drn.types import Article, Event
from jobs.importers.log import Log
from jobs.progress import steps
from service.store import articles, feedback
from service.store.engine import writing

WRITER = "import"
ROWS = 5_000  # per transaction: large enough to be quick, small enough not to keep other writers waiting
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an import did."""

    articles: int
    clicks: int  # that were new
    known: int  # clicks that an earlier import had brought
    unknown: int  # clicks on articles that the log does not describe: not stored, no feature could use them


async def load(engine: AsyncEngine, log: Log, clock: Callable[[], datetime]) -> Loaded:
    """Brings in all articles, then the clicks on them as organic feedback of their readers. Doing it again changes nothing.

    Raises:
        UnreadableLog: a file is not in the log's format.
        StoreUnavailable: PostgreSQL went away; what was committed stays, and doing it again brings the rest.
    """
    described = log.articles()
    await load_articles(engine, described, clock())
    ids = {article.id for article in described}
    clicks = list(log.clicks())
    wanted = [click for click in clicks if click.article_id in ids]
    new = await load_clicks(engine, wanted, clock())
    return Loaded(len(described), new, len(wanted) - new, len(clicks) - len(wanted))


async def load_articles(engine: AsyncEngine, described: list[Article], now: datetime) -> None:
    with steps("articles") as advance:
        done = 0
        for chunk in chunks(described):
            async with writing(engine) as connection:
                await articles.upsert(connection, chunk, now)
            done += len(chunk)
            advance(done, len(described))


async def load_clicks(engine: AsyncEngine, clicks: list[Event], now: datetime) -> int:
    """How many were new."""
    new = 0
    with steps("clicks") as advance:
        done = 0
        for chunk in chunks(clicks):
            async with writing(engine) as connection:
                new += (await feedback.record(connection, chunk, WRITER, now)).accepted
            done += len(chunk)
            advance(done, len(clicks))
    return new


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, ROWS)):
        yield chunk
