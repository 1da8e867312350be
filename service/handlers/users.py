"""Erasing a reader."""

from datetime import datetime

from service.deadline import within
from service.node import Node
from service.store.engine import writing
from service.store.erasures import Receipt, erase_user

ERASURE_SECONDS = 30.0  # that the caller waits for the receipt; years of impressions that take longer are erased all the same


async def erase(node: Node, user_id: str, now: datetime) -> Receipt:
    """Removes the reader from the log and from memory, and returns the receipt. Erasing twice is no error.

    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> Receipt:
        async with writing(node.engine) as connection:
            receipt = await erase_user(connection, user_id, now)
        node.live.forget(user_id)
        return receipt

    return await within(ERASURE_SECONDS, work())
