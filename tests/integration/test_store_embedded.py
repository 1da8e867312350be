"""The embedded PostgreSQL comes up whatever its last end was like, and goes down when its owner says so."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.store import embedded

START = """
import signal, sys, time
from pathlib import Path
from service.store import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
server = embedded.start(Path(sys.argv[1]), settings=embedded.SCRATCH)
try:
    print(server.pid, server.owned, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print(embedded.find(Path(sys.argv[1])) is not None, flush=True)
    embedded.stop(server)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One database for all tests here: making one takes seconds. Its path is longer than a Unix socket's may be."""
    path = tmp_path_factory.mktemp("embedded") / ("long " * 25).strip()
    yield path
    embedded.stop(embedded.start(path))


def start(path: Path) -> embedded.Server:
    return embedded.start(path, settings=embedded.SCRATCH)


def answers(server: embedded.Server) -> bool:
    try:
        with psycopg.connect(server.url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def starter(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )


def test_data_and_port_outlast_a_stop(directory: Path) -> None:
    first = start(directory)
    with psycopg.connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(first)
    assert not answers(first)
    second = start(directory)
    assert second.url == first.url
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    embedded.stop(second)


def test_it_listens_on_loopback_only_and_wants_its_password(directory: Path) -> None:
    server = start(directory)
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://drn:wrong@127.0.0.1:{server.port}/drn")
    assert (directory / "password").stat().st_mode & 0o077 == 0
    assert (directory / "data").stat().st_mode & 0o077 == 0
    embedded.stop(server)


def test_a_second_start_finds_the_server_and_leaves_it_to_its_owner(directory: Path) -> None:
    owner = start(directory)
    guest = start(directory)
    assert (owner.owned, guest.owned) == (True, False)
    assert (guest.url, guest.pid) == (owner.url, owner.pid)
    embedded.stop(guest)
    assert answers(owner)
    embedded.stop(owner)
    assert not answers(owner)


def test_a_killed_server_comes_back_with_its_data(directory: Path) -> None:
    server = embedded.start(directory, settings={"fsync": "off"})  # committed is handed to the system, if not to the disk
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE survivor AS SELECT 1")
    os.kill(server.pid, signal.SIGKILL)
    embedded.stop(server)  # nothing left to stop, and no error
    again = start(directory)
    with psycopg.connect(again.url) as connection:
        assert connection.execute("SELECT count(*) FROM survivor").fetchone() == (1,)
    embedded.stop(again)


def test_a_server_whose_starter_was_killed_is_taken_over(directory: Path) -> None:
    process = starter(directory)
    assert process.stdout
    pid, owned = process.stdout.readline().split()
    assert owned == "True"
    process.kill()
    process.wait()
    server = start(directory)
    assert (server.pid, server.owned) == (int(pid), True)
    embedded.stop(server)
    assert not answers(server)


def test_ctrl_c_reaches_the_starter_but_not_the_server(directory: Path) -> None:
    process = starter(directory)
    assert process.stdout
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline().strip() == "True"  # still up when the starter looks
    assert process.wait(20) == 0
    assert embedded.find(directory) is None


TIED = """
import sys, time
from pathlib import Path
from service.store import embedded
with embedded.tied(Path(sys.argv[1]), embedded.SCRATCH) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""


def test_a_tied_server_ends_with_its_process_however_that_ends(directory: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", TIED, str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("postgresql://")
    assert embedded.find(directory) is not None
    process.kill()
    process.wait()
    for _ in range(100):
        if embedded.find(directory) is None:
            break
        time.sleep(0.1)
    assert embedded.find(directory) is None


def test_a_lock_file_with_another_process_number_is_no_server(directory: Path) -> None:
    server = start(directory)
    lock = (directory / "data" / "postmaster.pid").read_text()
    embedded.stop(server)
    (directory / "data" / "postmaster.pid").write_text(lock.replace(str(server.pid), str(os.getpid()), 1))
    again = start(directory)
    assert answers(again)
    embedded.stop(again)


def test_an_interrupted_initdb_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    server = start(tmp_path)
    assert answers(server)
    embedded.stop(server)


def test_a_password_that_was_not_written_to_its_end_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "password").touch(mode=0o600)
    server = start(tmp_path)
    assert answers(server)
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    embedded.stop(server)


def test_a_taken_port_is_left_to_who_has_it(directory: Path) -> None:
    first = start(directory)
    embedded.stop(first)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((embedded.HOST, first.port))
        other.listen()
        second = start(directory)
        assert second.port != first.port
        embedded.stop(second)
        with pytest.raises(embedded.EmbeddedError, match="Address already in use"):
            embedded.start(directory, port=first.port)


def test_data_of_another_major_version_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("17\n")
    began = time.monotonic()
    with pytest.raises(embedded.EmbeddedError, match=r"PostgreSQL 17.*dump"):
        start(tmp_path)
    assert time.monotonic() - began < 5
