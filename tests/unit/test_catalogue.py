from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.catalogue import DAY, LENGTHS, STEMS, WINDOWS, Catalogue, content_columns, epoch, projected, stems
from drn.config import Config
from drn.errors import InvalidInput
from drn.types import Article
from drn.windows import BUCKETS

CONFIG = Config()
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def article(article_id: str = "a1", **changes: object) -> Article:
    return Article(**{"id": article_id, "title": "Storm closes the harbour", "published_at": NOW, **changes})  # type: ignore[arg-type]


def test_a_new_article_is_rankable_and_a_withdrawn_one_is_not() -> None:
    catalogue = Catalogue(CONFIG)
    row = catalogue.put(article())
    assert catalogue.live(NOW).tolist() == [row]
    assert catalogue.withdraw("a1")
    assert not catalogue.withdraw("a1")
    assert catalogue.live(NOW).tolist() == []
    assert catalogue.rows(["a1"], NOW)[1] == ("a1",)
    catalogue.put(article())
    assert catalogue.live(NOW).tolist() == [row]


def test_an_article_that_cannot_be_encoded_changes_nothing() -> None:
    catalogue = Catalogue(CONFIG)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="finite"):
            catalogue.put(article(embedding=(float("inf"),)))
    assert (len(catalogue), catalogue.row("a1"), catalogue.live(NOW).tolist()) == (0, None, [])
    catalogue.put(article())
    for _ in range(2):
        with pytest.raises(InvalidInput, match="finite"):
            catalogue.put(article(embedding=(float("inf"),)))
    assert catalogue.article(0) == article()


def test_an_edit_that_cannot_be_encoded_leaves_the_article_as_it_was() -> None:
    catalogue = Catalogue(CONFIG)
    row = catalogue.put(article(embedding=(1.0, 2.0)))
    before = catalogue.content[row].copy(), catalogue.times[row].copy(), catalogue.embedding[row].copy()
    with pytest.raises(InvalidInput, match="finite"):
        catalogue.put(article(title="Another", expires_at=NOW - timedelta(days=1), embedding=(float("nan"),)))
    for was, now in zip(before, (catalogue.content[row], catalogue.times[row], catalogue.embedding[row]), strict=True):
        np.testing.assert_array_equal(was, now)
    assert catalogue.live(NOW).tolist() == [row]


def test_an_embedding_whose_square_overflows_is_a_direction_like_any_other() -> None:
    np.testing.assert_allclose(projected((3e200, 4e200), 4), projected((3.0, 4.0), 4), rtol=1e-6)


def test_a_day_s_clicks_go_along_when_an_article_changes_its_category() -> None:
    """As they do when a process starts again and counts the log by the articles' categories of now."""
    catalogue, at = Catalogue(CONFIG), epoch(NOW)
    rows = [catalogue.put(article(name, category="sport")) for name in ("a1", "a2")]
    catalogue.advance(at)
    for row, seconds in ((rows[0], at - 7_200), (rows[0], at), (rows[1], at)):
        catalogue.click(row, seconds)
    catalogue.expose(np.array(rows, np.int32), at)
    catalogue.put(article("a1", category="local"))
    of = [catalogue.category_counts[catalogue.category[row]].tolist() for row in rows]
    assert of == [[2, 1], [1, 1]]
    catalogue.advance(at + 86_400 - 3_600)  # the click of two hours before has left the day
    assert catalogue.category_counts[catalogue.category[rows[0]]].tolist() == [1, 1]
    catalogue.advance(at + 2 * 86_400)
    assert not catalogue.category_counts.any()


def test_an_article_is_known_by_its_id_also_when_it_is_withdrawn() -> None:
    catalogue = Catalogue(CONFIG)
    catalogue.put(article())
    catalogue.withdraw("a1")
    assert (catalogue.knows(set()), catalogue.knows({"a1"}), catalogue.knows({"a1", "a2"})) == (True, True, False)


def test_embargo_and_expiry_bound_the_life_of_an_article() -> None:
    catalogue = Catalogue(CONFIG)
    catalogue.put(article(embargo_until=NOW, expires_at=NOW + timedelta(hours=1)))
    second = timedelta(seconds=1)
    assert [
        len(catalogue.live(at)) for at in (NOW - second, NOW, NOW + timedelta(hours=1) - second, NOW + timedelta(hours=1))
    ] == [
        0,
        1,
        1,
        0,
    ]


def test_fractions_of_a_second_never_lengthen_a_life() -> None:
    catalogue = Catalogue(CONFIG)
    second, instant = timedelta(seconds=1), timedelta(microseconds=1)
    catalogue.put(article(embargo_until=NOW + instant, expires_at=NOW + 3 * second - instant))
    times = [NOW, NOW + second - instant, NOW + second, NOW + 2 * second - instant, NOW + 2 * second]
    assert [len(catalogue.live(at)) for at in times] == [0, 0, 1, 1, 0]
    with pytest.raises(InvalidInput, match="time zone"):
        catalogue.put(article("a2", embargo_until=NOW.replace(tzinfo=None)))


def test_unknown_candidates_are_named_and_repeated_ones_ranked_once() -> None:
    catalogue = Catalogue(CONFIG)
    row = catalogue.put(article())
    rows, unknown = catalogue.rows(["x", "a1", "x", "a1"], NOW)
    assert rows.tolist() == [row]
    assert unknown == ("x",)


def test_an_edit_keeps_the_row_and_its_counts() -> None:
    catalogue = Catalogue(CONFIG)
    row = catalogue.put(article())
    catalogue.click(row, epoch(NOW))
    revision = int(catalogue.content_revision[row])
    assert catalogue.put(article(title="Harbour open again")) == row
    assert catalogue.counts[row, 0] == 1
    assert catalogue.content_revision[row] == revision + 1


