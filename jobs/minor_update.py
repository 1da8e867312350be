"""The minor update as a job: closed impressions → settled duel → next version, in one transaction. [DRN §4.1]"""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from drn import updates
from drn.config import Config
from drn.loop import MINOR_LIMIT
from drn.updates import MinorUpdate
from jobs.line import current_head, unread
from jobs.runner import Outcome, Published, Skipped, single_step
from service.store import duels, impressions, locks, versions
from service.store.impressions import ClosedRun
from service.store.locks import LEARN


async def minor_update(connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Publishes the head's child that has learned from the closed impressions that follow its watermark.

    The lock is the transaction's: two learners never start from the same head, and a learner that dies lets go of it.
    Beyond the horizon an impression with a smaller seq could still appear, so nothing beyond it is learned.
    """
    if not await locks.try_hold(connection, LEARN):
        return Skipped("another learner is at work")
    head = await current_head(connection, config)
    if isinstance(head, Skipped):
        return head
    horizon = (await impressions.horizon(connection)).impressions
    closed_before = now - timedelta(seconds=config.feedback_window)
    run = await impressions.closed_after(connection, head.watermark, horizon, closed_before, now, head.schema, MINOR_LIMIT)
    closed = run.impressions
    if len(closed) < config.minor_impressions:
        return Skipped(
            f"{len(closed)} closed impressions since the last update; {config.minor_impressions} needed", unread(run.undecodable)
        )
    update = past(run, await asyncio.to_thread(updates.minor_update, head, closed, config, now))
    await versions.append(connection, update.version)
    await duels.settle(connection, update)
    return Published(update.version.id, {**update.version.metrics, "verdict": str(update.verdict)})


def past(run: ClosedRun, update: MinorUpdate) -> MinorUpdate:
    """The update, its watermark behind the impressions that could not be read as well, and their number in its metrics."""
    version = update.version
    return replace(update, version=replace(version, watermark=run.end, metrics={**version.metrics, **unread(run.undecodable)}))


MINOR = single_step("minor_update", minor_update)
