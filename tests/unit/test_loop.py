from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from drn.checkpoint import digest
from drn.config import Config
from drn.errors import InvalidInput
from drn.holdback import begin
from drn.loop import Loop, Update, due, run, timeline
from drn.model import freeze
from drn.scenario import NEWSROOM
from drn.simulation import Publish, React, Visit, World, newsroom
from drn.types import Article, Event, HoldbackState, Model, RankRequest, VersionKind

START = datetime(2026, 1, 5, tzinfo=UTC)
MINOR, MAJOR = VersionKind.MINOR, VersionKind.MAJOR
CONFIG = Config(advantage_layers=(8,), value_layers=(4,), minor_period=1_800.0, major_period=21_600.0, major_epochs=0.5)
SMALL = NEWSROOM.but(readers=15, days=1.0)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def request(request_id: str = "q1", seconds: float = 10.0, user_id: str | None = "u1") -> RankRequest:
    return RankRequest(request_id, at(seconds), k=3, user_id=user_id)


def event(event_id: str, article_id: str, seconds: float, request_id: str | None = "q1", kind: str = "click") -> Event:
    return Event(event_id, article_id, kind, at(seconds), request_id=request_id, user_id="u1")


def react(loop: Loop, *events: Event) -> None:
    loop.react(React(max(one.at for one in events), events))


@pytest.fixture
def loop() -> Loop:
    """A loop with six articles, nothing served yet."""
    loop = Loop(CONFIG, START)
    loop.publish(Publish(START, tuple(Article(f"a{i}", f"title {i}", START) for i in range(6))))
    return loop


def minor(loop: Loop, seconds: float) -> int | None:
    """The watermark that a minor update at that second leads to."""
    version = loop.update(Update(at(seconds), MINOR))
    return None if version is None else version.watermark


def test_updates_fall_due_on_their_periods_minor_first() -> None:
    config = Config(minor_period=20.0, major_period=30.0)
    first = [(update.at, update.kind) for update in islice(due(config, START), 6)]
    assert first == [(at(20), MINOR), (at(30), MAJOR), (at(40), MINOR), (at(60), MINOR), (at(60), MAJOR), (at(80), MINOR)]


def test_updates_come_before_actions_of_the_same_instant() -> None:
    answers: list[object] = []

    def world() -> World:
        yield Publish(START)
        answers.append((yield Visit(at(20), request(seconds=20.0), 0)))
        yield React(at(50), ())

    steps = timeline(world(), Config(minor_period=20.0, major_period=100.0), START)
    seen = [next(steps)]
    try:
        while True:
            seen.append(steps.send(("a1",) if isinstance(seen[-1], Visit) else None))
    except StopIteration:
        pass
    assert [(type(step), step.at) for step in seen] == [
        (Publish, START),
        (Update, at(20)),
        (Visit, at(20)),
        (Update, at(40)),
        (React, at(50)),
    ]
    assert answers == [("a1",)]


def test_a_retry_gets_its_first_answer_and_is_logged_once(loop: Loop) -> None:
    first = loop.rank(request())
    loop.publish(Publish(at(11), withdrawn=(first[0],)))
    assert loop.rank(request(seconds=12.0)) == first
    assert sum(day.impressions for day in loop.tally.days.values()) == 1


def test_without_rankable_articles_there_is_no_list_and_no_log() -> None:
    loop = Loop(CONFIG, START)
    assert loop.rank(request()) == ()
    assert minor(loop, 10_000.0) is None
    assert loop.tally.skipped[MINOR] == 1


def test_a_click_changes_the_next_decision_of_reader_and_article(loop: Loop) -> None:
    shown = loop.rank(request())
    react(loop, event("e1", shown[0], 15.0))
    row = loop.catalogue.row(shown[0])
    assert row is not None
    assert loop.reader("u1").click_rows.tolist() == [row]
    assert loop.catalogue.counts[row, 0] == 1  # clicks of the last hour
    assert loop.reader("u1").seen(loop.rows(shown))[:, 0].tolist() == [1, 1, 1]


def test_an_event_counts_once(loop: Loop) -> None:
    shown = loop.rank(request())
    for _ in range(2):
        react(loop, event("e1", shown[0], 15.0))
    assert loop.tally.days[0].clicks == 1
    assert len(loop.reader("u1").click_rows) == 1


def test_organic_reading_is_history_and_no_credit(loop: Loop) -> None:
    loop.rank(request())
    react(loop, event("e1", "a5", 15.0, request_id=None))
    assert len(loop.reader("u1").click_rows) == 1
    assert loop.tally.days[0].clicks == 0


def test_only_clicks_make_history(loop: Loop) -> None:
    shown = loop.rank(request())
    react(loop, event("e1", shown[0], 15.0, kind="dwell"))
    assert len(loop.reader("u1").click_rows) == 0


