"""Look-ups for many requests at once: lists that feedback speaks of and readers' pasts, as far as they are not in memory.

Most readers of a news site come for the first time or seldom, and feedback may follow its list after an hour. Asked for one by
one, in a transaction of its own each, a past or a list costs PostgreSQL and this process about ten times as much.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Generic, Self, TypeVar

import orjson

from service.store.engine import SERVING
from service.store.group_commit import WAIT_SECONDS, Connection, GroupCommit
from service.store.impression_rows import texts
from service.store.impressions import ShownList
from service.store.prepared import Prepared

LISTS = 1_000  # that one query looks for, about
READERS = 8  # likewise: who is read together with one whose past is long waits for it
READER_LANES = 4
READER_SECONDS = 5.0  # for a past that is very long: its first request is told to come again, and later ones find it read

# The registry's (seq, at) lead to one partition and one entry of its primary key.
LIST = """
SELECT json_build_array(impressions.request_id, impressions.seq, impressions.at, impressions.user_id, impressions.shown)
FROM requests JOIN impressions ON impressions.seq = requests.seq AND impressions.at = requests.at
WHERE requests.request_id = ANY($1::text[])
"""
HISTORY = """
SELECT json_build_array(
    reader.user_id,
    (
        SELECT json_agg(json_build_array(article_id, at) ORDER BY at, seq)
        FROM (
            SELECT article_id, at, seq FROM feedback WHERE user_id = reader.user_id AND type = 'click'
            ORDER BY at DESC, seq DESC LIMIT $2
        ) AS newest
    ),
    (
        SELECT json_object_agg(article_id, times)
        FROM (
            SELECT article_id, count(*) AS times FROM impressions, unnest(shown) AS article_id
            WHERE user_id = reader.user_id GROUP BY article_id
        ) AS counted
    )
)
FROM unnest($1::text[]) AS reader (user_id)
"""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class History:
    """One reader's past: newest clicks, oldest first, and how often each article was shown."""

    clicks: tuple[tuple[str, datetime], ...]
    shown: Mapping[str, int]


class ShownLists:
    """How a group of look-ups is answered. See `service.store.group_commit.Log`; nothing is written, so none is lost."""

    def __init__(self) -> None:
        self._statement = Prepared("shown_lists", LIST)

    async def commit(self, connection: Connection, items: Sequence[Collection[str]]) -> list[Mapping[str, ShownList] | Exception]:
        wanted = {request_id for each in items for request_id in each}
        rows = await self._statement.rows(connection, (texts([*wanted]),))
        found = {shown.request_id: shown for shown in (shown_list(document) for (document,) in rows)}
        return [{request_id: found[request_id] for request_id in each if request_id in found} for each in items]

    async def committed(self, _: Connection, items: Sequence[Collection[str]]) -> list[None]:
        return [None for _ in items]


class Histories:
    """The same for readers' pasts."""

    def __init__(self, clicks: int) -> None:
        self._statement = Prepared("histories", HISTORY)
        self._clicks = str(clicks)

    async def commit(self, connection: Connection, items: Sequence[str]) -> list[History | Exception]:
        rows = await self._statement.rows(connection, (texts([*dict.fromkeys(items)]), self._clicks))
        found = dict(history(document) for (document,) in rows)
        return [found[user_id] for user_id in items]

    async def committed(self, _: Connection, items: Sequence[str]) -> list[None]:
        return [None for _ in items]


def shown_list(document: bytes) -> ShownList:
    request_id, seq, at, user_id, shown = orjson.loads(document)
    return ShownList(request_id, seq, datetime.fromisoformat(at), user_id, tuple(shown))


def history(document: bytes) -> tuple[str, History]:
    user_id, clicks, shown = orjson.loads(document)
    times = tuple((article_id, datetime.fromisoformat(at)) for article_id, at in clicks or ())
    return user_id, History(times, shown or {})


def nothing(_: object) -> None:
    """What follows from a look-up by itself."""


class Lookup(Generic[T, R]):
    """Looks up over connections of its own, in groups: while all of them are busy, the next requests gather."""

    def __init__(self, group: GroupCommit[T, R]) -> None:
        self._group = group

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._group.close()

    async def find(self, wanted: T, seconds: float = WAIT_SECONDS) -> R:
        """
        Raises:
            StoreUnavailable: PostgreSQL did not answer within `seconds`.
        """
        return await self._group.write(wanted, seconds)


class ListLookup(Lookup[Collection[str], Mapping[str, ShownList]]):
    """The lists served under some request ids; unknown ids are absent."""

    def __init__(self, url: str) -> None:
        super().__init__(GroupCommit(url, "drn list lookup", ShownLists(), nothing, size=len, full=LISTS, beside=1))


class HistoryLookup(Lookup[str, History]):
    """What features know of a reader, as far as the log goes back.

    Args:
        clicks: at most so many of the newest.
    """

    def __init__(self, url: str, clicks: int) -> None:
        super().__init__(
            GroupCommit(
                url,
                "drn history lookup",
                Histories(clicks),
                nothing,
                full=READERS,
                lanes=READER_LANES,
                beside=1,
                timeouts=SERVING,
            )
        )

    async def find(self, wanted: str, seconds: float = READER_SECONDS) -> History:
        return await super().find(wanted, seconds)
