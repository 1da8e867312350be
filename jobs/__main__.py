"""`python -m jobs`: the learner process and the operator's commands.

Commands import what they need when they run: torch alone takes seconds, and most commands do without it.
"""

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from drn.errors import DrnError
from jobs.database import open_store, utc_now
from jobs.errors import JobError, UnreadableLog
from jobs.importers.log import Log
from jobs.runner import Done, Job, Published, Skipped
from service import logs
from service.keys import Scope, new_key
from service.settings import Settings
from service.store import keys, migrate
from service.store.embedded import EmbeddedError
from service.store.engine import reading, writing
from service.store.errors import StoreError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Learn, import, replay and operate drn."
)
keys_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(keys_app, name="keys")
console = Console(highlight=False, soft_wrap=True)


def run_job(job: Job, *, extends: bool = False, niceness: int | None = None) -> None:
    """Runs a job once and tells its outcome.

    Args:
        extends: it goes on from the newest version, whose hyper-parameters hold unless the operator sets others
        niceness: of this process while it does; None: as it is
    """
    from jobs import line, runner
    from jobs.priority import step_aside

    async def work() -> None:
        settings = Settings()
        async with open_store(settings) as engine:
            if niceness is not None:
                step_aside(niceness)
            config = await line.configuration(engine, settings) if extends else settings.config()
            outcome = await runner.run(engine, job, config, utc_now)
        match outcome:
            case Published():
                reason = outcome.detail.get("reason")
                console.print(f"published version {outcome.version_id}" + (f": {reason}" if reason else ""))
            case Skipped():
                console.print(f"skipped: {outcome.reason}")
            case Done():
                console.print(", ".join(f"{name} {value}" for name, value in outcome.detail.items()))

    asyncio.run(work())


@app.command()
def schedule() -> None:
    """Be a learner: minor and major updates at their periods, until SIGTERM. Any number may run; one learns."""
    from jobs import scheduler
    from jobs.priority import step_aside
    from jobs.settings import LearnerSettings

    async def work() -> None:
        settings, own = Settings(), LearnerSettings()
        logs.configure(settings.log_level)
        async with open_store(settings, settings.start_timeout) as engine:
            step_aside(own.niceness)  # not before: a PostgreSQL that is started here is no learner
            learner = scheduler.Learner(engine, settings.config(), own, utc_now)
            await scheduler.serve(learner)

    asyncio.run(work())


@app.command("minor-update")
def minor_update() -> None:
    """Settle the duel on what readers did, and learn from it, now."""
    from jobs.minor_update import MINOR

    run_job(MINOR, extends=True)


@app.command("major-retrain")
def major_retrain() -> None:
    """Retrain over replay, now."""
    from jobs.major_retrain import major_retrain as job
    from jobs.progress import steps
    from jobs.settings import LearnerSettings

    with steps("training") as advance:
        run_job(job(advance), extends=True, niceness=LearnerSettings().niceness)


@app.command()
def rollback(to: Annotated[int, typer.Option("--to", min=1, help="The version whose current network is served again.")]) -> None:
    """Serve an older version's network again, as a new version."""
    from jobs.rollback import rollback_to

    run_job(rollback_to(to), extends=True)


@app.command()
def guard() -> None:
    """Roll back a current network that has lost to the hold-back's reference, now; tell of a duel that is not fair."""
    from jobs.guard import GUARD

    run_job(GUARD, extends=True)


@app.command("migrate")
def migrate_command(
    new_line: Annotated[
        bool, typer.Option("--new-line", help="Go on with an untrained version of the configured features and layers.")
    ] = False,
) -> None:
    """Bring the database to this release's schema, and begin the line of versions."""
    from jobs.upkeep import FIRST_VERSION, NEW_LINE

    settings = Settings()
    if settings.database_url:
        migrate.upgrade(settings.database_url)
    run_job(NEW_LINE if new_line else FIRST_VERSION)


@app.command("import")
def import_log(
    format_name: Annotated[str, typer.Argument(metavar="ebnerd|mind", help="The log's format.")],
    path: Annotated[Path, typer.Argument(help="The folder of the split.")],
    articles: Annotated[Path | None, typer.Option(help="The file of articles, if it lies elsewhere.")] = None,
) -> None:
    """Bring a public log's articles and earlier clicks into the store. Doing it again changes nothing."""
    from jobs.importers import bulk

    async def work() -> None:
        log = open_log(format_name, path, articles)
        async with open_store(Settings()) as engine:
            done = await bulk.load(engine, log, utc_now)
        console.print(
            f"{done.articles} articles, {done.clicks} clicks ({done.known} known before, {done.unknown} of unknown articles)"
        )

    asyncio.run(work())


