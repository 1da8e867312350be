"""PostgreSQL goes away, hangs and comes back. A proxy stands between the application and the real server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.engine import make_url

ANSWER_WITHIN = 2.0  # seconds; a little is added below for a busy machine
RECOVERS_WITHIN = 10.0


class Proxy:
    """Forwards bytes to PostgreSQL, or does not."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._requests = asyncio.Event()
        self._answers = asyncio.Event()
        self._swallow_after: bytes | None = None
        self.resume()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Ends all connections and accepts no new one."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def hang(self) -> None:
        """Connections stay open, and nothing comes through."""
        self._requests.clear()
        self._answers.clear()

    def swallow_answers_after(self, sent: bytes) -> None:
        """From when `sent` is on its way to PostgreSQL, nothing comes back."""
        self._swallow_after = sent

    def resume(self) -> None:
        self._swallow_after = None
        self._requests.set()
        self._answers.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, upstream_writer}
        await asyncio.gather(
            self._pump(reader, upstream_writer, self._requests), self._pump(upstream_reader, writer, self._answers)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_pass: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await may_pass.wait()
                if may_pass is self._requests and self._swallow_after and self._swallow_after in data:
                    self._answers.clear()
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    address = make_url(database_url)
    proxy = Proxy(str(address.host), int(address.port or 5432))
    await proxy.listen()
    yield proxy
    proxy.resume()
    await proxy.cut()


@pytest.fixture
async def api(initial: Any, open_api: Any, proxy: Proxy, database_url: str) -> Any:
    through = make_url(database_url).set(host="127.0.0.1", port=proxy.port)
    api = await open_api(database_url=through.render_as_string(hide_password=False))
    await api.publish("a1", "a2")
    await api.rank(user_id="warm", request_id="before")
    return api


async def timed(api: Any, method: str, path: str, **arguments: Any) -> tuple[int, float]:
    started = time.monotonic()
    answer = await api.client.request(method, path, **arguments)
    return answer.status_code, time.monotonic() - started


async def expect_unavailable(api: Any) -> None:
    """Every way in answers 503, soon."""
    click = {"event_id": "lost", "article_id": "a1", "type": "click", "request_id": "before"}
    calls = [
        timed(api, "POST", "/rank", json={"user_id": "warm"}),
        timed(api, "POST", "/rank", json={"user_id": "cold"}),
        timed(api, "POST", "/feedback", json={"events": [click]}),
        timed(api, "GET", "/readyz"),
        timed(api, "GET", "/versions"),
        timed(api, "GET", "/decisions/before"),
        timed(api, "DELETE", "/articles/a1"),
    ]
    for status, seconds in await asyncio.gather(*calls):
        assert status == 503
        assert seconds < ANSWER_WITHIN + 0.5
    assert (await timed(api, "GET", "/livez"))[0] == 200
    assert (await timed(api, "GET", "/metrics"))[0] == 200


async def expect_recovery(api: Any) -> None:
    deadline = time.monotonic() + RECOVERS_WITHIN
    while (await api.client.get("/readyz")).status_code != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    for user in ("warm", "cold", "new"):
        while (await timed(api, "POST", "/rank", json={"user_id": user}))[0] != 200:
            assert time.monotonic() < deadline
    assert (await api.click("after", "a1", user_id="warm")).status_code == 202


async def test_postgres_gone_and_back(api: Any, proxy: Proxy) -> None:
    await proxy.cut()
    await expect_unavailable(api)
    await proxy.listen()
    await expect_recovery(api)


async def test_postgres_hangs_and_goes_on(api: Any, proxy: Proxy) -> None:
    proxy.hang()
    await expect_unavailable(api)
    proxy.resume()
    await expect_recovery(api)


async def memory_agrees_with_the_log(api: Any, open_api: Any) -> list[int]:
    """The counts of a1 in memory, after comparing them with a process that has just read them from the log."""
    await api.node.follower.catch_up()
    restarted = await open_api()
    known, stored = (each.node.live.catalogue.counts[each.node.live.catalogue.row("a1")].tolist() for each in (api, restarted))
    assert known == stored
    return list(known)


async def test_a_click_that_was_late_counts_once(api: Any, proxy: Proxy, open_api: Any) -> None:
    proxy.hang()
    assert (await api.click("e1", "a1", request_id="before")).status_code == 503
    proxy.resume()
    await expect_recovery(api)
    assert (await api.click("e1", "a1", request_id="before")).status_code == 202
    clicks = (await memory_agrees_with_the_log(api, open_api))[0]
    assert clicks == 2  # this one, and the one that showed the recovery


async def test_a_commit_whose_answer_was_lost_reaches_memory(api: Any, proxy: Proxy, open_api: Any) -> None:
    proxy.swallow_answers_after(b"answer-lost")  # a statement by itself is a transaction: its answer is that of its commit
    assert (await api.click("answer-lost", "a1", request_id="before")).status_code == 503
    assert (await timed(api, "POST", "/rank", json={"user_id": "warm", "request_id": "lost"}))[0] == 503
    await proxy.cut()
    proxy.resume()
    await proxy.listen()
    await expect_recovery(api)
    assert (await api.click("answer-lost", "a1", request_id="before")).json() == {"accepted": 0, "duplicates": 1}
    clicks = (await memory_agrees_with_the_log(api, open_api))[0]
    assert clicks == 2


async def test_a_retry_after_a_lost_answer_gets_the_list_that_was_logged(api: Any, proxy: Proxy) -> None:
    proxy.hang()
    lost = await timed(api, "POST", "/rank", json={"user_id": "warm", "request_id": "lost"})
    assert lost[0] == 503
    proxy.resume()
    await expect_recovery(api)
    first = await api.rank(user_id="warm", request_id="lost")
    assert await api.rank(user_id="warm", request_id="lost") == first
    assert (await api.client.get("/decisions/lost")).json()["reproduced"] is True
