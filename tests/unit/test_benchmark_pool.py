"""Benchmarks' workers: they end with the process that started them."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import time
from benchmarks.learning.pool import perform

def run(_):
    print("running", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    list(perform(run, [0], 1, "test"))
"""


def test_a_worker_does_not_outlive_who_started_it(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(root)}) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"running\n"
        parent.kill()
        left, _ = parent.communicate(timeout=60)  # its end, when nobody holds the pipe any more
    assert left == b""
