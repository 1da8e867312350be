import asyncio

import pytest

from service.deadline import within
from service.errors import Unavailable
from service.store.errors import StoreUnavailable


async def test_work_in_time_gives_its_result() -> None:
    assert await within(1.0, asyncio.sleep(0, "done")) == "done"


async def test_late_work_is_refused_but_ends_what_it_began() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.05)
        ended.set()

    with pytest.raises(Unavailable):
        await within(0.01, work())
    assert not ended.is_set()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_store_that_is_away_is_unavailable() -> None:
    async def work() -> None:
        raise StoreUnavailable("gone")

    with pytest.raises(Unavailable, match="same request again"):
        await within(1.0, work())


async def test_other_errors_pass() -> None:
    async def work() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await within(1.0, work())
