"""docs/reference/hyper-parameters.md is made from the code, and says what the code says."""

from pathlib import Path

from drn.config import reference

PAGE = Path(__file__).parents[2] / "docs/reference/hyper-parameters.md"
HEAD = """# Hyper-parameters

Every one of them, made from `drn/config.py`. Times are seconds. `DRN_PROFILE` chooses a column, and
`DRN_CONFIG='{"gamma": 0.3}'` changes some on top.

| name | symbol | default | paper | source or reason |
|---|---|---|---|---|
"""


def page() -> str:
    rows = (f"| `{row['name']}` | {row['symbol']} | {row['default']} | {paper(row)} | {row['source']} |\n" for row in reference())
    return HEAD + "".join(rows)


def paper(row: dict[str, str]) -> str:
    return "" if row["paper"] == row["default"] else row["paper"]


def test_the_reference_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), f"write it again: PAGE.write_text(page()) in {__file__}"
