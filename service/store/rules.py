"""Editors' rules: set and ended, never changed and never deleted."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Rule, RuleKind
from service.store.errors import RuleConflict
from service.store.tables import articles, rules

CHANNEL = "drn_rules"
TITLED = select(rules, articles.c.title).join_from(rules, articles)
NOT_ENDED = rules.c.ended_at.is_(None)


@dataclass(frozen=True, slots=True)
class StoredRule:
    id: int
    rule: Rule
    title: str  # of its article, as of now
    created_at: datetime
    ended_at: datetime | None

    def ended(self, now: datetime) -> datetime | None:
        """Since when it no longer holds, if it does not."""
        over = self.rule.ends_at is not None and self.rule.ends_at <= now
        return self.ended_at or (self.rule.ends_at if over else None)


async def add(connection: AsyncConnection, rule: Rule, now: datetime) -> StoredRule:
    """Sets a rule, which holds from now on.

    Raises:
        RuleConflict: another pin holds this place, or the article has a running rule of this kind there; the message says which.
    """
    await note_ends(connection, now)
    values = {
        "kind": rule.kind,
        "article_id": rule.article_id,
        "surface": rule.surface,
        "position": rule.position,
        "most": rule.most,
        "boost": rule.boost,
        "created_at": now,
        "ends_at": rule.ends_at,
    }
    number = await connection.scalar(insert(rules).values(values).on_conflict_do_nothing().returning(rules.c.id))
    if number is None:
        raise await in_the_way(connection, rule)
    await notify(connection)
    return stored((await connection.execute(TITLED.where(rules.c.id == number))).one())


async def end(connection: AsyncConnection, rule_id: int, now: datetime) -> bool:
    """Ends a rule; False if none of this id is running."""
    await note_ends(connection, now)
    this = and_(rules.c.id == rule_id, NOT_ENDED)
    ended = await connection.execute(update(rules).where(this).values(ended_at=func.greatest(now, rules.c.created_at)))
    await notify(connection)
    return ended.rowcount > 0


async def running(connection: AsyncConnection, now: datetime) -> list[StoredRule]:
    """The rules that nobody has ended and that are not past their end, oldest first."""
    query = TITLED.where(NOT_ENDED, or_(rules.c.ends_at.is_(None), rules.c.ends_at > now)).order_by(rules.c.id)
    return [stored(found) for found in await connection.execute(query)]


async def listing(connection: AsyncConnection, limit: int) -> list[StoredRule]:
    """The record: the newest rules, running or not, newest first."""
    return [stored(found) for found in await connection.execute(TITLED.order_by(rules.c.id.desc()).limit(limit))]


async def note_ends(connection: AsyncConnection, now: datetime) -> None:
    """Puts on record which rules are past their end, so that their places are free."""
    over = and_(NOT_ENDED, rules.c.ends_at <= now)
    await connection.execute(update(rules).where(over).values(ended_at=rules.c.ends_at))


async def in_the_way(connection: AsyncConnection, rule: Rule) -> RuleConflict:
    """Why this rule cannot be set beside the running ones."""
    same = rules.c.article_id == rule.article_id
    if rule.position is not None:
        same |= rules.c.position == rule.position
    clash = and_(NOT_ENDED, rules.c.kind == rule.kind, rules.c.surface.is_not_distinct_from(rule.surface), same)
    found = (await connection.execute(TITLED.where(clash).order_by(rules.c.id).limit(1))).one_or_none()
    if found is None:
        return RuleConflict("another rule was in the way, and has ended in this very moment", of_article=True)
    where = f"on surface {found.surface!r}" if found.surface else "on every surface"
    article = f"article {found.article_id!r} ({found.title})"
    if found.article_id == rule.article_id:
        return RuleConflict(f"{article} has a {rule.kind} {where} already: rule {found.id}", of_article=True)
    return RuleConflict(f"{article} is pinned there {where} already: rule {found.id}", of_article=False)


async def notify(connection: AsyncConnection) -> None:
    await connection.execute(select(func.pg_notify(CHANNEL, "")))


def stored(found: Row[tuple[object, ...]]) -> StoredRule:
    kind = RuleKind(found.kind)
    rule = Rule(kind, found.article_id, found.surface, found.position, found.most, found.boost, found.ends_at)
    return StoredRule(found.id, rule, found.title, found.created_at, found.ended_at)
