"""Public logs into the store: in bulk, once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.types import Article, Event
from jobs.importers import bulk
from jobs.importers.bulk import Loaded
from jobs.importers.log import LoggedImpression
from service.store import articles
from service.store.engine import reading

START = datetime(2024, 1, 1, tzinfo=UTC)


class InventedLog:
    """More clicks than one transaction takes, one of them twice, one on an article that is described nowhere."""

    def articles(self) -> list[Article]:
        return [Article(f"a{i}", f"Title {i}", START) for i in range(20)]

    def clicks(self) -> Iterator[Event]:
        for i in range(bulk.ROWS + 10):
            yield Event(f"c{i}", f"a{i % 20}", "click", START + timedelta(seconds=i), user_id=f"u{i % 7}")
        yield Event("c0", "a0", "click", START, user_id="u0")
        yield Event("stray", "nowhere", "click", START, user_id="u0")

    def impressions(self) -> Iterator[LoggedImpression]:
        yield from ()


async def test_articles_and_histories_are_brought_in_once(engine: AsyncEngine, history_of: Any) -> None:
    now = datetime(2024, 6, 1, tzinfo=UTC)
    assert await bulk.load(engine, InventedLog(), lambda: now) == Loaded(20, bulk.ROWS + 10, 1, 1)
    assert await bulk.load(engine, InventedLog(), lambda: now) == Loaded(20, 0, bulk.ROWS + 11, 1)
    async with reading(engine) as connection:
        assert len(await articles.all_articles(connection)) == 20
    history = await history_of("u3", 10_000)
    expected = [event for event in InventedLog().clicks() if event.user_id == "u3"]
    assert history.clicks == tuple((event.article_id, event.at) for event in expected)


async def test_imported_reading_is_what_a_ranker_knows_of_its_reader(site: Any) -> None:
    class OneClick(InventedLog):
        def clicks(self) -> Iterator[Event]:
            yield Event("before", "a1", "click", site.clock.now - timedelta(hours=2), user_id="newcomer")

    await bulk.load(site.engine, OneClick(), site.clock)
    reader = await site.node.follower.reader("newcomer")
    assert reader.click_rows.tolist() == [site.node.live.catalogue.row("a1")]


def test_the_command_imports_and_says_how_much(python: Callable[..., Any], tmp_path: Path) -> None:
    pl.DataFrame({"article_id": [1, 2], "title": ["One", "Two"]}).write_parquet(tmp_path / "articles.parquet")
    moment = datetime(2024, 1, 1)  # noqa: DTZ001 - the format's times have no zone
    behaviors = {
        "impression_id": [1],
        "impression_time": [moment + timedelta(days=1)],
        "user_id": [5],
        "device_type": [1],
        "article_ids_inview": [[1, 2]],
        "article_ids_clicked": [[2]],
    }
    pl.DataFrame(behaviors).write_parquet(tmp_path / "behaviors.parquet")
    history = {"user_id": [5], "impression_time_fixed": [[moment]], "article_id_fixed": [[1]]}
    pl.DataFrame(history).write_parquet(tmp_path / "history.parquet")
    output, _ = (command := python("-m", "jobs", "import", "ebnerd", str(tmp_path))).communicate(timeout=60)
    assert command.returncode == 0, output
    assert "2 articles, 1 clicks" in output
    output, _ = (command := python("-m", "jobs", "import", "mind", str(tmp_path))).communicate(timeout=60)
    assert command.returncode == 1
    assert "behaviors.tsv is not there" in output