@app.command()
def replay(
    format_name: Annotated[str, typer.Argument(metavar="ebnerd|mind", help="The log's format.")],
    path: Annotated[Path, typer.Argument(help="The folder of the split.")],
    articles: Annotated[Path | None, typer.Option(help="The file of articles, if it lies elsewhere.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many impressions.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Only so many hours of the log.")] = None,
) -> None:
    """Put a log through the path of live traffic, on the log's clock, in a database of its own: score, then learn."""
    from jobs import replay as replaying

    async def work() -> None:
        settings = Settings()
        log = open_log(format_name, path, articles)
        async with open_store(settings) as engine:
            replayed = await replaying.replay(settings, engine.url.render_as_string(hide_password=False), log, limit, hours)
        for name, quality in replayed.scores.rows():
            console.print(
                f"{name:24s}AUC {quality.auc:.4f}  MRR {quality.mrr:.4f}  "
                f"nDCG@5 {quality.ndcg5:.4f}  nDCG@10 {quality.ndcg10:.4f}  n {quality.lists}"
            )
        console.print(
            f"{replayed.impressions} lists, {replayed.versions} versions; "
            f"{replayed.impressions / replayed.serving_seconds:.0f} lists/s served in {replayed.serving_seconds:.0f} s, "
            f"{replayed.learning_seconds:.0f} s of learning"
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:  # as the API runs
        loop.run(work())


def open_log(format_name: str, path: Path, articles: Path | None) -> Log:
    """
    Raises:
        UnreadableLog: there is no such format, or a file of the log is absent.
    """
    if format_name not in ("ebnerd", "mind"):
        raise UnreadableLog(f"there is no format {format_name!r}; there are ebnerd and mind")
    try:
        reader = import_module(f"jobs.importers.{format_name}")
    except ModuleNotFoundError as error:
        raise UnreadableLog(f"reading logs needs {error.name}: .venv/bin/pip install -e '.[import]'") from error
    log: Log = reader.open_split(path, articles)
    return log


@app.command()
def demo() -> None:
    """Everything at once: PostgreSQL, the API, the learner and simulated readers, until Ctrl-C. READERS=off leaves those out."""
    from jobs import demo as supervisor

    settings = Settings()
    if "profile" not in settings.model_fields_set:
        settings = settings.model_copy(update={"profile": "demo"})
    raise typer.Exit(supervisor.run(settings, readers=os.environ.get("READERS", "on").lower() not in ("off", "0", "no", "false")))


@app.command()
def readers(
    url: Annotated[str, typer.Argument(help="Address of the API.")] = "http://localhost:8000",
    api_key: Annotated[
        str | None, typer.Option(envvar="DRN_API_KEY", help="An API key that may rank, report and publish.")
    ] = None,
) -> None:
    """Be the simulated newsroom: publish articles, ask for lists, click or not, in real time."""
    from jobs.readers import play_until_asked_to_end

    logs.configure(Settings().log_level)
    asyncio.run(play_until_asked_to_end(url, api_key))


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scopes: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="What it may be used for; repeat it for several. Default: all but admin."),
    ] = None,
) -> None:
    """Make an API key. Its text is shown once and stored nowhere."""
    key = new_key()
    wanted = [str(scope) for scope in scopes or (Scope.RANK, Scope.FEEDBACK, Scope.ARTICLES, Scope.READ)]

    async def work() -> None:
        async with open_store(Settings()) as engine, writing(engine) as connection:
            made = await keys.create(connection, name, key.digest, wanted, utc_now())
        print(key.text)
        console.print(f"key {made.id} of {name}: {', '.join(made.scopes)}. This is the only time that its text is shown.")

    asyncio.run(work())


@keys_app.command("list")
def list_keys() -> None:
    """The keys ever made."""

    async def work() -> None:
        table = Table("id", "name", "scopes", "made", "revoked")
        async with open_store(Settings()) as engine, reading(engine) as connection:
            for key in await keys.listing(connection):
                revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
                table.add_row(key.id, key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
        console.print(table)

    asyncio.run(work())


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")]) -> None:
    """End a key; every API process refuses it within a second."""

    async def work() -> bool:
        async with open_store(Settings()) as engine, writing(engine) as connection:
            return await keys.revoke(connection, key_id, utc_now())

    if not asyncio.run(work()):
        console.print(f"there is no key {key_id} in force")
        raise typer.Exit(1)
    console.print(f"key {key_id} is revoked")


def main() -> None:
    """Runs the command line; what goes wrong on purpose is one sentence, not a traceback."""
    logs.configure("WARNING")  # a command tells its outcome itself; processes that run on set their own level
    try:
        app()
    except (DrnError, JobError, StoreError, EmbeddedError) as error:
        console.print(f"[bold red]drn:[/] {error}")
        sys.exit(1)
    except ValidationError as error:
        for each in error.errors():
            console.print(f"[bold red]drn:[/] {'.'.join(map(str, each['loc']))}: {each['msg']}")
        sys.exit(2)


if __name__ == "__main__":
    main()
