"""Answers in time although the store does not."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from service.errors import Unavailable
from service.store.errors import StoreUnavailable

T = TypeVar("T")
RETRY = "the store does not answer; send the same request again"
log = structlog.get_logger(__name__)
_abandoned: set[asyncio.Task[Any]] = set()  # the event loop itself keeps only weak references


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or Unavailable after `seconds`.

    Work that is late is left to end by itself and not cancelled: it may be about to commit, and what it does after its
    commit (bringing the memory up to date) must not be lost. Time-outs of the connection end it for sure.

    Raises:
        Unavailable: it took longer, or PostgreSQL cannot be reached.
    """
    task = asyncio.create_task(work)
    _abandoned.add(task)
    task.add_done_callback(_finished)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        raise Unavailable(RETRY)
    try:
        return task.result()
    except StoreUnavailable as error:
        raise Unavailable(RETRY) from error


def _finished(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("work on the store failed", error=str(error))  # retrieved here, or asyncio would complain of late ones
