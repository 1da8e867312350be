"""The catalogue as the CMS left it. Every change has a number; changes become visible in the order of their numbers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import Row, Text, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Article
from service.store.impression_rows import texts
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
LISTS = ("topics", "entities")
BATCH = 500  # articles per statement: what a process writes at once keeps its requests waiting for a few milliseconds


@dataclass(frozen=True, slots=True)
class StoredArticle:
    article: Article
    revision: int
    withdrawn: bool


class Headline(NamedTuple):
    title: str
    withdrawn: bool


class Titled(NamedTuple):
    id: str
    title: str
    published_at: datetime


async def upsert(connection: AsyncConnection, batch: Sequence[Article], now: datetime) -> int:
    """Stores the articles and returns how many there were; of two with one id the later counts.

    An article that was withdrawn comes back. One that is stored just so already is no change and wakes nobody.
    """
    latest = {article.id: article for article in batch}
    if not latest:
        return 0
    await hold(connection, Lock.ARTICLES)
    ordered = list(latest.values())
    for start in range(0, len(ordered), BATCH):
        await connection.execute(UPSERT, columns(ordered[start : start + BATCH], now))
    await notify(connection)
    return len(latest)


# A list in a list cannot be unnested row by row, so topics and entities travel as PostgreSQL writes arrays. Numbers are drawn
# behind the sort: the order of the request is the order of the changes.
UPSERT = text(f"""
INSERT INTO articles (id, {", ".join(CONTENT)}, stored_at, revision)
SELECT id, {", ".join(f"{name}::text[]" if name in LISTS else name for name in CONTENT)}, :stored_at, nextval('article_revision')
FROM (
    SELECT * FROM unnest(:id, {", ".join(f":{name}" for name in CONTENT)})
        WITH ORDINALITY AS a(id, {", ".join(CONTENT)}, place)
    ORDER BY place
) AS ordered
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in (*CONTENT, "stored_at", "revision"))}, withdrawn_at = NULL
WHERE articles.withdrawn_at IS NOT NULL OR ({", ".join(f"articles.{name}" for name in CONTENT)})
    IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in CONTENT)})
""").bindparams(
    bindparam("id", type_=ARRAY(Text)),
    *(bindparam(name, type_=ARRAY(Text if name in LISTS else articles.c[name].type)) for name in CONTENT),
    bindparam("stored_at", type_=articles.c.stored_at.type),
)


async def get(connection: AsyncConnection, article_id: str) -> Article | None:
    """The article, unless it is unknown or withdrawn."""
    found = (await connection.execute(select(articles).where(articles.c.id == article_id))).one_or_none()
    return stored(found).article if found and found.withdrawn_at is None else None


async def present(connection: AsyncConnection, article_ids: Collection[str]) -> set[str]:
    """Those of the ids that name an article which is not withdrawn."""
    wanted = bindparam("ids", list(article_ids), type_=ARRAY(Text))
    query = select(articles.c.id).where(articles.c.id == wanted.any_(), articles.c.withdrawn_at.is_(None))
    return set(await connection.scalars(query))


async def headlines(connection: AsyncConnection, article_ids: Collection[str]) -> dict[str, Headline]:
    """The titles of those of the ids that name an article, withdrawn ones too."""
    wanted = bindparam("ids", list(article_ids), type_=ARRAY(Text))
    query = select(articles.c.id, articles.c.title, articles.c.withdrawn_at).where(articles.c.id == wanted.any_())
    return {row.id: Headline(row.title, row.withdrawn_at is not None) for row in await connection.execute(query)}


async def titled(connection: AsyncConnection, piece: str, limit: int) -> list[Titled]:
    """The newest articles whose title contains this piece, in upper or lower case; withdrawn ones are left out."""
    query = select(articles.c.id, articles.c.title, articles.c.published_at).where(
        articles.c.withdrawn_at.is_(None), articles.c.title.icontains(piece, autoescape=True)
    )
    rows = await connection.execute(query.order_by(articles.c.published_at.desc(), articles.c.id).limit(limit))
    return [Titled(*row) for row in rows]


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


async def changed_since(connection: AsyncConnection, revision: int, limit: int | None = None) -> list[StoredArticle]:
    """What has changed after this revision, in order; the first `limit` changes of it."""
    query = select(articles).where(articles.c.revision > revision).order_by(articles.c.revision).limit(limit)
    return [stored(found) for found in await connection.execute(query)]


async def notify(connection: AsyncConnection) -> None:
    await connection.execute(select(func.pg_notify(CHANNEL, "")))


def columns(batch: Sequence[Article], now: datetime) -> dict[str, object]:
    """The values of `UPSERT`: one list per column."""
    values: dict[str, object] = {name: [getattr(article, name) for article in batch] for name in ("id", *CONTENT)}
    values |= {name: [texts(getattr(article, name)) for article in batch] for name in LISTS}
    embeddings = [article.embedding for article in batch]
    values["embedding"] = [None if each is None else np.array(each, "<f8").tobytes() for each in embeddings]
    return values | {"stored_at": now}


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
