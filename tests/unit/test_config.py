"""Hyper-parameters as an operator's JSON gives them: what is wrong is named."""

import json
from dataclasses import fields
from typing import Any

import pytest

from drn.config import CHOICES, FORMS, Config
from drn.errors import InvalidConfig
from service.settings import Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau": "3"}, "tau is '3'; it must be a number"),
        ({"tau": None}, "tau is None; it must be a number"),
        ({"gamma": False}, "gamma is False; it must be a number"),
        ({"tau": [3]}, "tau is .*; it must be a number"),
        ({"minor_period": "x"}, "minor_period is 'x'; it must be a number"),
        ({"history_clicks": 3.7}, "history_clicks is 3.7; it must be a whole number"),
        ({"duel_window": True}, "duel_window is True; it must be a whole number"),
        ({"advantage_layers": 5}, "advantage_layers is 5; it must be a list of one or more whole numbers, each at least 1"),
        ({"value_layers": []}, "value_layers .* one or more"),
        ({"advantage_layers": [0]}, "advantage_layers .* each at least 1"),
        ({"value_layers": [8.0]}, "value_layers .* each at least 1"),
        ({"value_layers": "8"}, "value_layers .* each at least 1"),
        ({"event_rewards": {"like": "much"}}, "event_rewards .* numbers by event name"),
        ({"event_rewards": 1}, "event_rewards .* numbers by event name"),
        ({"event_rewards": {"like": float("nan")}}, "event_rewards is nan; it must be finite"),
        ({"direction": 3}, "direction is 3; it must be one of guided, random, es"),
        ({"gate": [None]}, "gate is .*; it must be one of"),
        ({"gamma": 1.5}, "gamma is 1.5; it must be at most 1"),
        ({"duel_window": 0}, "duel_window is 0; it must be at least 1"),
        ({"major_epochs": 0.0}, "major_epochs is 0.0; it must be at least"),
        ({"rate_prior_clicks": 0}, "rate_prior_clicks is 0; it must be at least"),
        ({"embedding_size": 65_536}, "embedding_size is 65536; it must be at most 65535"),
        ({"gate": "duel", "direction": "random"}, "gate is 'duel', which direction 'random' cannot hold"),
        ({"word_slots": 14_000}, "content slots are 14282 in all; they must be at most 13107"),
    ],
)
def test_values_of_another_type_or_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Settings(changes=changes).config()


def test_whole_numbers_do_where_a_number_is_asked_for() -> None:
    assert Settings(changes={"tau": 2, "value_layers": [8]}).config() == Config(tau=2.0, value_layers=(8,))


def test_what_was_written_is_read_again() -> None:
    config = Config.profile("paper", advantage_layers=(16, 8), event_rewards={"like": 1})
    assert Config.from_json(config.to_json()) == config


def test_a_network_from_before_lists_were_pooled_has_no_pooling() -> None:
    stored = {name: value for name, value in json.loads(Config().to_json()).items() if name != "list_pooling"}
    assert Config.from_json(json.dumps(stored)) == Config(list_pooling="none")


def test_a_version_from_before_tau_grew_draws_its_lists_as_it_did() -> None:
    stored = {name: value for name, value in json.loads(Config(tau=5.0).to_json()).items() if not name.startswith("tau_")}
    assert Config.from_json(json.dumps(stored)) == Config(tau=5.0, tau_trained=5.0)


def test_a_hyper_parameter_that_is_gone_stays_behind() -> None:
    stored = json.loads(Config().to_json()) | {"guided_halving": 200}
    assert Config.from_json(json.dumps(stored)) == Config()


def test_every_hyper_parameter_is_checked() -> None:
    assert [spec.name for spec in fields(Config) if spec.type not in FORMS and spec.name not in CHOICES] == []
