import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from drn.catalogue import Catalogue, epoch
from drn.config import Config
from drn.errors import CorruptCheckpoint, InvalidInput, SchemaMismatch
from drn.features import (
    SCHEMA_PARAMETERS,
    dense_names,
    encode,
    input_shape,
    observe,
    schema_digest,
)
from drn.packing import pack, unpack
from drn.readers import Reader
from drn.types import Article, Context, Inputs, Observation

CONFIG = Config()
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


def newsroom() -> tuple[Catalogue, Reader]:
    catalogue = Catalogue(CONFIG)
    sport = Article("a1", "Late goal decides derby", NOW - 2 * HOUR, category="sport", embedding=(1.0, 0.0, 0.0))
    politics = Article("a2", "Budget talks collapse", NOW - 1 * HOUR, category="politics", embedding=(0.0, 1.0, 0.0))
    old = Article("a3", "Derby preview", NOW - 30 * HOUR, category="sport")
    for article in (sport, politics, old):
        catalogue.put(article)
    return catalogue, Reader(CONFIG.history_clicks)


def named(inputs: Inputs, candidate: int) -> dict[str, float]:
    return dict(zip(dense_names(CONFIG), inputs.dense[candidate].tolist(), strict=True))


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_the_default_sizes_are_the_papers() -> None:
    shape = input_shape(CONFIG)
    assert shape.content + 5 == 417
    assert shape.reader == 2065 + 32 + 1  # the paper's reader and context groups, and the list's length
    assert shape.dense == len(dense_names(CONFIG))
    catalogue, reader = newsroom()
    inputs = encode(observe(catalogue, reader, rows(0, 1), Context(), NOW), CONFIG)
    assert inputs.reader.shape == (shape.reader,)
    assert inputs.dense.shape == (2, shape.dense)
    assert {inputs.reader.dtype, inputs.dense.dtype} == {np.dtype(np.float32)}


def test_counts_rates_and_age_by_hand() -> None:
    catalogue, reader = newsroom()
    second = epoch(NOW)
    for _ in range(3):
        catalogue.click(0, second - 1800)
    catalogue.click(0, second - 7200)
    for _ in range(9):
        catalogue.expose(rows(0, 1), second - 600)
    features = named(encode(observe(catalogue, reader, rows(0, 1), Context(), NOW), CONFIG), 0)
    assert features["clicks_1h"] == pytest.approx((np.log(4) - 2.5) / 2)
    assert features["clicks_24h"] == pytest.approx((np.log(5) - 2.5) / 2)
    assert features["exposures_1h"] == pytest.approx((np.log(10) - 2.5) / 2)
    assert features["rate_1h"] == pytest.approx(np.log(4 / 20) + 2.5)
    assert features["category_rate_24h"] == pytest.approx(np.log(5 / 20) + 2.5)
    assert features["age"] == pytest.approx((np.log(3) - 2) / 2)
    assert features["clicks_1h_z"] == pytest.approx(1)
    assert features["clicks_1h_below"] == pytest.approx(0)  # half the list lies below, and the scale is ±1
    assert features["exposures_1h_z"] == 0


def test_the_readers_clicks_meet_the_candidates_properties() -> None:
    catalogue, reader = newsroom()
    reader.click(2, epoch(NOW - 2 * HOUR))
    reader.show(rows(0))
    inputs = encode(observe(catalogue, reader, rows(0, 1), Context(), NOW), CONFIG)
    assert [named(inputs, i)["match_category_6h"] for i in (0, 1)] == pytest.approx([np.log(2), 0])
    assert named(inputs, 0)["interest_category_6h"] == pytest.approx(5 / 4)
    assert named(inputs, 0)["match_category_1h"] == 0
    assert named(inputs, 0)["match_words_24h"] == pytest.approx(np.log(2))  # both titles say "derby"
    assert [named(inputs, i)["shown_before"] for i in (0, 1)] == pytest.approx([2 * np.log(2), 0])


