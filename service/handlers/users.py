"""Erasing a reader."""

from datetime import datetime

from service.deadline import within
from service.errors import Unavailable
from service.node import Node
from service.store.engine import writing
from service.store.erasures import Receipt, erase_user
from service.store.locks import try_hold_erasure

ERASURE_SECONDS = 30.0  # that the caller waits for the receipt; what takes longer goes on (`erasures.PATIENCE`)


async def erase(node: Node, user_id: str, now: datetime) -> Receipt:
    """Removes the reader from the log and from memory, and returns the receipt. Erasing twice is no error.

    Raises:
        Unavailable: the store does not answer, or this reader is being erased already.
    """

    async def work() -> Receipt:
        async with writing(node.engine) as connection:
            if not await try_hold_erasure(connection, user_id):
                raise Unavailable("this reader is being erased; ask again when that is done")
            receipt = await erase_user(connection, user_id, now)
        node.live.forget(user_id)
        return receipt

    return await within(ERASURE_SECONDS, work())