def test_rows_survive_growth() -> None:
    catalogue = Catalogue(CONFIG)
    rows = [catalogue.put(article(f"a{i}", category=f"c{i % 9}")) for i in range(3000)]
    assert rows == list(range(3000))
    assert catalogue.ids(np.array([0, 2999], np.int32)) == ("a0", "a2999")
    assert (catalogue.content[2999] == content_columns(article("a2999", category="c2"), CONFIG)).all()


def test_clicks_leave_each_window_when_it_has_passed() -> None:
    catalogue = Catalogue(CONFIG)
    row = catalogue.put(article())
    second = epoch(NOW)
    catalogue.click(row, second)
    for window, (span, length) in enumerate(zip(WINDOWS, LENGTHS, strict=True)):
        catalogue.advance((second // length + BUCKETS - 1) * length)  # the last second in which the bucket is inside
        assert catalogue.counts[row, window] == 1, span
        catalogue.advance((second // length + BUCKETS) * length)
        assert catalogue.counts[row, window] == 0, span


def test_counts_loaded_at_start_equal_counts_followed_live() -> None:
    followed, loaded = Catalogue(CONFIG), Catalogue(CONFIG)
    for catalogue in (followed, loaded):
        catalogue.put(article())
    second = epoch(NOW)
    times = [second - 40 * 3600, second - 5 * 3600, second - 100, second - 100]
    for at in times:
        followed.click(0, at)
    followed.advance(second)
    loaded.advance(second)
    for window, length in enumerate(LENGTHS):
        buckets = np.array([at // length for at in times])
        loaded.load_counts("clicks", window, np.zeros(4, np.int32), buckets, np.ones(4, np.int64))
    assert (followed.counts == loaded.counts).all()
    assert (followed.category_counts == loaded.category_counts).all()
    later = second + 3 * 3600
    for catalogue in (followed, loaded):
        catalogue.advance(later)
    assert (followed.counts == loaded.counts).all()


def test_clicks_counted_together_in_any_order_are_those_counted_one_by_one() -> None:
    together, apart = Catalogue(CONFIG), Catalogue(CONFIG)
    for catalogue in (together, apart):
        for i, category in enumerate(("sport", "sport", None)):
            catalogue.put(article(f"a{i}", category=category))
    rng = np.random.default_rng(0)
    ages = np.concatenate([rng.integers(0, span + 100, 20) for span in WINDOWS])
    rows = rng.integers(3, size=len(ages)).tolist()
    seconds = (epoch(NOW) - ages).tolist()
    for i in np.argsort(seconds, kind="stable"):
        apart.click(rows[i], seconds[i])
    together.clicks(rows[:50], seconds[:50])
    together.clicks(rows[50:], seconds[50:])
    apart.advance(epoch(NOW) + 60)
    together.advance(epoch(NOW) + 60)
    assert together.counts.tolist() == apart.counts.tolist()
    assert together.counts[:, WINDOWS.index(31_536_000)].sum() == (ages < 31_536_000).sum()
    assert together.category_counts.tolist() == apart.category_counts.tolist()


def test_a_category_counts_what_happens_to_all_its_articles() -> None:
    catalogue = Catalogue(CONFIG)
    for i, category in enumerate(("sport", "sport", "politics", None)):
        catalogue.put(article(f"a{i}", category=category))
    rows = np.arange(4, dtype=np.int32)
    catalogue.expose(rows, epoch(NOW))
    catalogue.click(0, epoch(NOW))
    assert catalogue.category_counts[catalogue.category[rows]].tolist() == [[1, 2], [1, 2], [0, 1], [0, 1]]
    catalogue.advance(epoch(NOW) + WINDOWS[DAY])
    assert not catalogue.category_counts.any()


def test_the_columns_of_an_article_stay_in_their_groups() -> None:
    columns = content_columns(
        article(provider="wire", category="sport", topics=("a", "b", "c", "d", "e"), entities=(), title="One two three"), CONFIG
    ).tolist()
    empty = CONFIG.content_slots
    assert columns[0] < 12 <= columns[1] < 52
    assert all(52 <= column < 152 for column in columns[2:6])
    assert columns[6:12] == [empty] * 6
    assert all(282 <= column < 412 for column in columns[12:15])


def test_embeddings_of_any_length_keep_their_direction_on_average() -> None:
    rng = np.random.default_rng(0)
    cosines = []
    for length in range(200, 400):
        a = rng.normal(size=length)
        b = a + rng.normal(size=length)
        true = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        cosines.append(float(projected(tuple(a), 64) @ projected(tuple(b), 64)) - true)
    assert abs(np.mean(cosines)) < 0.03
    assert projected(None, 16).tolist() == [0.0] * 16
    with pytest.raises(InvalidInput, match="finite"):
        projected((1.0, float("nan")), 16)


def test_times_without_a_zone_are_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        epoch(NOW.replace(tzinfo=None))


def test_stems_are_the_beginnings_of_longer_words_each_once() -> None:
    """Inflections of a word agree in six letters; words of up to four say too little."""
    one = stems(Article("a", "The mayor's Budget decided", NOW, abstract="Budgets decide over mayors"))
    other = stems(Article("b", "Decides mayor budget", NOW))
    assert (one > 0).sum() == 4  # mayor, budget, decide, mayors
    assert set(other[other > 0]) < set(one)
    assert len(stems(Article("c", " ".join(f"word{i}" for i in range(100)), NOW))) == STEMS
