"""MIND's format, read from a few invented rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.errors import UnreadableLog
from jobs.importers import mind

BEHAVIORS = [
    "2\tU1\t11/12/2019 2:14:46 PM\tN1 N2\tN3-0 N4-1 N3-0",
    "1\tU2\t11/11/2019 9:00:00 AM\t\tN1-1 N4-0",
    "3\tU1\t11/12/2019 2:14:46 PM\tN1 N2\tN1-0 N4-0",
]
NEWS = [
    'N1\tsports\tgolf\tA "lone quote\tAbstract\t'
    'https://example.org/1\t[{"WikidataId": "Q1"}]\t[{"WikidataId": "Q2"}, {"WikidataId": "Q1"}]',
    "N2\tnews\t\tTitle\t\t\t\t",
    "N3\tnews\tworld\tTitle\t\t\t[]\tbroken [",
    "N4\tnews\tworld\tTitle\t\t\t[]\t[]",
    "N5\tnews\tworld\tNever seen\t\t\t[]\t[]",
]
START = datetime(2019, 11, 11, 9, tzinfo=UTC)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    (tmp_path / "behaviors.tsv").write_text("\n".join(BEHAVIORS) + "\n")
    (tmp_path / "news.tsv").write_text("\n".join(NEWS) + "\n")
    return tmp_path


def test_impressions_come_in_time_order(split: Path) -> None:
    rows = list(mind.open_split(split).impressions())
    assert [row.id for row in rows] == ["1", "2", "3"]
    assert rows[1].at == datetime(2019, 11, 12, 14, 14, 46, tzinfo=UTC)
    assert rows[1].in_view == ("N3", "N4")
    assert rows[1].clicked == ("N4",)
    assert rows[2].clicked == ()


def test_earlier_clicks_keep_their_order_and_end_before_the_log(split: Path) -> None:
    clicks = list(mind.open_split(split).clicks())
    assert [(click.user_id, click.article_id) for click in clicks] == [("U1", "N1"), ("U1", "N2")]
    assert [click.at for click in clicks] == [START - timedelta(hours=2), START - timedelta(hours=1)]
    assert len({click.event_id for click in clicks}) == 2


def test_articles_have_entities_and_the_time_of_their_first_sighting(split: Path) -> None:
    articles = {article.id: article for article in mind.open_split(split).articles()}
    assert articles["N1"].title == 'A "lone quote'
    assert articles["N1"].entities == ("Q1", "Q2")
    assert articles["N1"].topics == ("golf",)
    assert articles["N2"].topics == ()
    assert articles["N3"].entities == ()
    assert articles["N1"].published_at == START - timedelta(hours=2)
    assert articles["N4"].published_at == START
    assert articles["N5"].published_at == START


def test_an_absent_or_foreign_file_is_named(split: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match=r"behaviors\.tsv is not there"):
        mind.open_split(tmp_path / "elsewhere")
    (split / "news.tsv").write_text("one\ttwo\n")
    with pytest.raises(UnreadableLog, match="has 2 columns; MIND's has 8"):
        mind.open_split(split).articles()
    (split / "behaviors.tsv").write_text("1\tU1\tyesterday\t\tN1-0\n")
    with pytest.raises(UnreadableLog, match="has a time that is not"):
        list(mind.open_split(split).impressions())
