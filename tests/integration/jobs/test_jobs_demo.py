"""`python -m jobs demo`, which `make run` is: everything starts, learns, ends, and goes on the next time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from jobs.newsroom_key import NAME
from service.keys import digest, new_key
from service.store import embedded

READY_SECONDS = 60.0  # generous: other tests may be at work on this machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Demo:
    """One run of the demo on a data directory of the test's own."""

    def __init__(self, data: Path, port: int, **environment: str) -> None:
        self.data = data
        self.log = data.parent / "demo.log"
        host = environment.get("HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        self.client = httpx.Client(base_url=f"http://{host}:{port}", timeout=5.0, trust_env=False)
        settings = {"DRN_DATA": str(data), "PORT": str(port), "OMP_NUM_THREADS": "1", "DATABASE_URL": ""} | environment
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobs", "demo"], env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT
            )

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition answers, once that is true."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            try:
                if answer := condition():
                    return answer
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, self.output
            time.sleep(0.05)
        raise AssertionError(f"not within {READY_SECONDS} s:\n{self.output}")

    def publish(self, article_id: str) -> None:
        article = {"id": article_id, "title": "Harbour closed by storm", "published_at": "2026-01-01T00:00:00Z"}
        assert self.client.put("/articles", json={"articles": [article]}).json() == {"stored": 1}

    def rank(self, article_id: str) -> list[str]:
        answer = self.client.post("/rank", json={"user_id": "u1", "candidates": [article_id], "k": 1})
        assert answer.status_code == 200, answer.text
        return [item["article_id"] for item in answer.json()["items"]]

    def ready(self) -> bool:
        return self.client.get("/readyz").status_code == 200

    def versions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/versions").json()["versions"]
        return found

    @property
    def output(self) -> str:
        return self.log.read_text()

    def parts(self) -> dict[int, str]:
        return parts(self.data)

    def leaves_nothing(self) -> bool:
        """Whether every part is gone; PostgreSQL removes its lock file, which its stopper waits for, a moment before it exits."""
        end = time.monotonic() + 2
        while self.parts() and time.monotonic() < end:
            time.sleep(0.02)
        return not self.parts()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def parts(data: Path) -> dict[int, str]:
    """Processes that work with this data directory, by number: the demo, its children, PostgreSQL."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text().replace("\0", " ").strip()
            environment = (entry / "environ").read_text()
        except OSError:
            continue
        if command and (f"{data}/" in command or f"DRN_DATA={data}\0" in environment):
            found[int(entry.name)] = command
    return found


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    for process in parts(tmp_path / "data"):
        os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for left-over processes in /proc")
def test_it_learns_ends_cleanly_and_goes_on_the_next_time(data: Path) -> None:
    port = free_port()
    first = Demo(data, port)
    first.until(first.ready)
    assert first.until(lambda: f"http://127.0.0.1:{port}/admin" in first.output)
    first.publish("kept")
    learned = first.until(lambda: [version for version in first.versions() if version["metrics"].get("clicks", 0) > 0])[0]
    assert first.end() == 0, first.output
    assert first.leaves_nothing()
    assert "Traceback" not in first.output, first.output

    second = Demo(data, port, READERS="off")
    second.until(second.ready)
    started = time.monotonic()
    assert second.rank("kept") == ["kept"]
    assert learned["id"] in {version["id"] for version in second.versions()}
    assert not any("readers" in command for command in second.parts().values())
    assert second.end(signal.SIGINT) == 0
    assert time.monotonic() - started < 30
    assert second.leaves_nothing()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for left-over processes in /proc")
def test_a_part_that_dies_ends_all_and_a_killed_demo_leaves_no_clients(data: Path) -> None:
    first = Demo(data, free_port(), READERS="off")
    first.until(first.ready)
    first.until(lambda: "drn is running" in first.output)
    learner = next(pid for pid, command in first.parts().items() if "jobs schedule" in command)
    os.kill(learner, signal.SIGKILL)
    assert first.process.wait(timeout=60) == 1
    assert "The learner was killed by SIGKILL" in first.output
    assert first.leaves_nothing()

    second = Demo(data, free_port(), READERS="off")
    second.until(second.ready)
    second.end(signal.SIGKILL)
    end = time.monotonic() + 30
    while any("-m service" in command or "-m jobs" in command for command in second.parts().values()):
        assert time.monotonic() < end, second.parts()
        time.sleep(0.1)

    third = Demo(data, free_port(), READERS="off")  # finds the PostgreSQL that was left running, and stops it in the end
    third.until(third.ready)
    assert third.end() == 0
    assert third.leaves_nothing()


def test_a_port_in_use_is_said_before_anything_is_started(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = Demo(data, port)
        assert demo.process.wait(timeout=30) == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in demo.output
    assert f"PORT={port + 1} make run" in demo.output
    assert not data.exists()


def test_a_port_that_the_system_would_choose_is_refused(data: Path) -> None:
    demo = Demo(data, 0)
    assert demo.process.wait(timeout=30) == 1
    assert "Choose one: PORT=8000 make run" in demo.output
    assert not data.exists()


def test_a_second_demo_on_the_same_data_says_what_to_do(data: Path) -> None:
    server = embedded.start(data, settings=embedded.SCRATCH)
    try:
        demo = Demo(data, free_port())
        assert demo.process.wait(timeout=30) == 1
        assert "another drn runs with the data in" in demo.output
    finally:
        embedded.stop(server)


def test_a_postgresql_of_ones_own_is_used_and_left_alone(database_url: str, data: Path) -> None:
    demo = Demo(data, free_port(), DATABASE_URL=database_url, READERS="off", DRN_CONFIG=json.dumps({"advantage_layers": [8]}))
    demo.until(demo.ready)
    assert [version["kind"] for version in demo.versions()] == ["initial"]
    assert demo.end() == 0
    assert not data.exists()


def make_key(database_url: str, name: str, text: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO api_keys (id, name, hash, scopes, created_at) VALUES (%s, %s, %s, %s, now())",
            [name[:8], name, digest(text), ["admin"]],
        )


def keys_in_force(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT name FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at").fetchall()
    return [name for (name,) in found]


def lists_served(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM impressions").fetchone()
    return int(row[0]) if row else 0


def serves_on(demo: Demo, database_url: str) -> bool:
    """Waits until the newsroom has been served more lists."""
    before = lists_served(database_url)
    return bool(demo.until(lambda: lists_served(database_url) > before))


def test_the_newsroom_has_a_key_of_its_own_once_there_are_keys(database_url: str, data: Path) -> None:
    small = {"DATABASE_URL": database_url, "DRN_CONFIG": json.dumps({"advantage_layers": [8]})}
    make_key(database_url, NAME, new_key().text)  # left over from a run that was killed: it must not close the API
    open_to_us = Demo(data, free_port(), HOST="127.0.0.2", **small)
    open_to_us.until(open_to_us.ready)
    assert keys_in_force(database_url) == []
    assert serves_on(open_to_us, database_url)
    operators = new_key().text
    make_key(database_url, "operator", operators)
    assert open_to_us.until(lambda: NAME in keys_in_force(database_url))
    assert open_to_us.until(lambda: open_to_us.client.get("/versions").status_code == 401)
    assert serves_on(open_to_us, database_url)
    assert open_to_us.end() == 0, open_to_us.output
    assert keys_in_force(database_url) == ["operator"]

    open_to_others = Demo(data, free_port(), HOST="0.0.0.0", **small)
    open_to_others.until(open_to_others.ready)
    assert open_to_others.client.get("/versions").status_code == 401
    assert open_to_others.client.get("/versions", headers={"Authorization": f"Bearer {operators}"}).status_code == 200
    assert serves_on(open_to_others, database_url)
    assert open_to_others.end() == 0, open_to_others.output
    assert keys_in_force(database_url) == ["operator"]
