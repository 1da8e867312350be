"""EB-NeRD (Ekstra Bladet, RecSys Challenge 2024): behaviors.parquet, history.parquet and articles.parquet.

The articles lie beside the split or above it. Columns that only some releases have (`published_time`, `subtitle`,
`topics`, `ner_clusters`, `category_str`) are used where they exist. Format: https://recsys.eb.dk/dataset/.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from drn.types import Article, Event
from jobs.errors import UnreadableLog
from jobs.importers.log import LoggedImpression, find_above, require

DEVICES = {1: "desktop", 2: "mobile", 3: "tablet"}
ROWS_AT_ONCE = 20_000  # a slice of a large split that fits easily into memory as Python values
BEHAVIOR_COLUMNS = (
    "impression_id",
    "impression_time",
    "user_id",
    "device_type",
    "article_ids_inview",
    "article_ids_clicked",
)
PAGE = "article_id"  # the article on whose page a list stood; null on the front page


@dataclass(frozen=True)
class Ebnerd:
    """One split of EB-NeRD: a `Log`."""

    behaviors_file: Path
    history_file: Path
    articles_file: Path

    def articles(self) -> list[Article]:
        frame = read(self.articles_file, ("article_id", "title"))
        sightings = self._first_sightings
        fallback = min(sightings.values(), default=datetime(1970, 1, 1, tzinfo=UTC))
        return [article(row, sightings.get(str(row["article_id"]), fallback)) for row in frame.iter_rows(named=True)]

    def clicks(self) -> Iterator[Event]:
        if not self.history_file.is_file():
            return
        frame = self._history.sort("impression_time_fixed", "user_id", "article_id_fixed", maintain_order=True)
        for user, at, article_id in frame.iter_rows():
            moment = aware(at)
            event_id = f"ebnerd:{user}:{int(moment.timestamp())}:{article_id}"
            yield Event(event_id, str(article_id), "click", moment, user_id=str(user))

    def impressions(self) -> Iterator[LoggedImpression]:
        frame = read(self.behaviors_file, BEHAVIOR_COLUMNS).sort("impression_time", "impression_id")
        page = pl.col(PAGE) if PAGE in frame.columns else pl.lit(None).alias(PAGE)
        for part in frame.select(*BEHAVIOR_COLUMNS, page).iter_slices(ROWS_AT_ONCE):
            for number, at, user, device, in_view, clicked, reading in part.iter_rows():
                yield LoggedImpression(
                    id=str(number),
                    at=aware(at),
                    user_id=str(user),
                    device=DEVICES.get(device, ""),
                    in_view=ids(in_view),
                    clicked=ids(clicked),
                    surface="front page" if reading is None else "article",
                    page=None if reading is None else str(reading),
                )

    @cached_property
    def _history(self) -> pl.DataFrame:
        columns = ("user_id", "impression_time_fixed", "article_id_fixed")
        return read(self.history_file, columns).select(columns).explode("impression_time_fixed", "article_id_fixed").drop_nulls()

    @cached_property
    def _first_sightings(self) -> dict[str, datetime]:
        """When each article was first shown or clicked: an upper bound of its publication that was known at that moment."""
        behaviors = read(self.behaviors_file, BEHAVIOR_COLUMNS)
        seen = [
            behaviors.select(pl.col("article_ids_inview").alias("article"), pl.col("impression_time").alias("at")).explode(
                "article"
            )
        ]
        if self.history_file.is_file():
            seen.append(
                self._history.select(pl.col("article_id_fixed").alias("article"), pl.col("impression_time_fixed").alias("at"))
            )
        first = pl.concat(seen, how="vertical_relaxed").drop_nulls().group_by("article").agg(pl.col("at").min())
        return {str(article_id): aware(at) for article_id, at in first.iter_rows()}


def open_split(path: Path, articles: Path | None = None) -> Ebnerd:
    """The split in the folder `path`, or in its `train` folder.

    Raises:
        UnreadableLog: behaviors.parquet or articles.parquet is absent.
    """
    split = path if (path / "behaviors.parquet").is_file() else path / "train"
    return Ebnerd(
        require(split / "behaviors.parquet", "EB-NeRD's behaviors.parquet"),
        split / "history.parquet",
        require(articles or find_above(split, "articles.parquet"), "EB-NeRD's articles.parquet"),
    )


def read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnreadableLog(f"{file} is not a readable Parquet file: {error}") from error
    if missing := set(columns) - set(frame.columns):
        raise UnreadableLog(f"{file} lacks the columns {', '.join(sorted(missing))}")
    return frame


def article(row: dict[str, Any], first_sighting: datetime) -> Article:
    """One row of articles.parquet. A publication time that is later than the first sighting is an edit's, and is not used."""
    published = row.get("published_time")
    category = row.get("category_str") or row.get("category")
    return Article(
        id=str(row["article_id"]),
        title=row["title"] or "",
        published_at=min(aware(published), first_sighting) if published else first_sighting,
        abstract=row.get("abstract") or row.get("subtitle") or "",
        category=None if category is None else str(category),
        topics=ids([*(row.get("subcategory") or ()), *(row.get("topics") or ())]),
        entities=ids(row.get("ner_clusters")),
        url=row.get("url"),
    )


def ids(values: list[Any] | None) -> tuple[str, ...]:
    """As text, in order, none twice."""
    return tuple(dict.fromkeys(str(value) for value in values or () if value is not None))


def aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
