"""Editors' rules for the whole site become part of the request, so that what is decided and logged is a request like any."""

from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import datetime

from drn.catalogue import Catalogue
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

    Raises:
        NoCandidates: nothing that the app asks for can be ranked, whatever the rules add.
        InvalidInput: its own pins contradict each other, the list's length or the exclusions.
    """
    here = [rule for rule in rules if holds(rule, request, now)]
    if boosts := tuple([Boost(rule.article_id, rule.boost) for rule in here if rule.boost is not None]):
        request = replace(request, boosts=boosts)
    wanted, over = wanted_pins(request, here, catalogue, now), capped(request, here, catalogue, reader)
    if not wanted and not over:
        return request, None
    found, unknown = candidate_rows(request, catalogue, now)
    rows = set(found.tolist())
    left = rows.difference(catalogue.find(over).tolist())
    own = [pin for pin in request.pinned if pin.article_id not in unknown]
    pins = fitting(wanted, left, own, catalogue)
    if not left and not pins:
        return replace(request, pinned=(*request.pinned, *fitting(wanted, rows, own, catalogue))), CAPS_IGNORED
    out = [article_id for article_id in over if article_id not in {pin.article_id for pin in pins}]
    return replace(request, pinned=(*request.pinned, *pins), exclude=(*request.exclude, *out)), None


def holds(rule: Rule, request: RankRequest, now: datetime) -> bool:
    return rule.surface in (None, request.context.surface) and (rule.ends_at is None or now < rule.ends_at)


def wanted_pins(request: RankRequest, rules: Sequence[Rule], catalogue: Catalogue, now: datetime) -> list[Pin]:
    """The pins of the rules that do not contradict the request; where two contradict each other, the surface's own."""
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
    found = []
    for _, pin in sorted(wanted, key=lambda each: each[0]):
        if pin.article_id not in placed and pin.position not in taken:
            found.append(pin)
            placed.add(pin.article_id)
            taken.add(pin.position)
    return found


def fitting(pins: Sequence[Pin], rows: Set[int], own: Sequence[Pin], catalogue: Catalogue) -> list[Pin]:
    """Those of the pins that the list of these rows has a place for; it is longer by each article that the pins bring.

    None where an own pin of the request lies beyond the end: it stands at the end, and a longer list would move it.
    """
    length = len(rows)
    if any(pin.position >= length for pin in own):
        return []
    held = []
    for pin in sorted(pins, key=lambda pin: pin.position):
        longer = length + (catalogue.row(pin.article_id) not in rows)
        if pin.position < longer:
            held.append(pin)
            length = longer
    return held


def capped(request: RankRequest, rules: Sequence[Rule], catalogue: Catalogue, reader: Reader) -> list[str]:
    """The articles that this reader was shown as often as a rule allows, save what the app pins. Anonymous ones have no count."""
    caps = [(rule.article_id, rule.most) for rule in rules if rule.most is not None]
    if request.user_id is None or not caps:
        return []
    shown = reader.seen(catalogue.find([article_id for article_id, _ in caps]))[:, 0].tolist()
    pinned = {pin.article_id for pin in request.pinned}
    return [
        article_id for (article_id, most), times in zip(caps, shown, strict=True) if times >= most and article_id not in pinned
    ]
