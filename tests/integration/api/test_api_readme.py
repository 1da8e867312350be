"""The README's commands, as a new user pastes them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[3] / "README.md").read_text()
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


@pytest.mark.parametrize("command", [line for line in RUN.splitlines() if "-m jobs" in line])
def test_every_command_exists(command: str) -> None:
    words = command.split("#", maxsplit=1)[0].split()[3:]
    names = [word for word in words if word.islower() and not word.startswith("-")]
    ended = subprocess.run(
        [sys.executable, "-m", "jobs", names[0], "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_pages_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    missing = [link for link in links if not (Path(__file__).parents[3] / link).exists()]
    assert links
    assert not missing
