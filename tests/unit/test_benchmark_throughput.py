import re

import pytest
from typer.testing import CliRunner

from benchmarks.learning.__main__ import app
from benchmarks.learning.throughput import flops
from drn.catalogue import column_counts
from drn.config import Config
from drn.features import input_shape


def test_the_arithmetic_of_a_retrain_by_hand() -> None:
    """Layers 3, 2 of A and 5 of V; 2 lists with 7 slots in all, successors of 4 candidates."""
    config = Config(advantage_layers=(3, 2), value_layers=(5,))
    shape, columns = input_shape(config), sum(column_counts(config))
    first = 2 * (2 * shape.reader * 3) + 7 * (columns * 3 + 2 * shape.dense * 3)
    upper = 7 * (2 * 3 * 2 + 2 * 2) + 2 * (2 * 3 * 2)
    value_first, value_upper = 2 * (2 * shape.reader * 5), 2 * (2 * 5)
    learned = 2 * first + 3 * upper + 2 * value_first + 3 * value_upper
    look = 2 * (2 * shape.reader * 3) + 8 * (columns * 3 + 2 * shape.dense * 3) + 8 * (2 * 3 * 2 + 2 * 2) + 2 * (2 * 3 * 2)
    assert flops(config, 2, 7, 2, 4) == learned + 2 * look + value_first + value_upper


def test_the_command_prints_speed_and_profile() -> None:
    small = ["--set", "advantage_layers=[8]", "--set", "value_layers=[4]", "--set", "major_epochs=40"]
    result = CliRunner().invoke(app, ["throughput", "--lists", "120", "--batches", "16", *small])
    assert result.exit_code == 0, result.output
    assert re.match(r"batch 16 +[\d,]+ transitions/s +[\d.]+ GFLOP/s of [\d.]+ +[\d.]+% of the peak\n", result.stdout)
    shares = [float(share) for share in re.findall(r"^ +([\d.]+)%  \w", result.stdout, re.M)]
    assert sum(shares) == pytest.approx(100, abs=1)
