"""Editors' rules: set, list, end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from drn.types import Rule
from service.deadline import within
from service.errors import FieldError, NotFound, Unprocessable
from service.node import Node
from service.store import articles, rules
from service.store.engine import reading, writing
from service.store.errors import RuleConflict
from service.store.rules import StoredRule

MOST_RUNNING = 500  # every list looks at each of them
log = structlog.get_logger(__name__)


async def add(node: Node, rule: Rule, now: datetime) -> dict[str, Any]:
    """Sets a rule: it holds from the next list of this process on, and everywhere within a second.

    Raises:
        Unprocessable: no such article, it was withdrawn, the end is past, another rule is in the way, or there are too many.
        Unavailable: the store does not answer.
    """
    if rule.ends_at is not None and rule.ends_at <= now:
        raise refused("ends_at", f"the end {rule.ends_at.isoformat()} is past")

    async def work() -> StoredRule:
        async with writing(node.engine) as connection:
            headline = (await articles.headlines(connection, [rule.article_id])).get(rule.article_id)
            if headline is None:
                raise refused("article_id", f"there is no article {rule.article_id!r}")
            if headline.withdrawn:
                raise refused("article_id", f"article {rule.article_id!r} was withdrawn")
            if len(await rules.running(connection, now)) >= MOST_RUNNING:
                raise refused("body", f"{MOST_RUNNING} rules are running, which is the most: end one first")
            try:
                return await rules.add(connection, rule, now)
            except RuleConflict as error:
                raise refused("article_id" if error.of_article else "position", str(error)) from error

    added = await within(node.settings.store_timeout, work())
    await go_by_rules(node)
    return described(node, [added], now)[0]


async def listing(node: Node, now: datetime, ended: bool, limit: int) -> list[dict[str, Any]]:
    """The running rules, oldest first; or the newest `limit` ones that ever were, newest first.

    Raises:
        Unavailable: the store does not answer.
    """

    async def work() -> list[StoredRule]:
        async with reading(node.engine) as connection:
            if ended:
                return await rules.listing(connection, limit)
            return await rules.running(connection, now)

    return described(node, await within(node.settings.store_timeout, work()), now)


async def end(node: Node, rule_id: int, now: datetime) -> None:
    """Ends a rule: it stays on record, and no list goes by it any more.

    Raises:
        NotFound: no rule of this id is running.
        Unavailable: the store does not answer.
    """

    async def work() -> bool:
        async with writing(node.engine) as connection:
            return await rules.end(connection, rule_id, now)

    if not await within(node.settings.store_timeout, work()):
        raise NotFound(f"no rule {rule_id} is running")
    await go_by_rules(node)


async def go_by_rules(node: Node) -> None:
    """Lets this process's next list go by what is committed. Where that fails nothing is undone: the follower looks soon."""
    try:
        await within(node.settings.store_timeout, node.follower.follow_rules())
    except Exception as error:
        log.warning("the rules are not followed yet", reason=str(error))


def described(node: Node, stored: Sequence[StoredRule], now: datetime) -> list[dict[str, Any]]:
    """The rules for a person, each with its article's title and whether that can be in a list now."""
    _, gone = node.live.catalogue.rows([each.rule.article_id for each in stored], now)
    return [
        {
            "id": each.id,
            "kind": each.rule.kind,
            "article_id": each.rule.article_id,
            "title": each.title,
            "live": each.rule.article_id not in gone,
            "surface": each.rule.surface,
            "position": each.rule.position,
            "most": each.rule.most,
            "boost": each.rule.boost,
            "created_at": each.created_at,
            "ends_at": each.rule.ends_at,
            "ended_at": each.ended(now),
        }
        for each in stored
    ]


def refused(field: str, reason: str) -> Unprocessable:
    return Unprocessable(reason, (FieldError(field, reason),))
