"""What stands around a job: its row in the ledger, its lock, and the transaction in which its outcome and that row commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeAlias

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from drn.config import Config
from service.store import locks, runs
from service.store.engine import translated, writing
from service.store.errors import StoreUnavailable
from service.store.locks import Lock

Transaction: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
Clock: TypeAlias = Callable[[], datetime]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Published:
    """The job wrote this version."""

    version_id: int
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The job had nothing to do, or must not do it now."""

    reason: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The job did its work, and no version came of it."""

    detail: Mapping[str, object] = field(default_factory=dict)


Outcome: TypeAlias = Published | Skipped | Done


Step: TypeAlias = Callable[[AsyncConnection, Config, datetime], Awaitable[Outcome]]
"""The transaction in which everything that a job writes commits, together with the ledger's word on it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A name for the ledger, and the work. `prepare` may read in short transactions of its own and compute for minutes with
    none open; what it returns is the step that writes. `lock` is held from before the one until after the other."""

    name: str
    prepare: Callable[[Transaction, Config, datetime], Awaitable[Step | Skipped]]
    lock: Lock | None = None


def single_step(name: str, step: Step) -> Job:
    """A job that needs no preparation."""

    async def prepare(_transaction: Transaction, _config: Config, _now: datetime) -> Step:
        return step

    return Job(name, prepare)


async def run(engine: AsyncEngine, job: Job, config: Config, clock: Clock) -> Outcome:
    """Carries a job out once, with its row in the ledger. Whatever happens, the row says it.

    Raises:
        StoreUnavailable: PostgreSQL went away; nothing of the job was committed.
    """
    async with writing(engine) as connection:
        run_id = await runs.open(connection, job.name, clock())
    try:
        async with alive(engine, run_id), exclusive(engine, job.lock) as free:
            outcome = await carry_out(engine, job, run_id, config, clock) if free else Skipped("another learner is at work")
        if isinstance(outcome, Skipped):
            async with writing(engine) as connection:
                await close(connection, run_id, outcome, clock())
    except BaseException as error:  # a cancelled run is told of as well, and goes on being cancelled
        with suppress(StoreUnavailable):
            await asyncio.shield(fail(engine, run_id, error, clock()))
        raise
    log.info(
        f"{job.name} {word(outcome)}",
        **({"version": outcome.version_id} if isinstance(outcome, Published) else {}),
        detail=details(outcome),
    )
    return outcome


async def carry_out(engine: AsyncEngine, job: Job, run_id: int, config: Config, clock: Clock) -> Outcome:
    """Preparation and step; the ledger's word on what was written commits with what was written."""
    step = await job.prepare(partial(writing, engine), config, clock())
    if isinstance(step, Skipped):
        return step
    async with writing(engine) as connection:
        outcome = await step(connection, config, clock())
        if not isinstance(outcome, Skipped):
            await close(connection, run_id, outcome, clock())
        return outcome


@asynccontextmanager
async def alive(engine: AsyncEngine, run_id: int) -> AsyncIterator[None]:
    """Holds the run's own lock, by a connection of its own: it goes with this process, however that ends.

    Raises:
        StoreUnavailable: PostgreSQL went away before the run began.
    """
    connection = engine.connect()
    with translated():
        await connection.start()
    try:
        with translated():
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await locks.hold_run(connection, run_id)
        yield
    finally:
        with suppress(DBAPIError):  # a connection that broke meanwhile holds nothing any more
            await locks.release_run(connection, run_id)
        await connection.close()


@asynccontextmanager
async def exclusive(engine: AsyncEngine, lock: Lock | None) -> AsyncIterator[bool]:
    """Whether the lock could be had; if so it is held, by a connection of its own, until the block ends."""
    if lock is None:
        yield True
        return
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")  # no transaction stays open beside a long job
        held = await locks.try_hold_session(connection, lock)
        try:
            yield held
        finally:
            if held:
                await locks.release_session(connection, lock)


async def close(connection: AsyncConnection, run_id: int, outcome: Outcome, now: datetime) -> None:
    version_id = outcome.version_id if isinstance(outcome, Published) else None
    await runs.close(connection, run_id, word(outcome), now, version_id=version_id, detail=details(outcome))


async def fail(engine: AsyncEngine, run_id: int, error: BaseException, now: datetime) -> None:
    reason = "it was stopped" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
    async with writing(engine) as connection:
        await runs.close(connection, run_id, "failed", now, version_id=None, detail={"reason": reason})


def word(outcome: Outcome) -> str:
    """The ledger's word for an outcome."""
    return type(outcome).__name__.lower()


def details(outcome: Outcome) -> dict[str, object]:
    reason = {"reason": outcome.reason} if isinstance(outcome, Skipped) else {}
    return {**reason, **outcome.detail}
