"""Learning goes after serving where both share a machine."""

import os
from contextlib import suppress
from pathlib import Path

THREADS = Path("/proc/self/task")


def step_aside(niceness: int) -> None:
    """Lets this process run where others leave room: its threads and those to come, not the processes that it has started.

    Nobody waits for what a learner does, and a reader does for what an API process and PostgreSQL do. Of a core that others keep
    busy, a niceness of 10 leaves it a tenth, so it goes on learning.
    """
    threads = [int(each.name) for each in THREADS.iterdir()] if THREADS.exists() else [0]  # Linux has a niceness for each
    for thread in threads:
        with suppress(ProcessLookupError):  # it may have ended by now
            os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))
