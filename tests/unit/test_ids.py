"""Ids are looked up many at a time as they are one at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drn.ids import IdTable, look_up, mixed


def table(ids: list[str]) -> IdTable:
    made = IdTable()
    for article_id in ids:
        made.add(article_id)
    return made


@given(known=st.lists(st.text(max_size=8), unique=True, max_size=300), asked=st.lists(st.text(max_size=8), max_size=30))
def test_many_are_found_as_each_is_alone(known: list[str], asked: list[str]) -> None:
    """Whatever the ids hold: nothing, separators, letters of several bytes."""
    made = table(known)
    rows = {article_id: row for row, article_id in enumerate(known)}
    for wanted in (asked, known, asked + known[::-1]):
        assert made.find(wanted).tolist() == [rows.get(article_id, -1) for article_id in wanted]
        assert [made.row(article_id) for article_id in wanted] == [rows.get(article_id) for article_id in wanted]


@pytest.mark.parametrize("asked", [[], [""], ["a\0b"], ["a", "b"], ["\0"], ["", ""]])
def test_separators_within_ids(asked: list[str]) -> None:
    assert table(["a", "b", "a\0b"]).find(asked).tolist() == [{"a": 0, "b": 1, "a\0b": 2}.get(each, -1) for each in asked]


def test_a_table_grows() -> None:
    ids = [f"article-{i}" for i in range(5_000)]
    made = table(ids)
    assert len(made) == 5_000
    assert "article-4999" in made
    assert made.find(ids[::-1]).tolist() == [*range(4_999, -1, -1)]


def test_equal_hashes_are_not_enough() -> None:
    """Rows whose hashes agree in the half that is kept are told apart by their letters."""
    letters, ends, found = np.frombuffer(b"ab", np.uint8), np.arange(3), np.empty(1, np.int32)
    key = int(mixed(ord("b") * 0x100000001B3))
    places = np.zeros(4, np.uint64)
    for row in (0, 1):
        places[(key + row) % 4] = key >> 32 << 32 | (row + 1)
        look_up(np.frombuffer(b"b", np.uint8), letters, ends, places, found)
        assert found[0] == (-1, 1)[row]