def test_a_category_is_as_welcome_as_this_reader_clicked_on_what_they_were_shown_of_it() -> None:
    """Sport: two showings and a click, (1 + 1) / (2 + 11); politics: one showing, no click."""
    catalogue, reader = newsroom()
    reader.click(2, epoch(NOW - 2 * HOUR))
    for shown in (rows(0, 1), rows(2)):
        reader.show(shown)
    inputs = encode(observe(catalogue, reader, rows(0, 1), Context(), NOW), CONFIG)
    assert [named(inputs, i)["category_ctr"] for i in (0, 1)] == pytest.approx([np.log(2 / 13) + 1.5, np.log(1 / 12) + 1.5])
    assert [named(inputs, i)["category_shown"] for i in (0, 1)] == pytest.approx([(np.log(3) - 2.5) / 2, (np.log(2) - 2.5) / 2])


def test_words_are_compared_with_the_last_click_and_with_the_likest_of_the_newest() -> None:
    """'Derby preview' shares one of its two stems with 'Late goal decides derby', which has two; none with the budget's."""
    catalogue, reader = newsroom()
    reader.click(2, epoch(NOW - 2 * HOUR))
    inputs = encode(observe(catalogue, reader, rows(0, 1, 2), Context(), NOW), CONFIG)
    assert [named(inputs, i)["like_last_click"] for i in range(3)] == pytest.approx([2.5, 0, 5])
    reader.click(1, epoch(NOW - HOUR))
    inputs = encode(observe(catalogue, reader, rows(0, 1, 2), Context(), NOW), CONFIG)
    assert [named(inputs, i)["like_last_click"] for i in range(3)] == pytest.approx([0, 5, 0])
    assert [named(inputs, i)["like_latest_clicks"] for i in range(3)] == pytest.approx([2.5, 5, 5])


def test_a_list_on_an_articles_page_is_compared_with_that_article() -> None:
    catalogue, reader = newsroom()
    inputs = encode(observe(catalogue, reader, rows(0, 1, 2), Context(article_id="a3"), NOW), CONFIG)
    assert [named(inputs, i)["like_page"] for i in range(3)] == pytest.approx([2.5, 0, 5])
    assert [named(inputs, i)["own_page"] for i in range(3)] == [0, 0, 1]
    for nowhere in (Context(), Context(article_id="unknown")):
        inputs = encode(observe(catalogue, reader, rows(0, 1, 2), nowhere, NOW), CONFIG)
        assert [named(inputs, i)[name] for i in range(3) for name in ("like_page", "own_page")] == [0] * 6


def test_an_embedding_is_compared_with_the_readers_clicks() -> None:
    catalogue, reader = newsroom()
    reader.click(0, epoch(NOW - HOUR))
    inputs = encode(observe(catalogue, reader, rows(0, 1, 2), Context(), NOW), CONFIG)
    same, other, none = (named(inputs, i)["embedding_similarity"] for i in range(3))
    assert same > other
    assert none == 0


