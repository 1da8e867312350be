"""Server processes, each pinned to a core, and the CPU time that they use."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

START_SECONDS = 180.0  # many times what it takes on a quiet machine
TICKS = os.sysconf("SC_CLK_TCK")
CPU_CLOCK = 2  # with the process's number, a clock of the CPU time of another process, as clock_getcpuclockid(3) makes it
THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers HTTP on a port of this machine."""

    name: str
    port: int
    pid: int
    seconds_to_ready: float

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, to the nanosecond: /proc/…/stat counts in hundredths of a second."""
        return time.clock_gettime((~self.pid << 3) | CPU_CLOCK)

    def resident_megabytes(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def family_cpu_seconds(pid: int) -> float:
    """User and system time so far of a process, its children, and those that have ended: PostgreSQL's, by its postmaster."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(field) for field in own[11:15])  # itself, and children that it has waited for
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile: it is among those waited for at the next look
            continue
        if int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def cores() -> tuple[set[int], set[int]]:
    """One core for the server that is measured, and the others for load and database; the same one where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, set(available[1:]) or {available[0]}


@contextmanager
def served(name: str, command: list[str], port: int, core: set[int], environment: Mapping[str, str]) -> Iterator[Server]:
    """A server on `core`, from its first good answer to /readyz until the block ends."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **THREADS, **environment})
    os.sched_setaffinity(process.pid, core)  # before it has imported anything: its threads inherit it
    try:
        while not ready(port):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.02)
        yield Server(name, port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()


def api(url: str, port: int, core: set[int], max_candidates: int = 2_000) -> AbstractContextManager[Server]:
    """The service's own API process."""
    environment = {
        "DATABASE_URL": url,
        "PORT": str(port),
        "DRN_MAX_CANDIDATES": str(max_candidates),
        "DRN_LOG_LEVEL": "ERROR",
    }
    return served("api", ["service"], port, core, environment)


def floor(port: int, core: set[int]) -> AbstractContextManager[Server]:
    return served("floor", ["benchmarks.speed.floor", str(port)], port, core, {})


def ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
