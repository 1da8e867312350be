"""The learner process: which job runs when, and how it ends."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
import torch
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.ext.asyncio import AsyncEngine

from drn.config import Config
from drn.loop import MINOR_LIMIT
from jobs import runner, upkeep
from jobs.errors import Stopped
from jobs.guard import GUARD
from jobs.line import current_head
from jobs.major_retrain import major_retrain
from jobs.minor_update import MINOR
from jobs.runner import Clock, Job, Outcome, Published
from jobs.settings import LearnerSettings
from service.store import locks, runs
from service.store.engine import reading, writing
from service.store.errors import StoreUnavailable
from service.store.locks import Lock
from service.store.notifications import Listener
from service.store.runs import Wish

SLACK = 0.9  # of a period: a run of another learner that is younger than this counts as this one's
HOUR = 3_600.0
LISTEN_SECONDS = 1.0  # after which a connection that was lost is made again

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """A job and how often it is due."""

    name: str
    period: float  # seconds
    work: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Learner:
    """The jobs of one process. Any number of processes may run: locks let one learn, the ledger says what is due."""

    engine: AsyncEngine
    config: Config
    settings: LearnerSettings
    clock: Clock
    stopping: bool = False
    running: set["asyncio.Task[Any]"] = field(default_factory=set)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (
            Task("partitions", 6 * HOUR, lambda: self.once(upkeep.PARTITIONS)),
            Task("minor_update", self.config.minor_period, self.minor),
            Task("major_retrain", self.config.major_period, lambda: self.once(major_retrain(self.check_training))),
            Task("prune", HOUR, self.count_and_prune),
        )

    async def begin(self) -> None:
        """Begins the line where there is none, makes sure that today can be written to, and closes the rows of the dead.

        Raises:
            SchemaMismatch: the line was learned with other features or layers than those configured.
        """
        await self.run(upkeep.PARTITIONS)
        await self.run(upkeep.FIRST_VERSION)
        async with reading(self.engine) as connection:
            await current_head(connection, self.config)
        async with writing(self.engine) as connection:
            await upkeep.close_lost_runs(connection, self.clock())

    async def schedule(self) -> AsyncIOScheduler:
        """A scheduler with every job, not yet started. What was due while no learner ran is due at once."""
        scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for task in self.tasks:
            now, period = self.clock(), timedelta(seconds=task.period)
            last = await self.last_started(task.name)
            first = now + period if last is None else max(now, last + period)
            scheduler.add_job(self.tick, IntervalTrigger(seconds=task.period), args=(task,), id=task.name, next_run_time=first)
        return scheduler

    async def tick(self, task: Task) -> None:
        """Runs what is due."""
        await self.attempt(task, self.work_if_due(task))

    async def fulfil(self, wish: Wish) -> None:
        """Runs what was asked for, due or not."""
        task = next(task for task in self.tasks if task.name == wish.job)
        await self.attempt(task, self.work_unless_begun(task, wish))

    async def attempt(self, task: Task, working: Coroutine[Any, Any, None]) -> None:
        """A failure is in the ledger and in the log, and the next tick tries again.

        APScheduler cancels its jobs when it ends; a transaction at work must not end in the middle, so it is shielded.
        """
        work = asyncio.ensure_future(working)
        self.running.add(work)
        work.add_done_callback(self.running.discard)
        try:
            await asyncio.shield(work)
        except StoreUnavailable as error:
            log.warning("PostgreSQL is away; the next tick tries again", job=task.name, error=str(error))
        except Stopped as stopped:
            log.info("training was given up", job=task.name, when=str(stopped))
        except Exception:
            log.exception("a job failed", job=task.name)

    async def work_if_due(self, task: Task) -> None:
        if not self.stopping and due(await self.last_started(task.name), self.clock(), task.period):
            await task.work()

    async def work_unless_begun(self, task: Task, wish: Wish) -> None:
        """Every learner hears a wish: one takes it up, and a run that has begun since it was uttered fulfils it."""
        async with taken_up(self.engine, wish) as ours:
            if ours and not self.stopping and await self.newest_run(task.name) == wish.behind:
                await task.work()

    async def newest_run(self, name: str) -> int:
        async with reading(self.engine) as connection:
            run = await runs.newest(connection, name)
        return run.id if run else 0

    async def last_started(self, name: str) -> datetime | None:
        async with reading(self.engine) as connection:
            return await runs.last_started(connection, name, self.clock())

    async def minor(self) -> None:
        """Minor updates until the log is consumed: after an outage there is more than one update's worth. Each is guarded."""
        while not self.stopping:
            outcome = await self.run(MINOR)
            if not isinstance(outcome, Published):
                return
            await self.run(GUARD)
            if outcome.detail["impressions"] != MINOR_LIMIT:
                return

    async def count_and_prune(self) -> None:
        """Retention only after what it drops has been counted: a count that fails stops both until the next tick."""
        await self.once(upkeep.COUNT_LOG)
        await self.once(upkeep.prune(self.settings))

    async def once(self, job: Job) -> None:
        await self.run(job)

    async def run(self, job: Job) -> Outcome:
        return await runner.run(self.engine, job, self.config, self.clock)

    def check_training(self, done: int, steps: int) -> None:
        """Called between training steps: the one piece of work that would keep the process from ending for minutes.

        Raises:
            Stopped: the learner was asked to end.
        """
        if self.stopping:
            raise Stopped(f"after {done} of {steps} steps")

    async def end(self) -> None:
        """Waits for the transactions at work. A training is given up, which loses nothing that was committed."""
        self.stopping = True
        if self.running:
            await asyncio.wait(self.running)


