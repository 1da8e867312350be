"""The catalogue as the CMS left it. Every change has a number; changes become visible in the order of their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Article
from service.store.locks import Lock, hold
from service.store.tables import article_revision, articles

CHANNEL = "drn_articles"
CONTENT = (
    "title",
    "published_at",
    "abstract",
    "provider",
    "category",
    "topics",
    "entities",
    "expires_at",
    "embargo_until",
    "url",
    "embedding",
)


@dataclass(frozen=True, slots=True)
class StoredArticle:
    article: Article
    revision: int
    withdrawn: bool


async def upsert(connection: AsyncConnection, batch: Sequence[Article], now: datetime) -> int:
    """Stores the articles and returns how many there were; of two with one id the later counts.

    An article that was withdrawn comes back. One that is stored just so already is no change and wakes nobody.
    """
    latest = {article.id: article for article in batch}
    if not latest:
        return 0
    await hold(connection, Lock.ARTICLES)
    await connection.execute(UPSERT, [row(article, now) for article in latest.values()])
    await notify(connection)
    return len(latest)


NEW = insert(articles)
UPSERT = NEW.values(revision=article_revision.next_value()).on_conflict_do_update(
    index_elements=[articles.c.id],
    set_={name: NEW.excluded[name] for name in (*CONTENT, "revision", "stored_at")} | {"withdrawn_at": None},
    where=or_(articles.c.withdrawn_at.is_not(None), *(articles.c[name].is_distinct_from(NEW.excluded[name]) for name in CONTENT)),
)


async def get(connection: AsyncConnection, article_id: str) -> Article | None:
    """The article, unless it is unknown or withdrawn."""
    found = (await connection.execute(select(articles).where(articles.c.id == article_id))).one_or_none()
    return stored(found).article if found and found.withdrawn_at is None else None


async def withdraw(connection: AsyncConnection, article_id: str, now: datetime) -> bool:
    """Takes the article out of all lists; False if there is none to take."""
    await hold(connection, Lock.ARTICLES)
    gone = await connection.execute(
        update(articles)
        .where(articles.c.id == article_id, articles.c.withdrawn_at.is_(None))
        .values(withdrawn_at=now, revision=article_revision.next_value())
    )
    if gone.rowcount:
        await notify(connection)
    return gone.rowcount > 0


async def all_articles(connection: AsyncConnection) -> list[StoredArticle]:
    """Every article ever stored, withdrawn ones too (readers' histories name them), in the order of their changes."""
    return await changed_since(connection, 0)


async def changed_since(connection: AsyncConnection, revision: int) -> list[StoredArticle]:
    """What has changed after this revision, in order."""
    query = select(articles).where(articles.c.revision > revision).order_by(articles.c.revision)
    return [stored(found) for found in await connection.execute(query)]


async def notify(connection: AsyncConnection) -> None:
    await connection.execute(select(func.pg_notify(CHANNEL, "")))


def row(article: Article, now: datetime) -> dict[str, object]:
    return {
        "id": article.id,
        "title": article.title,
        "published_at": article.published_at,
        "abstract": article.abstract,
        "provider": article.provider,
        "category": article.category,
        "topics": list(article.topics),
        "entities": list(article.entities),
        "expires_at": article.expires_at,
        "embargo_until": article.embargo_until,
        "url": article.url,
        "embedding": None if article.embedding is None else np.array(article.embedding, "<f8").tobytes(),
        "stored_at": now,
    }


def stored(found: Row[tuple[object, ...]]) -> StoredArticle:
    article = Article(
        id=found.id,
        title=found.title,
        published_at=found.published_at,
        abstract=found.abstract,
        provider=found.provider,
        category=found.category,
        topics=tuple(found.topics),
        entities=tuple(found.entities),
        expires_at=found.expires_at,
        embargo_until=found.embargo_until,
        url=found.url,
        embedding=None if found.embedding is None else tuple(np.frombuffer(found.embedding, "<f8").tolist()),
    )
    return StoredArticle(article, found.revision, found.withdrawn_at is not None)
