"""Load: `wrk` for saturation (bodies from a file, `@` in them replaced by a running number), an open loop for latency."""

import asyncio
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.processes import Server

CONNECTIONS = 32
PATIENCE = 10.0  # seconds after which an answer is given up
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

    requests: int
    per_second: float
    cpu_milliseconds: float  # of the server's process, per request
    errors: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the time a request was due to its whole answer."""

    due: NDArray[np.float64]  # (n,): of time.perf_counter
    milliseconds: NDArray[np.float64]  # (n,)
    errors: int

    @property
    def p50(self) -> float:
        return float(np.percentile(self.milliseconds, 50))

    @property
    def p99(self) -> float:
        return float(np.percentile(self.milliseconds, 99))


def post(server: Server, path: str, body: bytes) -> Any:
    """See `ask`."""
    return ask(server, "POST", path, body)


def ask(server: Server, method: str, path: str, body: bytes | None = None) -> Any:
    """One request, and its answer. After a 503 it is sent again, as clients should.

    Raises:
        RuntimeError: it was not answered with success.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        status, answer = exchanged(server, method, path, body)
        if status < 300:
            return json.loads(answer)
        if status != 503 or time.monotonic() > deadline:
            raise RuntimeError(f"{server.name} answered {status} to {path}: {answer.decode()}")


def exchanged(server: Server, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


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
    return Saturation(
        int(total), int(total) / float(duration), 1_000 * used / int(total), int(refused.group(1)) if refused else 0
    )


def open_loop(
    server: Server, path: str, bodies: Sequence[bytes], rate: float, seconds: float, stop: Event | None = None
) -> Latency:
    """Requests at a fixed rate whatever the answers do, so that a stall delays all that fall due in it.

    Args:
        stop: ends it before `seconds` have passed.
    """
    return asyncio.run(_open_loop(server.port, path, bodies, rate, seconds, stop or Event()))


async def _open_loop(port: int, path: str, bodies: Sequence[bytes], rate: float, seconds: float, stop: Event) -> Latency:
    # In turns: one that is not used for five seconds is closed by the server.
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(OPEN_LOOP_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    messages = [message(path, body) for body in bodies]
    measured: list[tuple[float, float]] = []
    errors = 0

    async def ask(due: float, request: bytes) -> None:
        nonlocal errors
        connection = await free.get()
        errors += not await exchange(*connection, request)
        measured.append((due, 1_000 * (time.perf_counter() - due)))
        free.put_nowait(connection)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if stop.is_set():
                break
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(ask(due, messages[number % len(messages)]))
    while not free.empty():
        free.get_nowait()[1].close()
    due, milliseconds = np.array(measured).T
    return Latency(due, milliseconds, errors)


def each_once(server: Server, path: str, bodies: Iterable[bytes], connections: int = CONNECTIONS) -> int:
    """Every request once, as fast as they are answered; how many were not answered with success."""
    return asyncio.run(_each_once(server.port, path, iter(bodies), connections))


async def _each_once(port: int, path: str, bodies: Iterator[bytes], connections: int) -> int:
    errors = 0

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in bodies:  # shared: each takes the next one
            errors += not await exchange(reader, writer, message(path, body))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(client())
    return errors


def message(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: speed\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """Sends a request and reads its whole answer; whether that was success."""
    writer.write(request)
    header = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", header, re.IGNORECASE)
    await reader.readexactly(int(length.group(1)) if length else 0)
    return header.startswith(b"HTTP/1.1 2")
