import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.learning.__main__ import app, numbers
from benchmarks.learning.chart import chart, ticks
from benchmarks.learning.oltr.methods import Result, Task, changes
from benchmarks.learning.oltr.simulation import Curve
from benchmarks.learning.oltr.table import interval, record

CLI = CliRunner()


def test_the_interval_leaves_out_how_hard_a_fold_is():
    """Two folds a full point apart, ±.01 within each: s² = 4 · .0001 / 2, half = t(2) · s / √4."""
    mean, half = interval([(1, 0.19), (1, 0.21), (2, 1.19), (2, 1.21)])
    assert mean == pytest.approx(0.7)
    assert half == pytest.approx(4.303 * np.sqrt(4e-4 / 2 / 4))


def test_one_repeat_has_no_interval():
    assert np.isnan(interval([(1, 0.2), (2, 0.4)])[1])


@pytest.mark.parametrize(("ranges", "expected"), [("1-3,5", (1, 2, 3, 5)), ("2", (2,)), ("", None)])
def test_ranges_of_folds(ranges, expected):
    assert numbers(ranges) == expected


def test_settings_are_read_as_json_or_words():
    assert changes(["tau=2.5", "direction=es", "advantage_layers=[64]"]) == {
        "tau": 2.5,
        "direction": "es",
        "advantage_layers": (64,),
    }
    with pytest.raises(ValueError, match="name=value"):
        changes(["tau"])


def test_ticks_are_round_and_within_the_range():
    assert ticks((0.45, 0.71)) == pytest.approx([0.45, 0.5, 0.55, 0.6, 0.65, 0.7])
    assert all(3 <= len(ticks((0, high))) <= 9 for high in (0.003, 1, 7, 990, 10_000))


def test_a_chart_is_xml_with_a_line_per_method_and_panel():
    lines = {"a<b": [(0, 0.1), (10, 0.2)], "c": [(0, 0.3), (10, 0.3)]}
    root = ET.fromstring(chart("title", "x", "y", {"left": lines, "right": lines}))
    assert len(root.findall(".//{*}polyline")) == 4
    assert "a<b" in [one.text for one in root.findall(".//{*}text")]


def test_finished_runs_are_in_the_file_while_others_go_on(tmp_path):
    one = Result(Task("drn", "perfect", 2, 0), Curve((0, 10), (0.25, 0.5)))
    with record(tmp_path / "runs.csv") as add:
        add(one)
        lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[1:] == ["drn,perfect,2,0,0,0.250000", "drn,perfect,2,0,10,0.500000"]


@pytest.fixture
def data(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("S1", "S2", "S3"):
        lines = [
            f"{rng.integers(3)} qid:{qid} " + " ".join(f"{i}:{rng.random():.3f}" for i in range(1, 4))
            for qid in range(4)
            for _ in range(12)
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    return tmp_path


def test_the_command_prints_a_row_per_method_and_writes_its_files(data):
    csv_file, picture = data / "out.csv", data / "out.svg"
    arguments = ["oltr", "--data", str(data), "--folds", "1-2", "--impressions", "20", "--repeats", "2", "--workers", "1"]
    result = CLI.invoke(app, [*arguments, "--methods", "pdgd,drn", "--csv", str(csv_file), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    figure = r"0\.\d{4}"
    rows = re.findall(rf"^(\S+) +perfect {figure}  navigational {figure}  informational {figure}  n 4  ± ", result.stdout, re.M)
    assert rows == ["pdgd", "drn"]
    with csv_file.open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == 2 * 3 * 2 * 2 * 21
    assert {point["method"] for point in points} == {"pdgd", "drn"}
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere-at-all"], "is not a folder"),
        (["--data", ".", "--set", "taus=1"], "no such hyper-parameter: taus"),
        (["--data", ".", "--folds", "x"], "invalid literal"),
        (["--data", ".", "--methods", "magic"], "no method 'magic'"),
        (["--data", ".", "--csv", "nowhere-at-all/out.csv"], "no folder nowhere-at-all"),
    ],
)
def test_what_cannot_be_done_is_said_and_fails(arguments, message):
    result = CLI.invoke(app, ["oltr", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
