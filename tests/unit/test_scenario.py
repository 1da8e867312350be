import pytest

from drn.errors import InvalidConfig
from drn.scenario import DEMO, NEWSROOM, Scenario


def test_changes_leave_the_rest_alone() -> None:
    changed = NEWSROOM.but(readers=3)
    assert changed.readers == 3
    assert changed.but(readers=NEWSROOM.readers) == NEWSROOM


@pytest.mark.parametrize(
    "changes",
    [
        {"patience": 1.1},
        {"idle_share": -0.1},
        {"readers": 0},
        {"speed": 0.0},
        {"lifetime_hours": 0},
        {"signal": "ours"},
        {"reader": 3},
    ],
)
def test_numbers_out_of_range_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(changes))):
        NEWSROOM.but(**changes)


def test_a_demo_day_lasts_under_four_minutes() -> None:
    assert 86_400 / DEMO.speed < 240
    assert DEMO.but(speed=1.0) == Scenario()
