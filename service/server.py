"""Serving the application over HTTP until told to stop."""

import asyncio
import gc
import signal
import sys

import uvicorn
import uvloop
from pydantic import ValidationError

from drn.errors import InvalidConfig
from service import logs
from service.app import create_app, entrance
from service.errors import StartRefused
from service.settings import Settings

SHUTDOWN_SECONDS = 10  # for requests under way; then the process ends anyway
KEEP_ALIVE_SECONDS = 75  # longer than load balancers keep a connection (60 s), or they send requests into closed ones
GARBAGE_OBJECTS = 10_000  # new objects before a search for cycles, of which a request leaves next to none
REFUSED = 2  # exit status: starting again with the same settings will not help


def run() -> int:
    """Runs the service as the environment describes it; the process's exit status."""
    try:
        settings = Settings()
        logs.configure(settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except asyncio.CancelledError:  # told to end before it had started
        return 0
    except (StartRefused, InvalidConfig) as error:
        return refuse(str(error))
    except ValidationError as error:
        return refuse("; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()))
    return 0


def refuse(reason: str) -> int:
    print(f"drn service: {reason}", file=sys.stderr)
    return REFUSED


async def serve(settings: Settings) -> None:
    """Answers requests until SIGTERM or SIGINT; requests under way are finished first.

    Raises:
        StartRefused: the process must not run as it is set up.
    """
    app = create_app(settings)
    config = uvicorn.Config(
        entrance(app),
        host=settings.host,
        port=settings.port,
        http="httptools",
        lifespan="off",  # entered here, so that a refusal to start is one sentence and not a traceback
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    end_early(server)
    async with app.router.lifespan_context(app):
        gc.collect()
        gc.freeze()  # articles and code are here to stay; looking through them for garbage would hold requests up
        gc.set_threshold(GARBAGE_OBJECTS, 20, 20)
        await server.serve()


def end_early(server: uvicorn.Server) -> None:
    """SIGTERM and SIGINT end a start that is under way.

    uvicorn handles both while it serves and raises them again afterwards, when there is still something to close.
    """
    starting = asyncio.current_task()
    assert starting is not None

    def end(*_: object) -> None:
        if not server.started:
            starting.cancel()

    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, end)
