"""Everything at once: PostgreSQL, the API, the learner and the simulated newsroom. `make run` is this."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from jobs import processes, runner
from jobs.database import engine_at, utc_now
from jobs.errors import CannotRun
from jobs.newsroom_key import admit, keep_admitted, newsroom_key
from jobs.processes import Child
from jobs.upkeep import FIRST_VERSION
from service.settings import Settings
from service.store import embedded, migrate
from service.store.embedded import EmbeddedError, Server
from service.store.errors import StoreUnavailable

READY_SECONDS = 60.0  # a cold machine imports for a while; a warm one is ready in a few seconds
LOOK_SECONDS = 0.1  # between two looks at /readyz
LEARNER_PATIENCE = 30.0  # the learner finishes a minor update's transaction before it ends

console = Console(highlight=False, soft_wrap=True)


def run(settings: Settings, *, readers: bool) -> int:
    """Runs until Ctrl-C, SIGTERM or the death of a part; returns the exit code."""
    try:
        asyncio.run(until_asked_to_end(settings, readers=readers))
    except (CannotRun, EmbeddedError, StoreUnavailable) as error:
        console.print(f"[bold red]drn ended:[/] {error}")
        return 1
    return 0


async def until_asked_to_end(settings: Settings, *, readers: bool) -> None:
    task = asyncio.create_task(supervise(settings, readers=readers))

    def ask_to_end() -> None:
        # Once: a second Ctrl-C must not interrupt the ending, which has time limits of its own.
        if not task.cancelling():
            console.print("Ending …")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ask_to_end)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def supervise(settings: Settings, *, readers: bool) -> None:
    """Starts the parts in order and watches them.

    Raises:
        CannotRun: the port or the data directory is in use, or a part died.
        EmbeddedError: PostgreSQL did not start.
        StoreUnavailable: the PostgreSQL at DATABASE_URL cannot be reached.
    """
    require_free_port(settings.host, settings.port)
    async with database(settings) as url:
        await prepare(settings, url)
        address = f"http://{client_host(settings.host)}:{settings.port}"
        environment = {"DATABASE_URL": url, "HOST": settings.host, "PORT": str(settings.port), "DRN_PROFILE": settings.profile}
        async with engine_at(url) as engine, newsroom_key(engine) as key, children() as running:
            running.append(await processes.start("The API", ("service",), environment))
            await watch(running, ready(f"{address}/readyz"))
            # Only now: the first list should not wait for the learner, whose torch keeps a core busy for seconds.
            running.append(await processes.start("The learner", ("jobs", "schedule"), environment, LEARNER_PATIENCE))
            if readers:
                await admit(engine, key)
                own = environment | {"DRN_API_KEY": key.text}
                running.append(await processes.start("The newsroom", ("jobs", "readers", address), own))
            console.print(
                f"\n[bold]drn is running.[/] Dashboard: [bold cyan]{address}/admin[/]  API: {address}/docs  Ctrl-C ends it.\n"
            )
            await watch(running, keep_admitted(engine, key) if readers else for_ever())


async def prepare(settings: Settings, url: str) -> None:
    """Schema and first version, so that the API can answer before the learner has imported torch."""
    await asyncio.to_thread(migrate.upgrade, url)
    async with engine_at(url) as engine:
        await runner.run(engine, FIRST_VERSION, settings.config(), utc_now)


def require_free_port(host: str, port: int) -> None:
    """
    Raises:
        CannotRun: another program listens there, or the port is left to the system, and no part could be told which it is.
    """
    if port == 0:
        raise CannotRun(
            "PORT=0 leaves the choice to the system, and the other parts must know it. Choose one: PORT=8000 make run"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotRun(
            f"port {port} on {host} cannot be used ({error.strerror}). Choose another: PORT={port + 1} make run"
        ) from error


def client_host(host: str) -> str:
    """How this machine reaches the API, as part of a URL: 0.0.0.0 and :: are addresses to listen on, not to call."""
    called = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{called}]" if ":" in called else called


@contextlib.asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The address of the user's own PostgreSQL, or of an embedded one that is stopped last.

    Raises:
        CannotRun: another process runs the embedded one.
    """
    if settings.database_url:
        yield settings.database_url
        return
    server = await started(settings.data)
    try:
        if not server.owned:
            raise CannotRun(
                f"another drn runs with the data in {server.directory}. For a second one: DRN_DATA=.drn2 PORT=8001 make run"
            )
        yield server.url
    finally:
        await uninterrupted(asyncio.to_thread(embedded.stop, server))


async def started(directory: Path) -> Server:
    """The running server. Asked to end meanwhile, it waits for the start and then stops it: nothing is left behind."""
    start = asyncio.create_task(asyncio.to_thread(embedded.start, directory))
    try:
        return await asyncio.shield(start)
    except asyncio.CancelledError:
        await asyncio.to_thread(embedded.stop, await start)
        raise


async def uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    await asyncio.shield(asyncio.ensure_future(work))


@contextlib.asynccontextmanager
async def children() -> AsyncIterator[list[Child]]:
    """The running children, ended in the reverse of the order in which they were started: readers first."""
    running: list[Child] = []
    try:
        yield running
    finally:
        for child in reversed(running):
            await processes.end(child)


async def watch(running: list[Child], until: Coroutine[Any, Any, None]) -> None:
    """Waits for `until`.

    Raises:
        CannotRun: a child ended first.
    """
    wanted, death = asyncio.create_task(until), asyncio.create_task(processes.first_to_end(running))
    try:
        await asyncio.wait({wanted, death}, return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            child = death.result()
            raise CannotRun(f"{child.name} {child.ending}; the other parts were ended too. Its last lines above say why.")
        await wanted
    finally:
        wanted.cancel()
        death.cancel()


async def ready(url: str) -> None:
    """Returns when the address answers 200.

    Raises:
        CannotRun: it did not within a minute.
    """
    try:
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url)).status_code == httpx.codes.OK:
                        return
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise CannotRun(f"{url} was not ready within {READY_SECONDS:.0f} s") from None


async def for_ever() -> None:
    await asyncio.Event().wait()
