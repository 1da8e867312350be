"""The catalogue: stored to the last bit, changes numbered in the order in which they become visible."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.types import Article
from service.store import articles
from service.store.engine import reading, writing


@pytest.fixture
def plain(noon: datetime) -> Article:
    return Article("a1", "A title", noon)


@pytest.fixture
def full(noon: datetime) -> Article:
    return Article(
        "ä {\"',}",
        "Überschrift",
        noon,
        abstract="…",
        provider="p",
        category="c",
        topics=("t1", "NULL", ""),
        entities=("{", "}"),
        expires_at=noon + timedelta(days=1),
        embargo_until=noon - timedelta(microseconds=1),
        url="https://example.org/%20",
        embedding=(0.1, -1e300, 5e-324, 0.0),
    )


async def test_articles_come_back_as_they_were(
    connection: AsyncConnection, plain: Article, full: Article, noon: datetime
) -> None:
    assert await articles.upsert(connection, [plain, full], noon) == 2
    assert await articles.get(connection, plain.id) == plain
    assert await articles.get(connection, full.id) == full
    assert await articles.get(connection, "unknown") is None
    assert [stored.article for stored in await articles.all_articles(connection)] == [plain, full]


async def test_of_two_with_one_id_the_later_counts(connection: AsyncConnection, plain: Article, noon: datetime) -> None:
    assert await articles.upsert(connection, [plain, replace(plain, title="Later")], noon) == 1
    found = await articles.get(connection, plain.id)
    assert found
    assert found.title == "Later"
    assert await articles.upsert(connection, [], noon) == 0


async def test_changes_are_followed_by_their_number(
    connection: AsyncConnection, plain: Article, full: Article, noon: datetime
) -> None:
    await articles.upsert(connection, [plain, full], noon)
    seen = max(stored.revision for stored in await articles.all_articles(connection))
    assert await articles.changed_since(connection, seen) == []
    await articles.upsert(connection, [plain, replace(full, title="New")], noon)
    assert [stored.article.title for stored in await articles.changed_since(connection, seen)] == ["New"]
    assert await articles.withdraw(connection, plain.id, noon)
    withdrawn = (await articles.changed_since(connection, seen))[-1]
    assert (withdrawn.article, withdrawn.withdrawn) == (plain, True)


async def test_a_withdrawn_article_is_gone_until_it_is_published_again(
    connection: AsyncConnection, plain: Article, noon: datetime
) -> None:
    assert not await articles.withdraw(connection, plain.id, noon)
    await articles.upsert(connection, [plain], noon)
    assert await articles.withdraw(connection, plain.id, noon)
    assert not await articles.withdraw(connection, plain.id, noon)
    assert await articles.get(connection, plain.id) is None
    assert [stored.withdrawn for stored in await articles.all_articles(connection)] == [True]
    await articles.upsert(connection, [plain], noon)
    assert await articles.get(connection, plain.id) == plain


async def test_articles_are_found_by_a_piece_of_their_title(connection: AsyncConnection, noon: datetime) -> None:
    titles = {"a1": "Storm closes the Harbour", "a2": "Harbour reopens: 100 % open_again", "a3": "Storm over the Äußere Insel"}
    published = [Article(name, title, noon + timedelta(hours=hour)) for hour, (name, title) in enumerate(titles.items())]
    await articles.upsert(connection, published, noon)

    async def found(piece: str, limit: int = 10) -> list[str]:
        return [each.id for each in await articles.titled(connection, piece, limit)]

    assert await found("harb") == ["a2", "a1"]
    assert await found("STORM CLOSES") == ["a1"]
    assert await found("äuß") == ["a3"]
    assert await found("0 %") == await found("n_a") == await found("_") == ["a2"]
    assert await found("", limit=2) == ["a3", "a2"]
    assert await articles.withdraw(connection, "a3", noon)
    assert await found("storm") == ["a1"]


async def test_which_of_many_are_present(connection: AsyncConnection, plain: Article, full: Article, noon: datetime) -> None:
    await articles.upsert(connection, [plain, full, replace(plain, id="gone")], noon)
    await articles.withdraw(connection, "gone", noon)
    assert await articles.present(connection, {plain.id, full.id, "gone", "never"}) == {plain.id, full.id}


async def test_changes_are_read_page_by_page(connection: AsyncConnection, plain: Article, noon: datetime) -> None:
    await articles.upsert(connection, [replace(plain, id=f"a{i}") for i in range(5)], noon)
    first = await articles.changed_since(connection, 0, 3)
    rest = await articles.changed_since(connection, first[-1].revision, 3)
    assert [stored.article.id for stored in first + rest] == [f"a{i}" for i in range(5)]


async def test_whoever_follows_misses_no_change_of_concurrent_writers(
    engine: AsyncEngine, plain: Article, noon: datetime
) -> None:
    """Revisions become visible in their order, so `after the highest that I know` skips none."""

    async def write(i: int) -> None:
        async with writing(engine) as connection:
            await articles.upsert(connection, [replace(plain, id=f"a{i}-{j}") for j in range(3)], noon)
            await asyncio.sleep(0.005)

    seen: list[articles.StoredArticle] = []

    async def follow() -> None:
        while len(seen) < 60:
            async with reading(engine) as connection:
                seen.extend(await articles.changed_since(connection, seen[-1].revision if seen else 0))

    await asyncio.wait_for(asyncio.gather(follow(), *(write(i) for i in range(20))), 20)
    assert len({stored.article.id for stored in seen}) == 60


async def test_thousands_at_once(engine: AsyncEngine, full: Article, noon: datetime) -> None:
    batch = [replace(full, id=f"a{i}", embedding=tuple(float(j) for j in range(64))) for i in range(3_000)]
    async with writing(engine) as connection:
        assert await articles.upsert(connection, batch, noon) == 3_000
    async with reading(engine) as connection:
        assert [stored.article for stored in await articles.all_articles(connection)] == batch
