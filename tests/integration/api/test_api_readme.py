"""The README's commands, as a new user pastes them."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from service.store.engine import sqlalchemy_url
from service.store.migrate import upgrade

START_SECONDS = 60.0  # generous: other tests may be at work on this machine
ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
TRY, RUN = BLOCKS


def answers(url: str) -> list[dict[str, Any]]:
    """What each `curl` of the README's example answers."""
    lines = TRY.replace("localhost:8000", url.removeprefix("http://")).split("\n\n")
    ended = [subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=True) for line in lines]
    return [json.loads(one.stdout) for one in ended]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_example_does_what_it_says(initial: Any, spawn: Any) -> None:
    service = spawn()
    service.wait_until_ready()
    stored, ranked, accepted, decision = answers(service.url)
    assert stored == {"stored": 2}
    assert {item["article_id"] for item in ranked["items"]} == {"a1", "a2"}
    assert accepted == {"accepted": 1, "duplicates": 0}
    assert decision["reproduced"] is True


COMMANDS = [line.split(" #", maxsplit=1)[0].strip() for line in RUN.splitlines()]


def matching(start: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(start)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(empty_database_url: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": empty_database_url, "PORT": str(free_port()), "OMP_NUM_THREADS": "1"}


def run(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command with the README's exact words, by this Python."""
    words = shlex.split(command)
    assert words[0] == "python"
    return subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_new_database_is_served_with_the_keys_that_the_commands_make(environment: dict[str, str]) -> None:
    (migrate,), creating, (serve,) = (
        matching("python -m jobs migrate"),
        matching("python -m jobs keys"),
        matching("python -m service"),
    )
    assert run(migrate, environment).returncode == 0
    made = [run(command, environment) for command in creating]
    assert [ended.returncode for ended in made] == [0, 0], [ended.stderr for ended in made]
    app, admin = ({"Authorization": f"Bearer {ended.stdout.split()[0]}"} for ended in made)
    process = subprocess.Popen([sys.executable, *serve.split()[1:]], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{environment['PORT']}", trust_env=False) as client:
            wait_until_ready(client, process)
            answers = [client.get("/versions", headers=app), client.get("/admin/data", headers=app)]
            answers += [client.get("/admin/data", headers=admin), client.get("/versions")]
        assert [answer.status_code for answer in answers] == [200, 403, 200, 401]
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the service did not start")


@pytest.mark.parametrize("command", matching("python -m jobs import") + matching("python -m jobs replay"))
def test_logs_are_asked_for_at_the_path(command: str, environment: dict[str, str]) -> None:
    upgrade(environment["DATABASE_URL"])
    ended = run(command, environment)
    assert ended.returncode == 1
    assert re.match(r"drn: .*PATH", ended.stdout), ended.stdout + ended.stderr


@pytest.mark.parametrize("command", matching("python -m jobs schedule"))
def test_the_learner_has_its_command(command: str, environment: dict[str, str]) -> None:
    assert run(f"{command} --help", environment).returncode == 0


def test_every_other_line_is_true_too() -> None:
    activate, export, install = [command for command in COMMANDS if not command.startswith("python -m ")]
    assert f"VENV := {activate.removeprefix('. ').removesuffix('/bin/activate')}\n" in (ROOT / "Makefile").read_text()
    name, _, url = export.removeprefix("export ").partition("=")
    assert (name, sqlalchemy_url(url).host) == (Settings.model_fields["database_url"].alias, "host")
    extra = re.fullmatch(r"\.venv/bin/pip install -e '\.\[(\w+)\]'", install)
    assert extra is not None
    assert extra[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = ("migrate", "keys create", "schedule", "import", "replay")
    assert all(command.startswith(tuple(f"python -m jobs {each}" for each in known)) for command in matching("python -m jobs"))


def test_pages_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert links
    assert not missing
