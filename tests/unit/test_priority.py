"""A learner's threads step aside, whenever they were started; what it has started before does not."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, subprocess, sys, threading
from jobs.priority import step_aside

def niceness():
    return os.getpriority(os.PRIO_PROCESS, 0)

def early():
    go.wait()
    found.append(niceness())

found, go = [], threading.Event()
first = threading.Thread(target=early)
first.start()
child = subprocess.Popen(["sleep", "60"])
step_aside(7)
step_aside(3)
go.set()
first.join()
later = threading.Thread(target=lambda: found.append(niceness()))
later.start()
later.join()
print(*found, niceness(), os.getpriority(os.PRIO_PROCESS, child.pid))
child.kill()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a niceness of its own for each thread is Linux'")
def test_all_threads_step_aside_and_no_other_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "7", "7", "0"]
