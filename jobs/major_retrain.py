"""The major update as a job: replay → double-Q training outside any transaction → a child of whatever the head is by then."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from drn import updates
from drn.config import Config
from drn.retraining import Progress
from drn.updates import Retrained
from drn.versions import Version
from jobs.line import current_head, unread
from jobs.runner import Job, Outcome, Published, Skipped, Step, Transaction
from service.store import impressions, locks, versions
from service.store.locks import LEARN, RETRAIN

NAME = "major_retrain"


def major_retrain(progress: Progress | None = None) -> Job:
    """The job. `progress` is called in the training thread with (steps done, steps in all); what it raises ends the run."""

    async def train(transaction: Transaction, config: Config, now: datetime) -> Step | Skipped:
        async with transaction() as connection:
            base = await current_head(connection, config)
            if isinstance(base, Skipped):
                return base
            horizon = (await impressions.horizon(connection)).impressions
            closed_before = now - timedelta(seconds=config.feedback_window)
            run = await impressions.newest_closed(connection, horizon, closed_before, base.schema, config.replay_impressions)
        closed = run.impressions
        if len(closed) < config.major_impressions:
            return Skipped(f"{len(closed)} closed impressions in replay; {config.major_impressions} needed", unread(run))
        retrained = await asyncio.to_thread(updates.major_update, base, closed, config, now, progress)
        retrained = replace(retrained, metrics={**retrained.metrics, **unread(run)})
        if not retrained.accepted:
            return Skipped("the retrained network did not pass its gate", dict(retrained.metrics))
        return partial(publish, base, retrained)

    return Job(NAME, train, RETRAIN)


async def publish(base: Version, retrained: Retrained, connection: AsyncConnection, config: Config, now: datetime) -> Outcome:
    """Appends θ_major + (head − base): the minor updates that landed during training keep what they learned.

    Where a rollback or another major update landed, head − base is no learning any more: adding it would undo it.
    """
    await locks.hold(connection, LEARN)
    head = await current_head(connection, config)
    if isinstance(head, Skipped):
        return head
    if (landed := await versions.break_after(connection, base.id)) is not None:
        number, kind = landed
        return Skipped(f"version {number} ({kind}) landed meanwhile", {**retrained.metrics, "base": base.id})
    version = updates.publish_retrained(retrained, base, head, config, now)
    await versions.append(connection, version)
    return Published(version.id, dict(version.metrics))
