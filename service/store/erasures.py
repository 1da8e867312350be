"""Erasing one reader everywhere, with a receipt that names nobody."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.duels import one_of, unname
from service.store.tables import duel_outcomes, erasures, feedback, impressions, requests

CHANNEL = "drn_erasures"
SALT_BYTES = 16
PATIENCE = {"statement_timeout": 600, "lock_timeout": 30}  # seconds: a reader may have years of lists, and a learner is at work


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was erased. Whoever has the receipt and a user id can tell whether they belong together."""

    id: int
    at: datetime
    salt: bytes
    reader: bytes
    impressions: int
    feedback: int
    outcomes: int

    def concerns(self, user_id: str) -> bool:
        return secrets.compare_digest(self.reader, fingerprint(self.salt, user_id))


def fingerprint(salt: bytes, user_id: str) -> bytes:
    return hashlib.sha256(salt + user_id.encode()).digest()


async def erase_user(connection: AsyncConnection, user_id: str, now: datetime) -> Receipt:
    """Deletes the reader's impressions, request ids and feedback, and unlinks what they said in duels.

    Outcomes stay as anonymous numbers: what was learned from them is not unlearned, and the log of duels must add up.
    A learner that settles these very impressions is waited for, which takes as long as its last writes.
    """
    await connection.execute(select(*(func.set_config(name, f"{seconds * 1_000}", True) for name, seconds in PATIENCE.items())))
    lists, events, outcomes, more = 0, 0, 0, True
    while more:  # each statement sees what was committed while the one before it ran: lists that were just being served
        some, about = await erase_lists(connection, user_id)
        found = await unname(connection, duel_outcomes.c.user_id == user_id)
        lists, events, outcomes = lists + some, events + about, outcomes + found
        more = some + about + found > 0
    salt = secrets.token_bytes(SALT_BYTES)
    reader = fingerprint(salt, user_id)
    counts = {"impressions": lists, "feedback": events, "outcomes": outcomes}
    receipt = insert(erasures).values(at=now, salt=salt, reader=reader, **counts).returning(erasures.c.id)
    receipt_id = (await connection.execute(receipt)).scalar_one()
    await connection.execute(select(func.pg_notify(CHANNEL, str(receipt_id))))
    return Receipt(receipt_id, now, salt, reader, **counts)


async def erase_lists(connection: AsyncConnection, user_id: str) -> tuple[int, int]:
    """Deletes what there is now; how many impressions and how many events."""
    gone = await connection.execute(
        delete(impressions).where(impressions.c.user_id == user_id).returning(impressions.c.request_id)
    )
    ids = [row.request_id for row in gone]
    served = one_of(ids)
    # In the order in which a learner holds them (`duels.hold_requests`): what it writes, statements after this one see.
    await connection.execute(
        select(requests.c.request_id).where(requests.c.request_id == served).order_by(requests.c.request_id).with_for_update()
    )
    events = await connection.execute(delete(feedback).where(or_(feedback.c.user_id == user_id, feedback.c.request_id == served)))
    await connection.execute(delete(requests).where(requests.c.request_id == served))
    return len(ids), events.rowcount


async def since(connection: AsyncConnection, receipt_id: int) -> list[Receipt]:
    """The receipts after this one, so that every process can drop the reader from its memory."""
    query = select(erasures).where(erasures.c.id > receipt_id).order_by(erasures.c.id)
    return [Receipt(**row._mapping) for row in await connection.execute(query)]
