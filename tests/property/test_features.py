"""What the networks see, made by compiled code, against the formulas of the features written out one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drn.catalogue import column_counts
from drn.config import Config
from drn.features import AGE, GROUPS, INTEREST_PRIOR, WINDOW_NAMES, V, W, dense_names, encode
from drn.types import Observation

CONFIG = Config(embedding_size=4)


def observation(n: int, seed: int, config: Config = CONFIG) -> Observation:
    """Any state of the world: counts from none to many, empty columns, a reader with or without clicks."""
    rng = np.random.default_rng(seed)
    clicks = rng.poisson(rng.choice([0.0, 0.02, 1.0]), (V, config.content_slots))
    return Observation(
        reader=np.cumsum(clicks, axis=0).astype(np.uint16),
        reader_totals=np.cumsum(rng.integers(0, 30, V)).astype(np.uint16),
        context=np.array([rng.integers(8), rng.integers(7), rng.integers(8), rng.integers(8)], np.uint8),
        content=rng.integers(0, config.content_slots + 1, (n, sum(column_counts(config)))).astype(np.uint16),
        counts=(rng.pareto(1, (n, 2 * W)) * 3).astype(np.uint32),
        category_counts=rng.integers(0, 100_000, (n, 2)).astype(np.uint32),
        seen=(rng.poisson(0.3, (n, 7)) * [1, 1, 9, 300, 400, 300, 1]).astype(np.uint16),
        age=rng.integers(0, 2**31 - 1, n).astype(np.int32),
        embedding=rng.normal(size=(n, config.embedding_size)).astype(np.float16),
        reader_embedding=rng.normal(size=config.embedding_size).astype(np.float16),
    )


def by_hand(seen: Observation) -> dict[str, np.ndarray]:
    """The features of one candidate's own, by the name of the input that is made of each."""
    made = {}
    profile = np.pad(seen.reader.astype(float), ((0, 0), (0, 1)))
    first = 0
    for group, columns in zip(GROUPS, column_counts(CONFIG), strict=True):
        for window, name in enumerate(WINDOW_NAMES[1:]):
            found = profile[window][seen.content[:, first : first + columns]].sum(axis=1)
            made[f"match_{group}_{name}"] = np.log(1 + found)
            made[f"interest_{group}_{name}"] = 5 * found / (seen.reader_totals[window] + INTEREST_PRIOR)
        first += columns
    for window, name in enumerate(WINDOW_NAMES):
        clicks, exposures = seen.counts[:, window].astype(float), seen.counts[:, W + window].astype(float)
        made[f"clicks_{name}"] = (np.log(1 + clicks) - 2.5) / 2
        made[f"exposures_{name}"] = (np.log(1 + exposures) - 2.5) / 2
        made[f"rate_{name}"] = np.log((clicks + 1) / (exposures + 11)) + 2.5
    of_category = seen.category_counts.astype(float)
    made["category_rate_24h"] = np.log((of_category[:, 0] + 1) / (of_category[:, 1] + 11)) + 2.5
    made["age"] = (np.log(1 + seen.age / 3_600) - 2) / 2
    made["shown_before"], made["already_read"] = 2 * np.log(1 + seen.seen.T[:2])
    showings, of_readers = seen.seen[:, 2].astype(float), np.exp(made["match_category_1y"]) - 1
    made["category_shown"] = (np.log(1 + showings) - 2.5) / 2
    made["category_ctr"] = np.log((of_readers + 1) / (showings + 11)) + 1.5
    made["like_last_click"], made["like_latest_clicks"], made["like_page"] = seen.seen.T[3:6] / 200
    made["own_page"] = seen.seen[:, 6].astype(float)
    made |= {f"embedding_{i}": seen.embedding[:, i].astype(float) for i in range(4)}
    made["embedding_similarity"] = seen.embedding.astype(float) @ seen.reader_embedding.astype(float)
    return made


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_every_feature_is_its_formula(n: int, seed: int) -> None:
    seen = observation(n, seed)
    inputs = encode(seen, CONFIG)
    found = dict(zip(dense_names(CONFIG), inputs.dense.T, strict=True))
    expected = by_hand(seen)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-6, atol=2e-6, err_msg=name)
    assert {name for name in found if name not in expected} == {
        name for name in found if name.endswith(("_z", "_below")) and name.rsplit("_", 1)[0] in expected
    }


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32))
def test_the_readers_inputs_are_their_formulas(n: int, seed: int) -> None:
    seen = observation(n, seed)
    reader = encode(seen, CONFIG).reader
    size = V * CONFIG.content_slots
    np.testing.assert_allclose(reader[:size].reshape(V, -1), seen.reader / (seen.reader_totals[:, None] + 3.0), rtol=1e-6)
    np.testing.assert_allclose(reader[size : size + V], np.log1p(seen.reader_totals.astype(float)) / 4, rtol=1e-6)
    hour, weekday, device, surface = seen.context.tolist()
    expected = np.zeros(31)
    expected[[hour, 8 + weekday, 15 + device, 23 + surface]] = 1
    np.testing.assert_array_equal(reader[size + V : -2], expected)
    assert abs(reader[-2] - (np.log(1 + seen.age / 3_600).mean() - 2) / 2) < 1e-5
    assert abs(reader[-1] - (np.log1p(n) - 2.5) / 2) < 1e-6


def test_age_is_where_its_row_is_named() -> None:
    assert dense_names(CONFIG)[AGE] == "age"
