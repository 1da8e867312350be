"""The command line: what an operator sees."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.__main__ import open_log
from jobs.errors import UnreadableLog
from service.keys import digest
from service.store import keys
from service.store.engine import reading

Command = Callable[..., tuple[int, str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def command(python: Callable[..., Any]) -> Command:
    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        process = python("-m", "jobs", *arguments, **environment)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    return run


async def test_a_key_is_shown_once_stored_as_a_digest_and_can_be_revoked(command: Command, engine: AsyncEngine) -> None:
    code, output = command("keys", "create", "the app", "--scope", "rank", "--scope", "feedback")
    assert code == 0, output
    text = output.split()[0]
    async with reading(engine) as connection:
        made = (await keys.active(connection))[0]
    assert (made.name, made.scopes, made.hash) == ("the app", ("feedback", "rank"), digest(text))
    code, output = command("keys", "list")
    assert code == 0
    assert made.id in output
    assert text not in output
    assert command("keys", "revoke", made.id)[0] == 0
    assert command("keys", "revoke", made.id)[0] == 1
    async with reading(engine) as connection:
        assert await keys.active(connection) == []


def test_what_reading_logs_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.delitem(sys.modules, "jobs.importers.ebnerd", raising=False)
    with pytest.raises(UnreadableLog, match=r"needs polars: \.venv/bin/pip install -e '\.\[import\]'"):
        open_log("ebnerd", Path("."), None)


async def test_migrate_makes_schema_and_first_version(command: Command, empty_database_url: str) -> None:
    code, output = command("schedule", DATABASE_URL=empty_database_url)
    assert (code, output) == (1, "drn: the database is not at this release's schema: run `python -m jobs migrate`\n")
    assert command("migrate", DATABASE_URL=empty_database_url) == (0, "published version 1\n")
    assert command("migrate", DATABASE_URL=empty_database_url) == (0, "skipped: the line has begun\n")


def test_mistakes_are_told_in_one_sentence(command: Command) -> None:
    code, output = command("minor-update", DRN_CONFIG='{"gama": 1}')
    assert (code, output) == (1, "drn: no such hyper-parameter: gama\n")
    code, output = command("minor-update", PORT="many")
    assert code == 2
    assert "PORT" in output
    assert "Traceback" not in output
    code, output = command("import", "netflix", ".")
    assert (code, output) == (1, "drn: there is no format 'netflix'; there are ebnerd and mind\n")
    code, output = command("minor-update", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert code == 1
    assert "Traceback" not in output


@pytest.mark.parametrize("arguments", [("demo",), ("migrate",), ("rollback", "--to", "1")])
def test_another_kind_of_database_is_refused_in_one_sentence(command: Command, arguments: tuple[str, ...]) -> None:
    refused = (1, "drn: DATABASE_URL must begin with postgresql://\n")
    assert command(*arguments, DATABASE_URL="sqlite:///x", PORT=str(free_port())) == refused
