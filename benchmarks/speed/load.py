"""Load: `wrk` for saturation (bodies from a file, `@` in them replaced by a running number), an open loop for latency."""

import asyncio
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed.processes import Server

CONNECTIONS = 32
OPEN_LOOP_CONNECTIONS = 64  # more would hide a queue in the kernel, fewer would slow the arrivals down
LUA = """
local bodies, count = {}, 0
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local headers = { ["Content-Type"] = "application/json" }
function request()
    count = count + 1
    local body = bodies[(count - 1) %% #bodies + 1]
    if %s then body = body:gsub("@", "%s" .. count) end
    return wrk.format("POST", "%s", headers, body)
end
"""


@dataclass(frozen=True, slots=True)
class Saturation:
    """What a server did when it was given all that it could take."""

    per_second: float
    cpu_milliseconds: float  # of the server's process, per request
    errors: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the time a request was due to its whole answer."""

    p50: float
    p99: float
    errors: int


def saturate(server: Server, path: str, bodies: Sequence[bytes], seconds: float, connections: int = CONNECTIONS) -> Saturation:
    """As many requests as the server answers.

    Raises:
        RuntimeError: wrk failed, or nothing was answered.
    """
    numbered = b"@" in bodies[0]
    with tempfile.TemporaryDirectory() as directory:
        file, script = Path(directory, "bodies"), Path(directory, "load.lua")
        file.write_bytes(b"\n".join(bodies) + b"\n")
        script.write_text(LUA % (file, str(numbered).lower(), f"{time.time_ns()}-", path))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), f"http://127.0.0.1:{server.port}"]
        before = server.cpu_seconds()
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = server.cpu_seconds() - before
    total, duration = re.search(r"(\d+) requests in ([\d.]+)s", output).groups()  # type: ignore[union-attr]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if not int(total):
        raise RuntimeError(f"{server.name} answered nothing: {output}")
    return Saturation(int(total) / float(duration), 1_000 * used / int(total), int(refused.group(1)) if refused else 0)


def open_loop(server: Server, path: str, bodies: Sequence[bytes], rate: float, seconds: float) -> Latency:
    """Requests at a fixed rate whatever the answers do, so that a stall delays all that fall due in it."""
    measured, errors = asyncio.run(_open_loop(server.port, path, bodies, rate, seconds))
    p50, p99 = np.percentile(measured, [50, 99])
    return Latency(float(p50), float(p99), errors)


async def _open_loop(port: int, path: str, bodies: Sequence[bytes], rate: float, seconds: float) -> tuple[list[float], int]:
    free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    for _ in range(OPEN_LOOP_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    head = f"POST {path} HTTP/1.1\r\nHost: speed\r\nContent-Type: application/json\r\nContent-Length: "
    messages = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    latencies: list[float] = []
    errors = 0

    async def ask(due: float, message: bytes) -> None:
        nonlocal errors
        reader, writer = await free.get()
        writer.write(message)
        header = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", header, re.IGNORECASE)
        await reader.readexactly(int(length.group(1)) if length else 0)
        latencies.append(1_000 * (time.perf_counter() - due))
        errors += not header.startswith(b"HTTP/1.1 2")
        free.put_nowait((reader, writer))

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(ask(due, messages[number % len(messages)]))
    while not free.empty():
        free.get_nowait()[1].close()
    return latencies, errors
