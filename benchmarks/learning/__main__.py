"""`python -m benchmarks.learning`: each benchmark is one command, and takes its data as an argument.

Commands import what they need when they run: torch alone takes seconds.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
METHODS = "dbgd,pdgd,pdgd-linear,random,es,drn"


@app.callback()
def benchmarks() -> None:
    """How well the product learns, beside published learners."""


@app.command()
def oltr(
    data: Annotated[Path, typer.Option(help="Folder of SVMlight/LETOR files: S1.txt … S5.txt, or Fold1/train.txt and test.txt.")],
    folds: Annotated[str, typer.Option(help="Such as 1-5 or 1,3; all that the data has unless given.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Runs per fold, with other chance.")] = 1,
    impressions: Annotated[int, typer.Option(min=1, help="Lists shown per run.")] = 10_000,
    methods: Annotated[str, typer.Option(help="Rows to measure.")] = METHODS,
    every: Annotated[int, typer.Option(min=1, help="Impressions per minor update of the product's rows.")] = 8,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="name=value, a hyper-parameter of the product's rows.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = os.cpu_count() or 1,
    csv: Annotated[Path | None, typer.Option(help="Write every learning curve here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the mean learning curves here, as SVG.")] = None,
) -> None:
    """Online learning to rank: simulated readers on judged queries; held-out nDCG@10 after learning."""
    from benchmarks.learning.oltr.command import benchmark
    from benchmarks.learning.oltr.letor import DataError
    from benchmarks.learning.oltr.methods import METHODS as KNOWN
    from benchmarks.learning.oltr.methods import Options, changes
    from drn.config import Config
    from drn.errors import DrnError

    names = tuple(name.strip() for name in methods.split(","))
    if unknown := [name for name in names if name not in KNOWN]:
        raise typer.BadParameter(f"no method {unknown[0]!r}; there are {', '.join(KNOWN)}")
    try:
        changed = changes(setting or [])
        Config.profile("default", **changed)
        benchmark(Options(data, numbers(folds), names, repeats, impressions, every, changed), workers, csv, picture)
    except (DataError, DrnError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def newsroom(
    seeds: Annotated[int, typer.Option(min=1, help="Worlds, each with its own articles and readers.")] = 10,
    days: Annotated[int, typer.Option(min=1, help="Simulated days of each world.")] = 30,
    readers: Annotated[int, typer.Option(min=1, help="Readers of each world.")] = 60,
    methods: Annotated[str, typer.Option(help="Rows to measure.")] = "all",
    signal: Annotated[
        str, typer.Option(help="taste; or a control: popularity (all like the same), none (nothing to learn).")
    ] = "taste",
    shift_day: Annotated[
        int | None, typer.Option(min=0, help="All tastes change at once on this day; half way unless given, 0 for never.")
    ] = None,
    minor: Annotated[float, typer.Option(min=1.0, help="T_D in simulated minutes, of every method.")] = 30.0,
    major: Annotated[float, typer.Option(min=0.1, help="T_R in simulated hours, of every method.")] = 24.0,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="name=value, a hyper-parameter of the row drn.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = os.cpu_count() or 1,
    csv: Annotated[Path | None, typer.Option(help="Write every run here; whole runs that it holds are not run again.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw CTR by day here, as SVG.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """The online table of DRN's paper in a simulated newsroom: the product, the paper's variants, and peers."""
    from benchmarks.learning.newsroom.command import benchmark
    from benchmarks.learning.newsroom.methods import ROWS, Options
    from benchmarks.learning.oltr.methods import changes
    from drn.errors import DrnError

    names = tuple(ROWS) if methods == "all" else tuple(name.strip() for name in methods.split(","))
    if unknown := [name for name in names if name not in ROWS]:
        raise typer.BadParameter(f"no method {unknown[0]!r}; there are {', '.join(ROWS)}")
    shift = days // 2 if shift_day is None else shift_day
    try:
        options = Options(
            methods=names,
            seeds=tuple(range(first_seed, first_seed + seeds)),
            days=days,
            readers=readers,
            signal=signal,  # type: ignore[arg-type]  # the scenario refuses others
            shift_day=shift if 0 < shift < days and signal == "taste" else None,
            minor_minutes=minor,
            major_hours=major,
            changes=changes(setting or []),
        )
        benchmark(options, workers, csv, picture, markdown)
    except (DrnError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def ebnerd(
    split: Annotated[Path, typer.Option(help="Folder with behaviors.parquet and history.parquet, or the one above `train`.")],
    articles: Annotated[
        Path | None, typer.Option(help="articles.parquet, if it lies neither beside the split nor above it.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Rows to measure, in order; the product's default, drn, is always the first.")
    ] = "all",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many lists of the log.")] = None,
    days: Annotated[float | None, typer.Option(min=0.0, help="Only so many days of the log.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="name=value, a hyper-parameter of all of the product's rows.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chance of the product and of the peers.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write every row here, for all days and for each.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw AUC by day here, as SVG.")] = None,
) -> None:
    """A real newspaper's log, every list ranked before it is learned from: the product as served, its ablations, peers."""
    from benchmarks.learning.ebnerd.command import Options, benchmark
    from benchmarks.learning.ebnerd.methods import METHODS as KNOWN
    from benchmarks.learning.oltr.methods import changes
    from drn.errors import DrnError
    from jobs.errors import JobError
    from service import logs
    from service.store.embedded import EmbeddedError
    from service.store.errors import StoreError

    names = KNOWN if methods == "all" else tuple(name.strip() for name in methods.split(","))
    if unknown := [name for name in names if name not in KNOWN]:
        raise typer.BadParameter(f"no method {unknown[0]!r}; there are {', '.join(KNOWN)}")
    logs.configure("WARNING")  # the versions of seven replays are nobody's concern here
    try:
        benchmark(Options(split, articles, names, limit, days, seed, changes(setting or [])), csv, picture)
    except (DrnError, JobError, StoreError, EmbeddedError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def statistics() -> None:
    """What the verdicts find, after how much, and how often in vain: the table of docs/statistics.md, by simulation."""
    from benchmarks.learning.watching.table import markdown

    typer.echo(markdown(), nl=False)


@app.command()
def table(csv: Annotated[Path, typer.Option(help="What `ebnerd` wrote.")]) -> None:
    """The rows of a CSV file of `ebnerd` as Markdown, for docs/."""
    from benchmarks.learning.ebnerd.table import markdown, read
    from jobs.errors import UnreadableLog

    try:
        typer.echo(markdown(read(csv)), nl=False)
    except UnreadableLog as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


@app.command()
def throughput(
    lists: Annotated[int, typer.Option(min=100, help="Lists in replay.")] = 2_000,
    candidates: Annotated[int, typer.Option(min=10, max=400, help="Articles per list, of which ten are shown.")] = 20,
    batches: Annotated[str, typer.Option(help="Lists per gradient step, such as 32,128.")] = "32,128,512",
    setting: Annotated[list[str] | None, typer.Option("--set", help="name=value, a hyper-parameter.")] = None,
) -> None:
    """A major retrain: transitions per second, its share of the float32 peak, and where the time goes."""
    from benchmarks.learning.oltr.methods import changes
    from benchmarks.learning.throughput import benchmark
    from drn.config import Config
    from drn.errors import DrnError

    try:
        benchmark(Config.profile("default", **changes(setting or [])), lists, candidates, numbers(batches) or ())
    except (DrnError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def numbers(ranges: str) -> tuple[int, ...] | None:
    """`1-3,5` → (1, 2, 3, 5); nothing → None."""
    found: list[int] = []
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found) or None


if __name__ == "__main__":
    app()
