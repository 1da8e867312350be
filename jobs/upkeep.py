"""What keeps the store in shape: the first version, days to write to, old rows and weights, and a truthful ledger."""

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from drn.config import Config
from drn.versions import initial_version
from jobs.runner import Done, Job, Outcome, Published, Skipped, Step, Transaction, single_step
from jobs.settings import LearnerSettings
from service.store import locks, runs, versions
from service.store.counters import count_log
from service.store.locks import LEARN, UPKEEP
from service.store.partitions import Pruned, day_of, ensure_partitions
from service.store.partitions import prune as prune_days

DAYS_AHEAD = 3  # a learner that is away for a weekend does no harm; the service makes missing days itself
LOST_AFTER = timedelta(seconds=10)  # a run takes the lock that says that it lives within milliseconds of opening its row


async def append_first(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Begins the line with an untrained version, unless it has begun."""
    await locks.hold(connection, LEARN)
    if await versions.head_id(connection) is not None:
        return Skipped("the line has begun")
    await versions.append(connection, initial_version(config, now))
    return Published(1)


async def append_anew(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Goes on with an untrained version of the configured features and layers, whatever the versions before it have.

    Impressions made for other features are stepped over by the learner; versions and decisions of the past stay.
    """
    await locks.hold(connection, LEARN)
    if (end := await versions.end(connection)) is None:
        return Skipped("there is no version yet")
    version = initial_version(config, now, parent_id=end.id, watermark=end.watermark)
    await versions.append(connection, version)
    return Published(version.id)


async def make_days(connection: AsyncConnection, _config: Config, now: datetime) -> Outcome:
    """Creates today's partition and those of the next days, before anyone must wait for it."""
    days = [day_of(now) + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    await ensure_partitions(connection, days)
    return Done({"until": str(days[-1])})


async def count(connection: AsyncConnection, _config: Config, now: datetime) -> Outcome:
    """Counts the log by the windows' buckets, so that a starting API process need not read a year of it."""
    end = await count_log(connection, now)
    return Done({"impressions": end.impressions, "feedback": end.feedback})


def prune(settings: LearnerSettings) -> Job:
    """The job that drops old days, old feedback and the weights of old versions, in many short transactions."""
    return Job("prune", partial(drop_old, settings), UPKEEP)


async def drop_old(settings: LearnerSettings, transaction: Transaction, _config: Config, now: datetime) -> Step:
    today = day_of(now)
    gone = await prune_days(
        transaction,
        impressions_before=today - timedelta(days=settings.keep_impression_days),
        feedback_before=today - timedelta(days=settings.keep_feedback_days),
    )
    return partial(drop_weights, settings, gone)


async def drop_weights(
    settings: LearnerSettings, gone: Pruned, connection: AsyncConnection, _config: Config, now: datetime
) -> Outcome:
    since = now - timedelta(days=settings.keep_weight_days)
    networks = await versions.prune(connection, since, settings.keep_versions, now)
    lost = await close_lost_runs(connection, now)
    counts = {"impressions": gone.impressions, "feedback": gone.feedback, "outcomes": gone.outcomes}
    return Done({**counts, "networks": networks, "lost_runs": lost})


async def close_lost_runs(connection: AsyncConnection, now: datetime) -> int:
    """Closes the rows of runs that ended without a word (`kill -9`)."""
    return await runs.close_lost(connection, now - LOST_AFTER, now)


FIRST_VERSION = single_step("first_version", append_first)
NEW_LINE = single_step("new_line", append_anew)
PARTITIONS = single_step("partitions", make_days)
COUNT_LOG = single_step("count_log", count)
