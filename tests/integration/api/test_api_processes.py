"""The service as processes over real HTTP: what one acknowledges survives it, and others see it within a second."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.versions import Version, rollback
from service.store import feedback, impressions, versions
from service.store.engine import reading, writing

WITHIN = 1.0  # seconds in which every process knows what another one did
TRIES = 5  # each measured several times; the promise is about every one of them


async def seconds_until(seen: Callable[[], Awaitable[bool]], patience: float = 10.0) -> float:
    started = time.monotonic()
    while not await seen():
        if time.monotonic() - started > patience:
            raise AssertionError(f"not seen within {patience:g} s")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def put(client: httpx.AsyncClient, *ids: str) -> None:
    articles = [{"id": name, "title": f"Title {name}", "published_at": "2026-11-22T08:00:00Z"} for name in ids]
    assert (await client.put("/articles", json={"articles": articles})).status_code == 200


async def test_two_processes_stay_in_step(initial: Version, spawn: Any, engine: AsyncEngine) -> None:
    first, second = spawn(), spawn()
    for each in (first, second):
        each.wait_until_ready()
    async with httpx.AsyncClient(base_url=first.url) as writer, httpx.AsyncClient(base_url=second.url) as reader:

        async def shown() -> dict[str, Any]:
            answer = (await reader.post("/rank", json={"user_id": "u1", "k": 100})).json()
            found: dict[str, Any] = (await reader.get(f"/decisions/{answer['request_id']}")).json()
            return {item["article_id"]: item["features"] for item in found.get("items", [])} | {"version": found["model_version"]}

        async def article_seen() -> bool:
            return (await reader.post("/rank", json={"candidates": ["a0"]})).status_code == 200

        await put(writer, "a0")
        assert await seconds_until(article_seen) < WITHIN
        await put(writer, *(f"a{i}" for i in range(TRIES)))
        await asyncio.sleep(WITHIN)
        for i in range(TRIES):
            assert "already_read" not in (await shown())[f"a{i}"]  # and the reader is warm in the other process
            event = {"event_id": f"e{i}", "article_id": f"a{i}", "type": "click", "user_id": "u1"}
            assert (await writer.post("/feedback", json={"events": [event]})).status_code == 202

            async def click_seen(name: str = f"a{i}") -> bool:
                return (await shown())[name].get("already_read", 0) > 0

            assert await seconds_until(click_seen) < WITHIN

        for i in range(TRIES - 1):
            assert (await writer.delete(f"/articles/a{i}")).status_code == 204
            assert (await writer.post("/rank", json={"candidates": [f"a{i}"]})).status_code == 422

            async def gone(name: str = f"a{i}") -> bool:
                return name not in await shown()

            assert await seconds_until(gone) < WITHIN

        head = initial
        for _ in range(TRIES):
            head = rollback(head, head, datetime.now(UTC))
            async with writing(engine) as connection:
                await versions.append(connection, head)

            async def swapped(version_id: int = head.id) -> bool:
                return bool((await shown())["version"] == version_id)

            assert await seconds_until(swapped) < WITHIN


async def load(url: str, answered: list[str], clicked: list[str], worker: int) -> None:
    """Ranks and clicks until the service is gone, noting what was acknowledged."""
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        for i in range(100_000):
            name = f"w{worker}-{i}"
            try:
                answer = await client.post("/rank", json={"user_id": f"u{worker}", "request_id": name})
                if answer.status_code != 200:
                    continue
                answered.append(name)
                article_id = answer.json()["items"][0]["article_id"]
                event = {"event_id": name, "request_id": name, "article_id": article_id, "type": "click"}
                if (await client.post("/feedback", json={"events": [event]})).status_code == 202:
                    clicked.append(name)
            except httpx.TransportError:
                return


@pytest.mark.parametrize("after", [0.4, 1.1])
async def test_kill_9_under_load_loses_nothing_acknowledged(
    initial: Version, spawn: Any, engine: AsyncEngine, after: float
) -> None:
    service = spawn()
    service.wait_until_ready()
    async with httpx.AsyncClient(base_url=service.url) as client:
        await put(client, *(f"a{i}" for i in range(20)))
    answered: list[str] = []
    clicked: list[str] = []
    workers = [asyncio.create_task(load(service.url, answered, clicked, worker)) for worker in range(8)]
    await seconds_until(lambda: asyncio.sleep(0, len(clicked) >= 8))
    await asyncio.sleep(after)
    service.process.send_signal(signal.SIGKILL)
    await asyncio.gather(*workers)
    assert len(clicked) > 8
    async with reading(engine) as connection:
        lists = {shown.request_id for shown in await impressions.exposures_since(connection, 0, limit=1_000_000)}
        events = [stored.event.event_id for stored in await feedback.events_since(connection, 0, limit=1_000_000)]
    assert set(answered) <= lists
    assert set(clicked) <= set(events)
    assert len(events) == len(set(events))
    successor = spawn()
    successor.wait_until_ready()
    async with httpx.AsyncClient(base_url=successor.url) as client:
        name = clicked[-1]
        user = f"u{name.partition('-')[0].removeprefix('w')}"
        again = (await client.post("/rank", json={"request_id": name, "user_id": user})).json()
        assert again["request_id"] == name
        event = {"event_id": name, "request_id": name, "article_id": again["items"][0]["article_id"], "type": "click"}
        assert (await client.post("/feedback", json={"events": [event]})).json() == {"accepted": 0, "duplicates": 1}


async def test_sigterm_finishes_what_is_under_way(initial: Version, spawn: Any, engine: AsyncEngine) -> None:
    service = spawn()
    service.wait_until_ready()
    async with httpx.AsyncClient(base_url=service.url) as client:
        await put(client, *(f"a{i}" for i in range(20)))
    answered: list[str] = []
    clicked: list[str] = []
    workers = [asyncio.create_task(load(service.url, answered, clicked, worker)) for worker in range(4)]
    await seconds_until(lambda: asyncio.sleep(0, len(clicked) >= 8))
    service.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*workers)
    assert await asyncio.to_thread(service.process.wait, 15) == 0
    assert "Traceback" not in service.log.read_text()
    async with reading(engine) as connection:
        events = {stored.event.event_id for stored in await feedback.events_since(connection, 0, limit=1_000_000)}
    assert set(clicked) <= events


def test_sigterm_ends_a_start_that_waits_for_postgresql(spawn: Any) -> None:
    service = spawn(DATABASE_URL="postgresql://drn@127.0.0.1:1/drn", DRN_START_TIMEOUT="600")
    deadline = time.monotonic() + 60
    while "waiting for PostgreSQL" not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=30) == 0
    assert "Traceback" not in service.log.read_text()


async def test_a_huge_body_is_refused_and_the_service_goes_on(initial: Version, spawn: Any) -> None:
    service = spawn()
    service.wait_until_ready()
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.post("/rank", content=b" " * 30_000_000, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert (await client.get("/readyz")).status_code == 200


def test_a_refused_start_is_one_sentence(spawn: Any) -> None:
    reasons: list[tuple[dict[str, str], str]] = [
        ({"HOST": "0.0.0.0"}, "`python -m jobs keys create NAME`"),
        ({"DRN_PROFILE": "fast"}, "DRN_PROFILE"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DRN_CONFIG": '{"gamma": 2}'}, "gamma"),
        ({"DRN_CONFIG": "gamma=2"}, "DRN_CONFIG"),
    ]
    services = [spawn(**environment) for environment, _ in reasons]
    for service, (_, reason) in zip(services, reasons, strict=True):
        assert service.process.wait(timeout=60) == 2
        said = service.log.read_text()
        assert reason in said
        assert "Traceback" not in said


def test_the_process_never_loads_torch() -> None:
    code = "import sys, service.server; sys.exit(any(name.split('.')[0] in ('torch', 'polars') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_blas_thread() -> None:
    code = (
        "import os, service.__main__ as entry, service.server as server;"
        "server.run = lambda: print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS']); entry.main()"
    )
    environment = {"PATH": "/usr/bin"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "1"]
