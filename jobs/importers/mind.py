"""MIND (Wu et al., ACL 2020): `behaviors.tsv` and `news.tsv`. Format: https://github.com/msnews/msnews.github.io/blob/master/assets/doc/introduction.md.

MIND tells in which order a reader clicked before the log begins, but not when, and never when an article appeared.
So the earlier clicks are laid one hour apart, the last an hour before the log, and an article counts as published
when the log first sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import orjson
import polars as pl

from drn.types import Article, Event
from jobs.errors import UnreadableLog
from jobs.importers.log import LoggedImpression, find_above, require

BEHAVIOR_COLUMNS = ("number", "user_id", "time", "history", "list")
NEWS_COLUMNS = ("id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities")
CLICK_SPACING = timedelta(hours=1)


@dataclass(frozen=True)
class Mind:
    """One split of MIND: a `Log`."""

    behaviors_file: Path
    news_file: Path

    def articles(self) -> list[Article]:
        sightings, start = self._first_sightings, self._start
        return [article(row, sightings.get(row["id"], start)) for row in read(self.news_file, NEWS_COLUMNS).iter_rows(named=True)]

    def clicks(self) -> Iterator[Event]:
        for age in range(self._longest_history, 0, -1):
            at = self._start - age * CLICK_SPACING
            for user, history in self._histories.items():
                if age <= len(history):
                    article_id = history[-age]
                    yield Event(f"mind:{user}:{len(history) - age}:{article_id}", article_id, "click", at, user_id=user)

    def impressions(self) -> Iterator[LoggedImpression]:
        for number, user, at, _, entries in self._behaviors.iter_rows():
            shown = [entry.rpartition("-") for entry in (entries or "").split()]
            in_view = tuple(dict.fromkeys(article_id for article_id, _, _ in shown))
            clicked = tuple(dict.fromkeys(article_id for article_id, _, label in shown if label == "1"))
            yield LoggedImpression(str(number), at.replace(tzinfo=UTC), user, "", in_view, clicked)

    @cached_property
    def _behaviors(self) -> pl.DataFrame:
        frame = read(self.behaviors_file, BEHAVIOR_COLUMNS)
        try:
            frame = frame.with_columns(pl.col("time").str.to_datetime("%m/%d/%Y %I:%M:%S %p"))
        except pl.exceptions.PolarsError as error:
            raise UnreadableLog(
                f"{self.behaviors_file} has a time that is not month/day/year hour:minute:second AM|PM"
            ) from error
        return frame.sort("time", "number", maintain_order=True)

    @cached_property
    def _start(self) -> datetime:
        first: datetime = self._behaviors["time"][0]
        return first.replace(tzinfo=UTC)

    @cached_property
    def _histories(self) -> dict[str, tuple[str, ...]]:
        """Each reader's clicks before the log, oldest first, from the first row: they never change within a split."""
        first = self._behaviors.unique("user_id", keep="first", maintain_order=True)
        return {user: tuple((history or "").split()) for user, history in first.select("user_id", "history").iter_rows()}

    @property
    def _longest_history(self) -> int:
        return max(map(len, self._histories.values()), default=0)

    @cached_property
    def _first_sightings(self) -> dict[str, datetime]:
        seen: dict[str, datetime] = {}
        for event in self.clicks():
            seen.setdefault(event.article_id, event.at)
        for impression in self.impressions():
            for article_id in impression.in_view:
                seen.setdefault(article_id, impression.at)
        return seen


def open_split(path: Path, articles: Path | None = None) -> Mind:
    """The split in the folder `path`; `articles` is its news.tsv where that lies elsewhere.

    Raises:
        UnreadableLog: behaviors.tsv or news.tsv is absent.
    """
    return Mind(
        require(path / "behaviors.tsv", "MIND's behaviors.tsv"),
        require(articles or find_above(path, "news.tsv"), "MIND's news.tsv"),
    )


def read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """MIND's TSV: no header, no quoting (a title may hold a lone quotation mark)."""
    try:
        frame = pl.read_csv(file, separator="\t", has_header=False, quote_char=None, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnreadableLog(f"{file} is not readable as tab-separated text: {error}") from error
    if frame.width < len(columns):
        raise UnreadableLog(f"{file} has {frame.width} columns; MIND's has {len(columns)}: {', '.join(columns)}")
    return frame.select(frame.columns[: len(columns)]).rename(dict(zip(frame.columns, columns, strict=False)))


def article(row: dict[str, str | None], first_sighting: datetime) -> Article:
    return Article(
        id=row["id"] or "",
        title=row["title"] or "",
        published_at=first_sighting,
        abstract=row["abstract"] or "",
        category=row["category"],
        topics=(row["subcategory"],) if row["subcategory"] else (),
        entities=tuple(dict.fromkeys(entities(row["title_entities"]) + entities(row["abstract_entities"]))),
        url=row["url"],
    )


def entities(cell: str | None) -> list[str]:
    """The Wikidata ids in one cell; cells that are empty or cut off name none."""
    try:
        return [found["WikidataId"] for found in orjson.loads(cell or "[]")]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