@asynccontextmanager
async def taken_up(engine: AsyncEngine, wish: Wish) -> AsyncIterator[bool]:
    """Whether the wish could be taken up; if so it is held, by a connection of its own, until the block ends."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        ours = await locks.try_hold_wish(connection, str(wish))
        try:
            yield ours
        finally:
            if ours:
                await locks.release_wish(connection, str(wish))


def due(last: datetime | None, now: datetime, period: float) -> bool:
    """Whether it is time again. With several learners each ticks, but only the first of a period finds the job due."""
    return last is None or now - last >= timedelta(seconds=SLACK * period)


@asynccontextmanager
async def heeding(learner: Learner, scheduler: AsyncIOScheduler) -> AsyncIterator[None]:
    """Within it, and as long as PostgreSQL is there, the learner can be asked for a run, and others can see that it can."""
    url = learner.engine.url.render_as_string(hide_password=False)
    async with Listener(url, (runs.CHANNEL,), presence=Lock.LISTENING) as listener:
        task = asyncio.create_task(heed(learner, scheduler, listener), name="wishes")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


async def heed(learner: Learner, scheduler: AsyncIOScheduler, listener: Listener) -> None:
    """Fulfils wishes as they come. The next scheduled run is a period later, whichever learner takes the wish up."""
    periods = {task.name: timedelta(seconds=task.period) for task in learner.tasks}
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                for notice in await listener.notices(LISTEN_SECONDS):
                    if (wish := runs.heard(notice.payload)) is None:
                        log.warning("a wish that this release does not know", wish=notice.payload)
                        continue
                    scheduler.modify_job(wish.job, next_run_time=learner.clock() + periods[wish.job])
                    group.create_task(learner.fulfil(wish))
    except Exception:
        log.exception("wishes are no longer heard")
        await listener.close()  # nobody must believe that they are


async def serve(learner: Learner) -> None:
    """Learns until SIGTERM or SIGINT."""
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_end.set)
    torch.set_num_threads(learner.settings.threads)
    await learner.begin()
    scheduler = await learner.schedule()
    scheduler.start()
    log.info("learning", minor_period=learner.config.minor_period, major_period=learner.config.major_period)
    async with heeding(learner, scheduler):
        await asked_to_end.wait()
    scheduler.pause()
    await learner.end()
    scheduler.shutdown(wait=False)