def test_context_is_one_hot() -> None:
    catalogue, reader = newsroom()
    context = encode(observe(catalogue, reader, rows(0), Context("mobile", "home"), NOW), CONFIG).reader[2065:2097]
    assert context[:31].sum() == 4
    assert context[12 * 8 // 24] == 1
    assert context[8 + 2] == 1


def test_nothing_later_than_now_is_seen() -> None:
    """Feeding the state in time order and asking on the way equals a state that was never fed anything later."""
    rng = np.random.default_rng(3)
    events = sorted((int(at), int(row)) for at, row in zip(rng.integers(0, 200_000, 300), rng.integers(0, 3, 300), strict=True))
    asked = NOW - timedelta(seconds=70_000)
    start = epoch(NOW) - 200_000
    way, state = newsroom(), newsroom()
    seen: Observation | None = None
    for at, row in events:
        if start + at > epoch(asked) and seen is None:
            seen = observe(*way, rows(0, 1, 2), Context(), asked)
        for fed in (way, state) if start + at <= epoch(asked) else (way,):
            fed[0].click(row, start + at)
            fed[1].click(row, start + at)
    assert seen is not None
    assert pack(seen) == pack(observe(*state, rows(0, 1, 2), Context(), asked))


def test_bytes_come_back_as_they_went() -> None:
    catalogue, reader = newsroom()
    reader.click(0, epoch(NOW) - 5)
    observation = observe(catalogue, reader, rows(0, 1, 2), Context("tv"), NOW)
    wide = dataclasses.replace(observation, counts=observation.counts + np.uint32(70_000))
    for value in (observation, wide, dataclasses.replace(observation, embedding=observation.embedding * 0)):
        back = unpack(pack(value))
        for field in dataclasses.fields(Observation):
            np.testing.assert_array_equal(getattr(back, field.name), getattr(value, field.name))
        assert encode(back, CONFIG).dense.tobytes() == encode(value, CONFIG).dense.tobytes()


def test_foreign_bytes_are_refused() -> None:
    catalogue, reader = newsroom()
    packed = pack(observe(catalogue, reader, rows(0), Context(), NOW))
    with pytest.raises(CorruptCheckpoint, match="not a packed"):
        unpack(b"nonsense")
    for length in (len(packed) - 1, len(packed) - 2, len(packed) // 2, 40):
        with pytest.raises(CorruptCheckpoint, match="damaged"):
            unpack(packed[:length])
    with pytest.raises(SchemaMismatch, match="schema 9"):
        unpack(packed[:4] + b"\x09\x00" + packed[6:])


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    catalogue, reader = newsroom()
    observation = observe(catalogue, reader, rows(0, 1), Context(), NOW)
    for changes in (
        {"age": observation.age[:1]},
        {"content": observation.content[:, :5].copy()},
        {"context": observation.context + 200},
        {"seen": observation.seen[:, :6].copy()},
        {"category_counts": observation.category_counts[:, :1].copy()},
        {"embedding": observation.embedding[:1]},
        {"embedding": observation.embedding[:, :4].copy()},
        {"reader_embedding": observation.reader_embedding[:4]},
    ):
        with pytest.raises(InvalidInput, match=r"fit each other|out of range|do not fit its candidates"):
            encode(dataclasses.replace(observation, **changes), CONFIG)


@pytest.mark.parametrize("name", SCHEMA_PARAMETERS)
def test_the_schema_digest_follows_every_parameter_that_shapes_features(name: str) -> None:
    other = "paper" if name == "features" else getattr(CONFIG, name) + 1
    assert schema_digest(CONFIG) != schema_digest(dataclasses.replace(CONFIG, **{name: other}))
    assert schema_digest(CONFIG) == schema_digest(dataclasses.replace(CONFIG, gamma=0.9))


def test_the_papers_features_alone_leave_the_added_ones_blank() -> None:
    catalogue, reader = newsroom()
    catalogue.expose(rows(0, 1), epoch(NOW))
    reader.click(0, epoch(NOW - HOUR))
    observation = observe(catalogue, reader, rows(0, 1), Context(), NOW)
    every, paper = encode(observation, CONFIG), encode(observation, dataclasses.replace(CONFIG, features="paper"))
    kept = {name for name, value in named(paper, 1).items() if value != 0}
    assert {"clicks_1h", "age", "match_category_1y"} & kept == {"clicks_1h", "age"}  # no click on politics
    assert named(paper, 0)["match_category_1y"] == named(every, 0)["match_category_1y"] > 0
    assert not {name for name in kept if name.startswith(("exposures", "rate", "interest", "clicks_10m")) or name.endswith("_z")}
    assert all(named(paper, 1)[name] == named(every, 1)[name] for name in kept)
    np.testing.assert_array_equal(paper.reader, every.reader)