def test_nobody_remembers_an_anonymous_reader(loop: Loop) -> None:
    shown = loop.rank(request(user_id=None))
    react(loop, event("e1", shown[0], 15.0))
    assert len(loop.reader("u1").click_rows) == 0
    assert len(loop.reader(None).click_rows) == 0


@pytest.mark.parametrize(("request_id", "article_id"), [("q9", "a1"), ("q1", "a9"), (None, "a9")])
def test_events_about_nothing_are_refused_and_leave_no_trace(loop: Loop, request_id: str | None, article_id: str) -> None:
    loop.rank(request())
    with pytest.raises(InvalidInput, match="e1"):
        react(loop, event("e1", article_id, 15.0, request_id))
    assert loop.tally.days[0].clicks == 0
    assert len(loop.reader("u1").click_rows) == 0


def test_a_minor_update_takes_what_is_closed_and_no_more(loop: Loop) -> None:
    """The feedback window is 600 s: what was served at second 10 closes at second 610."""
    loop.rank(request("q1", 10.0))
    loop.rank(request("q2", 20.0))
    assert minor(loop, 609.999999) is None
    assert minor(loop, 610.0) == 1
    assert minor(loop, 615.0) is None  # nothing new
    assert minor(loop, 700.0) == 2


def test_too_few_closed_impressions_wait_for_more() -> None:
    loop = Loop(Config.from_json(CONFIG.to_json().replace('"minor_impressions": 1', '"minor_impressions": 2')), START)
    loop.publish(Publish(START, (Article("a1", "one", START),)))
    loop.rank(request("q1", 10.0))
    assert minor(loop, 1_000.0) is None
    loop.rank(request("q2", 1_010.0))
    assert minor(loop, 2_000.0) == 2


def test_a_late_click_counts_but_moves_no_duel(loop: Loop) -> None:
    react(loop, event("e0", loop.rank(request("q0"))[-1], 20.0, "q0"))
    minor(loop, 700.0)  # from here on the two networks differ
    shown = loop.rank(request("q1", 710.0))
    minor(loop, 1_400.0)
    settled = (loop.tally.wins, loop.tally.losses, loop.tally.ties)
    react(loop, event("e1", shown[0], 1_500.0))
    assert minor(loop, 1_600.0) is None
    assert (loop.tally.wins, loop.tally.losses, loop.tally.ties) == settled == (0, 0, 1)
    assert loop.tally.days[0].clicks == 2
    assert len(loop.reader("u1").click_rows) == 2


def versions_of(seed: int = 0, config: Config = CONFIG) -> Iterator[tuple[int, int | None, VersionKind, int, str]]:
    for version in run(config, newsroom(SMALL, seed, START), START):
        yield (version.id, version.parent_id, version.kind, version.watermark, version.digest)


def test_versions_are_one_line_and_a_function_of_config_and_seed() -> None:
    line = list(versions_of())
    assert [entry[0] for entry in line] == list(range(1, len(line) + 1))
    assert [entry[1] for entry in line] == [None, *range(1, len(line))]
    assert [entry[3] for entry in line] == sorted(entry[3] for entry in line)
    assert {entry[2] for entry in line} >= {VersionKind.INITIAL, MINOR}
    assert list(versions_of()) == line
    assert list(versions_of(seed=1))[-1][4] != line[-1][4]


def test_versions_carry_the_time_they_fell_due() -> None:
    for version in run(CONFIG, newsroom(SMALL, 0, START), START):
        period = CONFIG.major_period if version.kind is MAJOR else CONFIG.minor_period
        assert (version.created_at - START).total_seconds() % period == 0


def test_the_log_keeps_what_replay_needs() -> None:
    small = Config.from_json(CONFIG.to_json().replace('"replay_impressions": 20000', '"replay_impressions": 30'))
    loop = Loop(small, START)
    last = list(loop.run(newsroom(SMALL, 0, START)))[-1]
    assert last.watermark > 50
    impressions = sum(day.impressions for day in loop.tally.days.values())
    assert len(loop.log) == impressions - last.watermark + 30  # open ones, and replay's


def test_a_current_network_that_lost_is_rolled_back_to_the_reference(loop: Loop) -> None:
    reference = replace(loop.head, id=2, parent_id=1, kind=MINOR, holdback=begin(2, START))
    loop.publish_version(reference)
    fallen = HoldbackState(2, 1.0, 400, 80, 400, 200, -240.0, 180.0)
    better = freeze({name: tensor + 1 for name, tensor in reference.model.current.items()})
    loop.publish_version(replace(reference, id=3, parent_id=2, model=Model(better, better), holdback=fallen))
    back = loop.guard(at(60))
    assert back is not None
    assert (back.id, back.parent_id, back.kind, back.metrics["target"]) == (4, 3, VersionKind.ROLLBACK, 2)
    assert digest(back.model.current) == digest(reference.model.current)
    assert back.holdback == begin(4, at(60))
    assert (back.metrics["automatic"], back.metrics["reference_clicked"]) == (1, 200)
    assert loop.head is back
    assert loop.guard(at(61)) is None
