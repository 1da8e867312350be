"""Editors' rules for the whole site become part of the request, so that what is decided and logged is a request like any."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from drn.catalogue import Catalogue
from drn.errors import NoCandidates
from drn.ranking import candidate_rows
from drn.readers import Reader
from drn.types import Boost, Pin, RankRequest, Rule

CAPS_IGNORED = "every candidate had been shown to this reader as often as editors allow: their caps were ignored"


def edited(
    request: RankRequest, rules: Sequence[Rule], catalogue: Catalogue, reader: Reader, now: datetime
) -> tuple[RankRequest, str | None]:
    """The request with the rules that hold for it: pins among its own, capped articles among its exclusions, and boosts.

    What the app asks for wins. A pin that cannot be held is left out in silence: it is no mistake of the app's.

    Returns:
        the request, and why the caps were ignored if they were: when nothing would be left.
    """
    here = [rule for rule in rules if holds(rule, request, now)]
    if pins := added_pins(request, here, catalogue, now):
        request = replace(request, pinned=(*request.pinned, *pins))
    if boosts := tuple([Boost(rule.article_id, rule.boost) for rule in here if rule.boost is not None]):
        request = replace(request, boosts=boosts)
    over = capped(request, here, catalogue, reader)
    if not over:
        return request, None
    without = replace(request, exclude=(*request.exclude, *over))
    if pins or leaves_any(without, catalogue, now):
        return without, None
    return request, CAPS_IGNORED


def leaves_any(request: RankRequest, catalogue: Catalogue, now: datetime) -> bool:
    try:
        candidate_rows(request, catalogue, now)
    except NoCandidates:
        return False
    return True


def holds(rule: Rule, request: RankRequest, now: datetime) -> bool:
    return rule.surface in (None, request.context.surface) and (rule.ends_at is None or now < rule.ends_at)


def added_pins(request: RankRequest, rules: Sequence[Rule], catalogue: Catalogue, now: datetime) -> list[Pin]:
    """The pins of the rules that the request leaves room for; where two contradict each other, the surface's own."""
    wanted = [
        (rule.surface is None, Pin(rule.article_id, rule.position))
        for rule in rules
        if rule.position is not None and rule.position < request.k
    ]
    if not wanted:
        return []
    _, gone = catalogue.rows([pin.article_id for _, pin in wanted], now)
    placed = {pin.article_id for pin in request.pinned}.union(request.exclude, gone)
    taken = {pin.position for pin in request.pinned}
    added = []
    for _, pin in sorted(wanted, key=lambda each: each[0]):
        if pin.article_id not in placed and pin.position not in taken:
            added.append(pin)
            placed.add(pin.article_id)
            taken.add(pin.position)
    return added


def capped(request: RankRequest, rules: Sequence[Rule], catalogue: Catalogue, reader: Reader) -> list[str]:
    """The articles, no pinned ones, that this reader was shown as often as a rule allows. Nobody counts for an anonymous one."""
    caps = [(rule.article_id, rule.most) for rule in rules if rule.most is not None]
    if request.user_id is None or not caps:
        return []
    shown = reader.seen(catalogue.find([article_id for article_id, _ in caps]))[:, 0].tolist()
    pinned = {pin.article_id for pin in request.pinned}
    return [
        article_id for (article_id, most), times in zip(caps, shown, strict=True) if times >= most and article_id not in pinned
    ]
