"""Lists by their request ids, for many requests at once: feedback on what was served too long ago to be still in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import orjson

from service.store.group_commit import WAIT_SECONDS, Connection, GroupCommit
from service.store.impression_rows import texts
from service.store.impressions import ShownList
from service.store.prepared import Prepared

LISTS = 1_000  # that one query looks for, about

# The registry's (seq, at) lead to one partition and one entry of its primary key.
LOOKUP = """
SELECT json_build_array(impressions.request_id, impressions.seq, impressions.at, impressions.user_id, impressions.shown)
FROM requests JOIN impressions ON impressions.seq = requests.seq AND impressions.at = requests.at
WHERE requests.request_id = ANY($1::text[])
"""


class ShownLists:
    """How a group of look-ups is answered. See `service.store.group_commit.Log`; nothing is written, so none is lost."""

    def __init__(self) -> None:
        self._statement = Prepared("shown_lists", LOOKUP)

    async def commit(self, connection: Connection, items: Sequence[Collection[str]]) -> list[Mapping[str, ShownList] | Exception]:
        """The lists that each asked for and that there are."""
        wanted = {request_id for each in items for request_id in each}
        rows = await self._statement.rows(connection, (texts([*wanted]),))
        found = {shown.request_id: shown for shown in (shown_list(document) for (document,) in rows)}
        return [{request_id: found[request_id] for request_id in each if request_id in found} for each in items]

    async def committed(self, _: Connection, items: Sequence[Collection[str]]) -> list[None]:
        return [None for _ in items]


def shown_list(document: bytes) -> ShownList:
    request_id, seq, at, user_id, shown = orjson.loads(document)
    return ShownList(request_id, seq, datetime.fromisoformat(at), user_id, tuple(shown))


class ListLookup:
    """Looks lists up over connections of its own, in groups: while one is under way, the next requests gather."""

    def __init__(self, url: str) -> None:
        self._group = GroupCommit(url, "drn list lookup", ShownLists(), lambda _: None, len, LISTS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._group.close()

    async def find(self, request_ids: Collection[str], seconds: float = WAIT_SECONDS) -> Mapping[str, ShownList]:
        """The lists served under these request ids; unknown ids are absent.

        Raises:
            StoreUnavailable: PostgreSQL did not answer within `seconds`.
        """
        return await self._group.write(request_ids, seconds) if request_ids else {}
