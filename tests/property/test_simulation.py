"""Laws of the simulated newsroom under any settings and any answers."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drn.scenario import NEWSROOM, Scenario
from drn.simulation import Publish, React, Simulation, Visit

START = datetime(2026, 1, 5, tzinfo=UTC)
CHANCE = st.floats(0, 1)

scenarios = st.builds(
    NEWSROOM.but,
    readers=st.integers(1, 5),
    days=st.floats(0, 1),
    k=st.integers(1, 12),
    articles_per_day=st.floats(5, 60),
    speed=st.floats(0.5, 1_000),
    signal=st.sampled_from(["taste", "popularity", "none"]),
    shift_day=st.none() | st.floats(0, 1),
    patience=CHANCE,
    idle_share=CHANCE,
    organic_share=CHANCE,
    withdrawn_share=CHANCE,
    anonymous_share=CHANCE,
    mood_memory=CHANCE,
)


@settings(max_examples=25, deadline=None)
@given(scenarios, st.integers(0, 2**32), st.integers(0, 2**32))
def test_actions_are_in_order_and_tell_a_consistent_story(scenario: Scenario, seed: int, luck: int) -> None:
    """Times never go back; ids are unique; nothing is reported that was not shown; only live articles are read."""
    rng = np.random.default_rng(luck)
    simulation = Simulation(scenario, seed, START)
    world = simulation.actions()
    now, answer = START, None
    shown: dict[str, list[str]] = {}
    events: set[str] = set()
    published: set[str] = set()
    while True:
        try:
            action = world.send(answer)
        except StopIteration:
            break
        answer = None
        assert action.at >= now
        now = action.at
        match action:
            case Publish():
                new = {article.id for article in action.articles}
                assert not new & published
                published |= new
                assert published.issuperset(action.withdrawn)
            case Visit():
                assert action.request.at == now
                assert action.request.request_id not in shown
                live = list(simulation.live)
                answer = rng.permutation(live)[: rng.integers(0, scenario.k + 1)].tolist()
                shown[action.request.request_id] = answer
                appeal = simulation.appeal(action.reader, answer)
                assert ((appeal > 0) & (appeal < 1)).all()
            case React():
                for event in action.events:
                    assert event.event_id not in events
                    events.add(event.event_id)
                    assert event.at == now
                    assert event.article_id in (shown[event.request_id] if event.request_id else published)
