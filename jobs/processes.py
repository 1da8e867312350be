"""Child processes: started together, watched, and ended in order."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Child:
    """One running process. `patience`: seconds that it gets to end by itself once it is asked to."""

    name: str
    process: asyncio.subprocess.Process
    patience: float

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        if code is None:
            return "is running"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


async def start(name: str, module: tuple[str, ...], environment: Mapping[str, str], patience: float = 10.0) -> Child:
    """Runs `python -m module…` in a session of its own: Ctrl-C reaches only the parent, which knows the order of ending."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )
    return Child(name, process, patience)


async def end(child: Child) -> None:
    """Asks it to end, waits, and kills it when its patience is over."""
    if child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
    try:
        async with asyncio.timeout(child.patience):
            await child.process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()


async def first_to_end(children: list[Child]) -> Child:
    """The first child that ends; waits until one does."""
    waits = {asyncio.create_task(child.process.wait()): child for child in children}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return waits[done.pop()]
    finally:
        for wait in waits:
            wait.cancel()


def end_with_parent() -> Callable[[], None] | None:
    """What a child on Linux does first: ask the kernel for SIGTERM if the parent is killed and can no longer send it."""
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def request() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return request
