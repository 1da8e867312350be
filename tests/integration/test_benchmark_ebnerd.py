"""`python -m benchmarks.learning ebnerd` from files to table, on an invented newspaper of three days."""

import csv
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

START = datetime(2024, 1, 1)  # noqa: DTZ001 - the format's times have no zone
LISTS = 240
FIGURE = r"[01]\.\d{4}"
SMALL = ("advantage_layers=[16]", "value_layers=[8]", "embedding_size=0", "major_impressions=40", "major_period=21600")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A list every 18 minutes, of five articles on five subjects; readers click what is about subject 0."""
    rng = np.random.default_rng(4)
    in_view = [(rng.permutation(5) + 5 * rng.integers(8)).tolist() for _ in range(LISTS)]
    pl.DataFrame(
        {
            "impression_id": list(range(LISTS)),
            "impression_time": [START + i * timedelta(minutes=18) for i in range(LISTS)],
            "user_id": [i % 7 for i in range(LISTS)],
            "device_type": [1 + i % 3 for i in range(LISTS)],
            "article_ids_inview": in_view,
            "article_ids_clicked": [[article for article in shown if article % 5 == 0] for shown in in_view],
        }
    ).write_parquet(tmp_path / "behaviors.parquet")
    earlier = START - timedelta(days=2)
    pl.DataFrame(
        {"user_id": [1, 2], "impression_time_fixed": [[earlier], [earlier]], "article_id_fixed": [[0], [5]]}
    ).write_parquet(tmp_path / "history.parquet")
    articles = {"article_id": list(range(40)), "title": [f"Story {i}" for i in range(40)], "category": [i % 5 for i in range(40)]}
    pl.DataFrame(articles).write_parquet(tmp_path / "articles.parquet")
    return tmp_path


def run(database_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.learning", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_table_from_files_to_figures(split: Path, database_url: str) -> None:
    table, picture = split / "table.csv", split / "days.svg"
    methods = "random,popularity,linucb,ftrl,vw,lambdamart,drn-paper-features"
    settings = [word for name in SMALL for word in ("--set", name)]
    files = ["--csv", str(table), "--picture", str(picture)]
    done = run(database_url, "ebnerd", "--split", str(split), "--methods", methods, *settings, *files)
    assert done.returncode == 0, done.stderr
    row = rf"^(\S+) +AUC ({FIGURE})  MRR {FIGURE}  nDCG@5 {FIGURE}  nDCG@10 {FIGURE}  n (\d+)"
    found = {name: (float(auc), int(n)) for name, auc, n in re.findall(row, done.stdout, re.M)}
    assert list(found) == ["drn", *methods.split(",")]
    assert {n for _, n in found.values()} == {LISTS - 80}  # 80 lists a day, and the first day is not counted
    assert found["drn"][0] > 0.9
    assert found["lambdamart"][0] > 0.9
    assert abs(found["random"][0] - 0.5) < 0.1
    with table.open() as lines:
        days = [line["days"] for line in csv.DictReader(lines) if line["method"] == "drn"]
    assert days == ["2-3", "1", "2", "3"]
    assert picture.read_text().startswith("<svg")
    markdown = run(database_url, "table", "--csv", str(table)).stdout
    assert f"| **`drn`** | **{found['drn'][0]:.4f}** |" in markdown


def test_a_malformed_file_is_said_and_fails(split: Path, database_url: str) -> None:
    (split / "behaviors.parquet").write_text("not a table")
    done = run(database_url, "ebnerd", "--split", str(split))
    assert done.returncode == 2
    assert "behaviors.parquet is not a readable Parquet file" in done.stderr
