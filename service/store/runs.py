"""The ledger of jobs: one row per run, whatever became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, cast, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.locks import RUNS, lives
from service.store.tables import job_runs

CHANNEL = "drn_runs"
LOST = {"reason": "its process ended without a word"}
ASKABLE = ("minor_update", "major_retrain")  # the jobs that a person may ask for


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants a job to run now. `behind`: its newest run at that time (0: none); a later one fulfils the wish."""

    job: str
    behind: int

    def __str__(self) -> str:
        return f"{self.job} {self.behind}"


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    job: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str  # running, published, done, skipped, failed
    version_id: int | None
    detail: Mapping[str, Any]


async def open(connection: AsyncConnection, job: str, now: datetime) -> int:  # noqa: A001  # runs.open … runs.close
    """Begins a row and returns its id."""
    run_id: int = (
        await connection.execute(insert(job_runs).values(job=job, started_at=now).returning(job_runs.c.id))
    ).scalar_one()
    return run_id


async def close(
    connection: AsyncConnection,
    run_id: int,
    outcome: str,
    now: datetime,
    *,
    version_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> bool:
    """Says what became of a run; False if that was said before. One that was taken for lost (`close_lost`) may yet say it."""
    taken_for_lost = job_runs.c.detail == cast(LOST, JSONB)
    ended = await connection.execute(
        update(job_runs)
        .where(job_runs.c.id == run_id, or_(job_runs.c.ended_at.is_(None), taken_for_lost))
        .values(outcome=outcome, ended_at=now, version_id=version_id, detail=dict(detail or {}))
    )
    return ended.rowcount == 1


async def close_lost(connection: AsyncConnection, started_before: datetime, now: datetime) -> int:
    """Marks runs as failed whose process died before it could; returns how many. A run lives while its lock is held."""
    free = func.pg_try_advisory_xact_lock(RUNS, cast(job_runs.c.id % 2**31, Integer))
    lost = await connection.execute(
        update(job_runs)
        .where(job_runs.c.ended_at.is_(None), job_runs.c.started_at < started_before, free)
        .values(outcome="failed", ended_at=now, detail=LOST)
    )
    return lost.rowcount


async def last_started(connection: AsyncConnection, job: str, now: datetime) -> datetime | None:
    """When this job was last begun; a run dated later than `now` was begun by a wrong clock, and says nothing."""
    query = select(func.max(job_runs.c.started_at)).where(job_runs.c.job == job, job_runs.c.started_at <= now)
    found: datetime | None = await connection.scalar(query)
    return found


async def listing(connection: AsyncConnection, limit: int = 100, job: str | None = None) -> list[Run]:
    """The newest runs, newest first."""
    query = select(job_runs).order_by(job_runs.c.started_at.desc(), job_runs.c.id.desc()).limit(limit)
    if job is not None:
        query = query.where(job_runs.c.job == job)
    return [Run(**row._mapping) for row in await connection.execute(query)]


async def newest(connection: AsyncConnection, job: str) -> Run | None:
    """The run of this job that was begun last."""
    return next(iter(await listing(connection, 1, job)), None)


async def under_way(connection: AsyncConnection, run: Run) -> bool:
    """Whether it goes on; a row that its process left open when it died does not."""
    return run.ended_at is None and await lives(connection, run.id)


async def ask(connection: AsyncConnection, wish: Wish) -> None:
    """Tells every learner that listens, as soon as the transaction commits."""
    await connection.execute(select(func.pg_notify(CHANNEL, str(wish))))


def heard(payload: str) -> Wish | None:
    """The wish that was told; None if it is none that this release knows."""
    job, _, behind = payload.partition(" ")
    return Wish(job, int(behind)) if job in ASKABLE and behind.isdecimal() else None
