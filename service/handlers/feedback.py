"""Events → the log: all of a request or none."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from drn.config import Config
from drn.types import Event
from service.deadline import RETRY, within
from service.errors import FieldError, NotFound, Unavailable, Unprocessable
from service.node import Node
from service.store import articles
from service.store.engine import reading
from service.store.errors import NoSuchRequest, StoreUnavailable
from service.store.feedback import Recorded
from service.store.impressions import ShownList

# Needed by the core whatever the settings reward: `seen` says which places a reader looked at.
KNOWN_TYPES = frozenset({"click", "dwell", "read", "like", "share", "hide", "seen"})
ERASING_SECONDS = 0.02  # between two looks at a list that somebody is just erasing


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one event cannot be stored, and whether that is because its request does not exist."""

    error: FieldError
    missing: bool = False


async def record(node: Node, events: Sequence[Event], now: datetime) -> Recorded:
    """Stores the events. Their writer brings the memory up to date with its commit.

    Raises:
        NotFound: every faulty event names a request that does not exist.
        Unprocessable: an unknown type, a value out of range, an article that was not in that list or does not exist.
        Unavailable: the store does not answer. The same events may be sent again.
    """
    refuse(check_values(events, node.config))
    recorded = await store(node, events, now, time.monotonic() + node.settings.store_timeout)
    for kind, times in Counter([each.event.type for each in recorded.stored]).items():
        node.metrics.events.labels(kind).inc(times)
    if recorded.duplicates:
        node.metrics.duplicates.inc(recorded.duplicates)
    return recorded


async def store(node: Node, events: Sequence[Event], now: datetime, deadline: float) -> Recorded:
    """What is in memory of lists was true once; that it still is, the write itself makes sure."""
    catalogue = node.live.catalogue
    request_ids = {event.request_id for event in events if event.request_id}
    lists = {shown.request_id: shown for request_id in request_ids if (shown := node.live.lists.get(request_id))}
    looked_up: Mapping[str, ShownList] = {}
    if len(lists) < len(request_ids):
        looked_up = await logged(node, request_ids - lists.keys(), deadline - time.monotonic())
        lists |= looked_up
    if unknown := {event.article_id for event in events if not event.request_id and event.article_id not in catalogue}:
        await within(deadline - time.monotonic(), look_for(node, unknown))
    while True:
        refuse(check_places(events, lists, catalogue.__contains__))
        credited = [attributed(event, lists) for event in events]
        try:
            seqs = {request_id: shown.seq for request_id, shown in lists.items()}
            recorded = await node.feedback.write(credited, seqs, now, deadline - time.monotonic())
        except NoSuchRequest:  # erased since, or being erased: what the log says once that has ended is the answer
            await asyncio.sleep(ERASING_SECONDS)
            looked_up = await logged(node, request_ids, deadline - time.monotonic())
            lists = dict(looked_up)
        except StoreUnavailable as error:
            node.follower.doubt()
            raise Unavailable(RETRY) from error
        else:
            for shown in looked_up.values():  # which the write has just found to be there
                node.live.lists.remember(shown)
            return recorded


async def look_for(node: Node, article_ids: Collection[str]) -> None:
    """Takes articles into memory that another process was given a moment ago."""
    async with reading(node.engine) as connection:
        known = await articles.present(connection, article_ids)
    if known:
        await node.follower.follow_articles()


async def logged(node: Node, request_ids: Collection[str], seconds: float) -> Mapping[str, ShownList]:
    """Those of the lists that are in the log."""
    try:
        return await node.lists.find(request_ids, seconds)
    except StoreUnavailable as error:
        raise Unavailable(RETRY) from error


def attributed(event: Event, lists: Mapping[str, ShownList]) -> Event:
    """The event with the reader of its list, if that list had one, and no earlier than the list.

    A device whose clock is wrong must not put a click before what was clicked.
    """
    shown = lists.get(event.request_id) if event.request_id else None
    if shown is None:
        return event
    user_id, at = shown.user_id or event.user_id, max(event.at, shown.at)
    return Event(event.event_id, event.article_id, event.type, at, event.value, event.request_id, user_id)


def check_values(events: Sequence[Event], config: Config) -> list[Fault]:
    """What is wrong with the events by themselves."""
    types = KNOWN_TYPES | config.event_rewards.keys()
    faults = []
    for place, event in enumerate(events):
        if event.type not in types:
            faults.append(fault(place, event, "type", f"{event.type!r} is none of {', '.join(sorted(types))}"))
        elif event.type == "dwell" and (event.value is None or event.value < 0):
            faults.append(fault(place, event, "value", "a dwell needs the seconds, at least 0"))
        elif event.type == "read" and (event.value is None or not 0 <= event.value <= 1):
            faults.append(fault(place, event, "value", "a read needs the share of the article, from 0 to 1"))
    return faults


def check_places(events: Sequence[Event], lists: Mapping[str, ShownList], exists: Callable[[str], bool]) -> list[Fault]:
    """What is wrong with the events given the lists that they speak of."""
    faults = []
    for place, event in enumerate(events):
        if event.request_id is None:
            if not exists(event.article_id):
                faults.append(fault(place, event, "article_id", f"there is no article {event.article_id!r}"))
            continue
        shown = lists.get(event.request_id)
        if shown is None:
            faults.append(fault(place, event, "request_id", f"there is no request {event.request_id!r}", missing=True))
        elif event.article_id not in shown.article_ids:
            reason = f"article {event.article_id!r} was not in the list of request {event.request_id!r}"
            faults.append(fault(place, event, "article_id", reason))
        elif event.user_id and shown.user_id and event.user_id != shown.user_id:
            faults.append(fault(place, event, "user_id", f"request {event.request_id!r} was another reader's"))
    return faults


def fault(place: int, event: Event, field: str, reason: str, *, missing: bool = False) -> Fault:
    return Fault(FieldError(f"events.{place}.{field}", f"event {event.event_id!r}: {reason}"), missing)


def refuse(faults: Sequence[Fault]) -> None:
    """Raises for the faults, if there are any: nothing of the request is stored."""
    if not faults:
        return
    kind = NotFound if all(each.missing for each in faults) else Unprocessable
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    raise kind(f"nothing was stored: {faults[0].error.message}{more}", tuple(each.error for each in faults[:100]))
