from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.errors import InvalidInput
from drn.scenario import NEWSROOM
from drn.simulation import Action, Publish, React, Simulation, Visit, newsroom, serve
from drn.types import Event, RankRequest

START = datetime(2026, 1, 5, tzinfo=UTC)
SMALL = NEWSROOM.but(readers=15, days=1.5)

Choice = Callable[[list[str], RankRequest], Sequence[str]]


class Shelf:
    """Shows live articles as `choose` says, and keeps what it was told."""

    def __init__(self, choose: Choice) -> None:
        self.choose = choose
        self.live: dict[str, datetime] = {}
        self.actions: list[Action] = []
        self.shown: dict[str, tuple[str, ...]] = {}
        self.events: list[Event] = []

    def publish(self, action: Publish) -> None:
        self.actions.append(action)
        self.live |= {article.id: article.expires_at or START for article in action.articles}
        for article_id in action.withdrawn:
            del self.live[article_id]

    def rank(self, request: RankRequest) -> Sequence[str]:
        self.live = {article_id: until for article_id, until in self.live.items() if until > request.at}
        self.shown[request.request_id] = tuple(self.choose(list(self.live), request))[: request.k]
        return self.shown[request.request_id]

    def react(self, action: React) -> None:
        self.actions.append(action)
        self.events += action.events

    def clicks_per_slot(self) -> float:
        return sum(e.type == "click" and e.request_id is not None for e in self.events) / sum(map(len, self.shown.values()))


def oldest(ids: list[str], request: RankRequest) -> Sequence[str]:
    return ids


def newest(ids: list[str], request: RankRequest) -> Sequence[str]:
    return ids[::-1]


def nothing(ids: list[str], request: RankRequest) -> Sequence[str]:
    return ()


def nonsense(ids: list[str], request: RankRequest) -> Sequence[str]:
    return ["nothing"]


def played(choose: Choice = newest, seed: int = 0, **changes: object) -> Shelf:
    shelf = Shelf(choose)
    serve(newsroom(SMALL.but(**changes), seed, START), shelf)
    return shelf


def test_one_seed_is_one_world() -> None:
    first, again, other = played(), played(), played(seed=1)
    assert first.actions == again.actions
    assert first.shown == again.shown
    assert first.actions != other.actions


def test_what_is_shown_changes_no_article() -> None:
    published = [[a for a in played(choose).actions if isinstance(a, Publish)] for choose in (oldest, newest)]
    assert published[0] == published[1]


def test_events_are_about_what_was_shown_and_come_later() -> None:
    shelf = played()
    clicks: Counter[str] = Counter()
    for event in shelf.events:
        if event.request_id is not None:
            assert event.article_id in shelf.shown[event.request_id]
            clicks[event.type] += 1
        else:
            assert event.type == "click"
    assert len({event.event_id for event in shelf.events}) == len(shelf.events)
    assert clicks["click"] == pytest.approx(clicks["dwell"], abs=3)  # a reader may still be reading at the end
    assert clicks["click"] > 20


def test_a_site_of_this_size_and_rate() -> None:
    """Lists, live articles and clicks are in the ranges that `drn.scenario` promises."""
    live: list[int] = []

    def at_random(ids: list[str], request: RankRequest) -> Sequence[str]:
        live.append(len(ids))
        return np.random.default_rng(len(live)).permutation(ids).tolist()

    shelf = played(at_random, readers=60)
    assert 60 < min(live) <= max(live) < 150
    assert 3.5 * 1.5 < len(shelf.shown) / 60 < 11 * 1.5  # lists per reader
    assert 0.01 < shelf.clicks_per_slot() < 0.05
    lists_with_click = {event.request_id for event in shelf.events if event.type == "click" and event.request_id}
    assert len(lists_with_click) / len(shelf.shown) < 0.5  # most visits end without a click


def test_without_signal_the_order_is_worth_nothing() -> None:
    def best_last(ids: list[str], request: RankRequest) -> Sequence[str]:
        return sorted(ids)

    rates = [played(choose, signal="none", readers=40).clicks_per_slot() for choose in (oldest, newest, best_last)]
    assert max(rates) - min(rates) < 0.01  # over 4 standard errors at some 4,000 slots of 3 %


def test_knowing_the_truth_pays_with_taste() -> None:
    world = Simulation(SMALL.but(readers=30), 0, START)

    def by_truth(ids: list[str], request: RankRequest) -> Sequence[str]:
        reader = int(request.request_id[1:].split("-")[0])
        return [ids[i] for i in np.argsort(-world.appeal(reader, ids))]

    shelf = Shelf(by_truth)
    serve(world.actions(), shelf)
    assert shelf.clicks_per_slot() > 1.5 * played(readers=30).clicks_per_slot()


def test_an_article_can_be_withdrawn_and_is_then_gone() -> None:
    shelf = played(withdrawn_share=0.3)
    withdrawn = [article_id for action in shelf.actions if isinstance(action, Publish) for article_id in action.withdrawn]
    assert len(withdrawn) > 10  # `Shelf` forgets them; showing one would raise


def test_showing_what_is_not_there_or_too_much_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not live: nothing"):
        played(nonsense)
    world = newsroom(SMALL, 0, START)
    while not isinstance(next(world), Visit):
        pass
    with pytest.raises(InvalidInput, match="asked for 10"):
        world.send(["a1"] * 11)


def test_a_failed_request_shows_nothing_and_life_goes_on() -> None:
    shelf = played(nothing)
    assert len(shelf.shown) > 20
    assert all(event.request_id is None for event in shelf.events)


def test_speed_shortens_the_emitted_times_alone() -> None:
    slow, fast = played(), played(speed=400.0)
    assert slow.shown == fast.shown
    assert len(slow.actions) == len(fast.actions)
    for before, after in zip(slow.actions, fast.actions, strict=True):
        assert abs((before.at - START) / 400.0 - (after.at - START)) <= timedelta(microseconds=1)


def test_a_label_makes_new_ids_of_the_same_readers() -> None:
    plain, labelled = played(), played(label="run2.")
    assert [f"run2.{request_id}" for request_id in plain.shown] == list(labelled.shown)
    assert {e.user_id for e in plain.events} == {e.user_id for e in labelled.events}
    assert not {e.event_id for e in plain.events} & {e.event_id for e in labelled.events}


def test_some_readers_never_log_in() -> None:
    shelf = played(anonymous_share=0.5)
    anonymous = [event for event in shelf.events if event.user_id is None]
    assert 0 < len(anonymous) < len(shelf.events)


def test_a_start_without_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="timezone"):
        Simulation(SMALL, 0, START.replace(tzinfo=None))
