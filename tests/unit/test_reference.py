"""The pages of docs/reference are made from the code, and say what the code says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drn.config import PROFILES, reference
from jobs.settings import LearnerSettings
from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs/reference"
HYPER_PARAMETERS = """# Hyper-parameters

Every one of them, made from `drn/config.py`. Times are seconds. `DRN_PROFILE` chooses a column: `default`; `demo`, what `make
run` takes so that every kind of update is seen within minutes, and nothing to serve readers with; or `paper`, as published.
An empty cell is the default. `DRN_CONFIG='{"gamma": 0.3}'` changes some on top.

| name | symbol | default | demo | paper | source or reason |
|---|---|---|---|---|---|
"""
SETTINGS = """# Settings

Every environment variable that an operator may set, made from `service/settings.py` and `jobs/settings.py`. How a network learns
is not here: those are [hyper-parameters](hyper-parameters.md).

| variable | default | means |
|---|---|---|
"""


def hyper_parameters() -> str:
    return HYPER_PARAMETERS + "".join(map(row_of, reference()))


def row_of(parameter: dict[str, str]) -> str:
    default, *others = [parameter[name] for name in PROFILES]
    values = [default, *("" if value == default else value for value in others)]
    return f"| `{parameter['name']}` | {parameter['symbol']} | {' | '.join(values)} | {parameter['source']} |\n"


def settings() -> str:
    return SETTINGS + "".join(variables())


def variables() -> Iterator[str]:
    for owner in (Settings, LearnerSettings):
        for field in owner.model_fields.values():
            default = field.get_default(call_default_factory=True)
            shown = "" if default in ("", {}) else f"`{default}`"
            yield f"| `{field.alias}` | {shown} | {field.description} |\n"


@pytest.mark.parametrize(("name", "page"), [("hyper-parameters.md", hyper_parameters), ("settings.md", settings)])
def test_the_reference_is_what_the_code_says(name, page) -> None:
    assert (FOLDER / name).read_text() == page(), (
        f"write it again: (FOLDER / {name!r}).write_text({page.__name__}()) in {__file__}"
    )


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for owner in (Settings, LearnerSettings) for field in owner.model_fields.values())
