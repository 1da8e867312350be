"""The impression log: written in groups, read back without loss."""

from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Event, Impression, Pin
from service.store import feedback, impressions
from service.store.impressions import ImpressionWriter

Make = Callable[..., Any]


def assert_equal(ours: Any, theirs: Any) -> None:
    """Field by field, arrays with their dtypes."""
    assert type(ours) is type(theirs)
    for spec in fields(ours):
        left, right = getattr(ours, spec.name), getattr(theirs, spec.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, spec.name
            np.testing.assert_array_equal(left, right, err_msg=spec.name)
        elif spec.name in {"observation", "interleaving"}:
            assert_equal(left, right)
        else:
            assert left == right, spec.name


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[ImpressionWriter]:
    async with ImpressionWriter(database_url, "w1") as writer:
        yield writer


async def test_an_impression_comes_back_as_it_was(
    writer: ImpressionWriter, connection: AsyncConnection, make_impression: Make, noon: datetime
) -> None:
    written = make_impression(
        at=noon + timedelta(microseconds=123_457),
        pins=(Pin("a1", 0), Pin("ä'\"\\{},x", 2)),
        unknown=("gone", "NULL", ""),
        fallback="no version",
        candidates=("ä'\"\\{},x", "NULL", " ", "d", "日本"),
    )
    seq = await writer.write(written)
    found = await impressions.by_request_id(connection, written.request_id)
    assert found is not None
    assert found.seq == seq
    assert_equal(found.impression, written)
    assert await impressions.by_request_id(connection, "other") is None
