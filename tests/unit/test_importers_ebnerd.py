"""EB-NeRD's format, read from a split of a few invented rows."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs.errors import UnreadableLog
from jobs.importers import ebnerd


def moment(day: int, hour: int = 12) -> datetime:
    return datetime(2024, 1, day, hour)  # noqa: DTZ001 - the format's times have no zone


@pytest.fixture
def split(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    folder.mkdir()
    pl.DataFrame(
        {
            "impression_id": [11, 10, 12],
            "article_id": [None, 101, None],
            "impression_time": [moment(10), moment(10), moment(9)],
            "user_id": [1, 1, 2],
            "device_type": [2, None, 1],
            "article_ids_inview": [[101, 102, 101, 103], [103, 102], [101, 102]],
            "article_ids_clicked": [[102, 102], [103], [999]],
        }
    ).write_parquet(folder / "behaviors.parquet")
    pl.DataFrame(
        {
            "user_id": [1, 2],
            "impression_time_fixed": [[moment(2), moment(3)], [moment(1)]],
            "article_id_fixed": [[101, 104], [101]],
        }
    ).write_parquet(folder / "history.parquet")
    pl.DataFrame(
        {
            "article_id": [101, 102, 103, 105],
            "title": ["Bridge opens", None, "Rain", "Never seen"],
            "abstract": ["A bridge.", "", None, ""],
            "category": [7, None, 8, 8],
            "subcategory": [[70, 71], [], None, [80]],
        }
    ).write_parquet(tmp_path / "articles.parquet")
    return tmp_path


def test_impressions_come_in_time_order_without_duplicates(split: Path) -> None:
    rows = list(ebnerd.open_split(split).impressions())
    assert [row.id for row in rows] == ["12", "10", "11"]
    assert rows[2].in_view == ("101", "102", "103")
    assert rows[2].clicked == ("102",)
    assert [row.device for row in rows] == ["desktop", "", "mobile"]
    assert rows[0].at == datetime(2024, 1, 9, 12, tzinfo=UTC)
    assert [(row.surface, row.page) for row in rows] == [("front page", None), ("article", "101"), ("front page", None)]


def test_a_release_without_pages_is_all_front_page(split: Path) -> None:
    file = split / "train/behaviors.parquet"
    pl.read_parquet(file).drop("article_id").write_parquet(file)
    assert {(row.surface, row.page) for row in ebnerd.open_split(split).impressions()} == {("front page", None)}


def test_the_folder_may_be_the_split_itself(split: Path) -> None:
    assert ebnerd.open_split(split / "train") == ebnerd.open_split(split)


def test_clicks_are_organic_oldest_first_and_named_alike_each_time(split: Path) -> None:
    log = ebnerd.open_split(split)
    clicks = list(log.clicks())
    assert [(click.user_id, click.article_id) for click in clicks] == [("2", "101"), ("1", "101"), ("1", "104")]
    assert all(click.request_id is None and click.type == "click" for click in clicks)
    assert clicks == list(ebnerd.open_split(split).clicks())
    assert len({click.event_id for click in clicks}) == 3


def test_an_article_counts_as_published_when_the_log_first_sees_it(split: Path) -> None:
    articles = {article.id: article for article in ebnerd.open_split(split).articles()}
    assert articles["101"].published_at == datetime(2024, 1, 1, 12, tzinfo=UTC)  # a reader's history
    assert articles["103"].published_at == datetime(2024, 1, 10, 12, tzinfo=UTC)  # a list
    assert articles["105"].published_at == datetime(2024, 1, 1, 12, tzinfo=UTC)  # never: the log's first moment
    assert articles["101"].category == "7"
    assert articles["101"].topics == ("70", "71")
    assert (articles["102"].title, articles["102"].category, articles["102"].topics) == ("", None, ())


def test_a_publication_time_is_used_unless_it_is_later_than_a_sighting(split: Path) -> None:
    frame = pl.read_parquet(split / "articles.parquet")
    early, late = datetime(2023, 12, 30), moment(25)  # noqa: DTZ001 - the format's times have no zone
    frame.with_columns(pl.Series("published_time", [early, late, None, None])).write_parquet(split / "articles.parquet")
    articles = {article.id: article for article in ebnerd.open_split(split).articles()}
    assert articles["101"].published_at == early.replace(tzinfo=UTC)
    assert articles["102"].published_at == datetime(2024, 1, 9, 12, tzinfo=UTC)


def test_a_split_without_history_has_no_earlier_clicks(split: Path) -> None:
    (split / "train" / "history.parquet").unlink()
    assert list(ebnerd.open_split(split).clicks()) == []


def test_an_absent_or_foreign_file_is_named(split: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match=r"behaviors\.parquet is not there"):
        ebnerd.open_split(tmp_path / "elsewhere")
    with pytest.raises(UnreadableLog, match=r"articles\.parquet is not there"):
        ebnerd.open_split(split, tmp_path / "none.parquet")
    (split / "articles.parquet").write_bytes(b"not parquet")
    with pytest.raises(UnreadableLog, match="not a readable Parquet file"):
        ebnerd.open_split(split).articles()
    pl.DataFrame({"article_id": [1]}).write_parquet(split / "articles.parquet")
    with pytest.raises(UnreadableLog, match="lacks the columns title"):
        ebnerd.open_split(split).articles()
