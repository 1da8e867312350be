import numpy as np

from drn.readers import Reader


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_only_the_newest_clicks_are_kept_whatever_their_order_of_arrival() -> None:
    reader = Reader(3)
    for row, at in ((1, 10), (4, 40), (2, 20), (3, 30)):
        reader.click(row, at)
    assert reader.click_rows.tolist() == [2, 3, 4]
    assert reader.click_times.tolist() == [20, 30, 40]


def test_showings_and_readings_are_counted_by_row() -> None:
    reader = Reader(10)
    reader.show(rows(7, 3))
    reader.show(rows(3, 9))
    reader.click(3, 5)
    reader.click(3, 6)
    assert reader.seen(rows(1, 3, 7, 9, 100)).T.tolist() == [[0, 2, 1, 1, 0], [0, 2, 0, 0, 0]]


def test_a_row_that_is_named_twice_was_shown_once() -> None:
    reader = Reader(history_clicks=3)
    reader.show(rows(3))
    reader.show(rows(5, 3, 3, 5))
    assert (reader.shown.rows.tolist(), reader.shown.counts.tolist()) == ([3, 5], [2, 1])


def test_an_anonymous_reader_has_no_past() -> None:
    reader = Reader(10)
    assert reader.seen(rows(1)).tolist() == [[0, 0]]
    assert reader.click_rows.tolist() == []
