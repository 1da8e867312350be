"""The line of versions."""

from typing import Any

from service.deadline import within
from service.node import Node
from service.store import versions
from service.store.engine import reading


async def line(node: Node, limit: int) -> list[dict[str, Any]]:
    """The newest versions, newest first.

    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> list[dict[str, Any]]:
        async with reading(node.engine) as connection:
            rows = await versions.listing(connection, limit)
        return [
            {
                "id": row.id,
                "parent_id": row.parent_id,
                "kind": str(row.kind),
                "created_at": row.created_at,
                "watermark": row.watermark,
                "digest": row.digest,
                "metrics": dict(row.metrics),
                "served": row.id == node.live.version_id,
            }
            for row in rows
        ]

    return await within(node.settings.store_timeout, work())
