"""Values for the log: small, but shaped as the core makes them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from drn.config import Config
from drn.features import V, W
from drn.types import Context, DuelState, Event, Impression, Interleaving, Model, Observation, VersionKind
from drn.versions import Version
from service.store.lookups import History, HistoryLookup

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def version(noon: datetime) -> Version:
    """The least that the line accepts."""
    return Version(1, None, VersionKind.INITIAL, noon, Model({}, {}), DuelState(1), 0, Config(), "schema", {})


def observation(n: int, rng: np.random.Generator) -> Observation:
    def numbers(dtype: type[np.integer[Any]], *shape: int) -> Any:
        return rng.integers(0, 200, shape).astype(dtype)

    return Observation(
        reader=numbers(np.uint16, V, 412),
        reader_totals=numbers(np.uint16, V),
        context=numbers(np.uint8, 4),
        content=numbers(np.uint16, n, 24),
        counts=numbers(np.uint32, n, 2 * W),
        category_counts=numbers(np.uint32, n, 2),
        seen=numbers(np.uint16, n, 7),
        age=numbers(np.int32, n),
        embedding=numbers(np.int32, n, 16).astype(np.float16),
        reader_embedding=numbers(np.int32, 16).astype(np.float16),
    )


@pytest.fixture
def make_impression() -> Callable[..., Impression]:
    """An impression of n candidates a0, a1, … of which the last k are shown, in reverse."""

    def make(
        request_id: str = "r1", at: datetime = NOON, user_id: str | None = "u1", *, n: int = 5, k: int = 3, **more: Any
    ) -> Impression:
        rng = np.random.default_rng(0)
        return Impression(
            **{
                "request_id": request_id,
                "at": at,
                "user_id": user_id,
                "context": Context("mobile", "home"),
                "version_id": 1,
                "seed": 2**64 - 1,
                "k": k,
                "explore": True,
                "pins": (),
                "candidates": tuple(f"a{i}" for i in range(n)),
                "observation": observation(n, rng),
                "current_scores": rng.normal(size=n).astype(np.float32),
                "explore_scores": rng.normal(size=n).astype(np.float32),
                "interleaving": Interleaving(
                    shown=np.arange(n - 1, n - 1 - k, -1, dtype=np.int32),
                    credit=rng.random(k).astype(np.float32),
                    propensity=rng.random(k).astype(np.float32),
                    pinned=np.arange(k) == 1,
                ),
            }
            | more
        )

    return make


@pytest.fixture
def make_event() -> Callable[..., Event]:
    def make(event_id: str = "e1", article_id: str = "a4", type: str = "click", at: datetime = NOON, **more: Any) -> Event:  # noqa: A002
        return Event(event_id, article_id, type, at, **more)

    return make


@pytest.fixture
def history_of(database_url: str) -> Callable[..., Awaitable[History]]:
    """A reader's past as a process reads it that has not seen it happen."""

    async def find(user_id: str, clicks: int = 10) -> History:
        async with HistoryLookup(database_url, clicks) as lookup:
            return await lookup.find(user_id)

    return find
