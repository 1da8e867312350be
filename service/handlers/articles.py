"""Articles: publish, find, withdraw."""

from collections.abc import Sequence
from datetime import datetime

from drn.types import Article
from service.deadline import within
from service.errors import NotFound
from service.node import Node
from service.store import articles
from service.store.articles import Titled
from service.store.engine import reading, writing

ARTICLE_SECONDS = 1e-3  # more for each article: to store ten thousand and take them into the catalogue is no fault of the store


async def publish(node: Node, published: Sequence[Article], now: datetime) -> int:
    """Stores the articles (of two with one id, the last) and makes them rankable from the next list on; how many.

    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> int:
        async with writing(node.engine) as connection:
            stored = await articles.upsert(connection, published, now)
        await node.follower.follow_articles()
        return stored

    return await within(node.settings.store_timeout + len(published) * ARTICLE_SECONDS, work())


async def find(node: Node, article_id: str) -> Article:
    """
    Raises:
        NotFound: there is no such article, or it was withdrawn.
        Unavailable: the store does not answer.
    """

    async def work() -> Article | None:
        async with reading(node.engine) as connection:
            return await articles.get(connection, article_id)

    article = await within(node.settings.store_timeout, work())
    if article is None:
        raise NotFound(f"there is no article {article_id!r}")
    return article


async def titled(node: Node, piece: str, limit: int) -> list[Titled]:
    """The newest articles whose title contains this piece, in upper or lower case; withdrawn ones are left out.

    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> list[Titled]:
        async with reading(node.engine) as connection:
            return await articles.titled(connection, piece, limit)

    return await within(node.settings.store_timeout, work())


async def withdraw(node: Node, article_id: str, now: datetime) -> None:
    """Takes the article out of every following list.

    Raises:
        NotFound: there is no such article, or it was withdrawn before.
        Unavailable: the store does not answer.
    """

    async def work() -> bool:
        async with writing(node.engine) as connection:
            withdrawn = await articles.withdraw(connection, article_id, now)
        await node.follower.follow_articles()
        return withdrawn

    if not await within(node.settings.store_timeout, work()):
        raise NotFound(f"there is no article {article_id!r}")
