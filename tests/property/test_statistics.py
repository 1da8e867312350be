from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drn.statistics import STAKES, confidence_sequence, e_process, evidence, radius, reader_units, sessions

UNITS = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4), st.sampled_from(["different", "greater", "less"]))
def test_evidence_is_at_most_one_on_average_under_the_null(ups, alternative):
    """Over every path of two-point units of mean 0 whose spread changes as it goes: a supermartingale, close to a martingale."""
    total = 0.0
    for path in product([True, False], repeat=len(ups)):
        units = [up if rose else up - 1 for up, rose in zip(ups, path, strict=True)]  # +up with 1 − up, up − 1 with up
        probability = np.prod([1 - up if rose else up for up, rose in zip(ups, path, strict=True)])
        total += probability * np.exp(e_process(units, alternative=alternative)[-1])
    assert 0.8 < total <= 1 + 1e-12


@given(UNITS)
def test_evidence_from_sums_is_never_more_than_that_of_betting(units):
    """exp(λx − ψ(λ)x²) ≤ 1 + λx: what the sums give is what a gambler with the same stakes would have won at least."""
    won = np.log(np.mean(np.prod(1 + np.outer(units, STAKES), axis=0)))
    assert evidence(sum(units), sum(x * x for x in units)) <= won + 1e-9


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3), st.floats(-1, 1)), max_size=30))
def test_a_reader_is_one_unit_whatever_they_clicked(rows):
    users, clicks = [user for user, *_ in rows], [count for _, count, _ in rows]
    units = reader_units(users, clicks, [count * share for _, count, share in rows])
    clicking = {user for user, count, _ in rows if user and count} | {
        i for i, (user, count, _) in enumerate(rows) if count and not user
    }
    assert len(units) == len(clicking)
    assert (np.abs(units) <= 1).all()


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_radius_grows_with_what_was_seen_and_with_certainty(squares, more):
    assert 0 < radius(squares, 0.05) <= radius(squares + more, 0.05) <= radius(squares + more, 0.01)


@given(UNITS)
def test_turning_the_duel_round_turns_the_inference_round(units):
    flipped = [-x for x in units]
    np.testing.assert_allclose(e_process(units, alternative="greater"), e_process(flipped, alternative="less"))
    np.testing.assert_allclose(e_process(units), e_process(flipped), atol=1e-12)
    band, mirrored = confidence_sequence(units), confidence_sequence(flipped)
    np.testing.assert_allclose(band.lower, -mirrored.upper, atol=1e-9)


@given(UNITS, UNITS)
def test_later_units_never_change_an_earlier_look(units, more):
    t = len(units)
    np.testing.assert_array_equal(e_process(units + more)[:t], e_process(units))
    np.testing.assert_array_equal(confidence_sequence(units + more).upper[:t], confidence_sequence(units).upper)


@given(UNITS, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_band_holds_its_mean_within_the_bounds_and_widens_with_certainty(units, alpha):
    band = confidence_sequence(units, alpha)
    assert ((band.lower >= -1) & (band.lower <= band.mean) & (band.mean <= band.upper) & (band.upper <= 1)).all()
    scaled = confidence_sequence([(x + 1) / 2 for x in units], alpha, low=0.0)
    np.testing.assert_allclose(scaled.lower, (band.lower + 1) / 2, atol=1e-9)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 50), st.integers(0, 3), st.floats(-1, 1)), max_size=30),
    st.integers(0, 2_000),
    st.integers(0, 500),
)
def test_a_later_look_only_appends_sessions(rows, now, wait):
    users = [user for user, *_ in rows]
    seconds = np.cumsum([pause for _, pause, *_ in rows])
    clicks = [count for *_, count, _ in rows]
    outcomes = [count * share for *_, count, share in rows]
    known = seconds <= now  # the first look knows what had happened by then
    first = sessions(
        [u for u, k in zip(users, known, strict=True) if k],
        seconds[known],
        np.array(clicks)[known],
        np.array(outcomes)[known],
        30,
        now,
    )
    later = sessions(users, seconds, clicks, outcomes, 30, now + wait)
    np.testing.assert_array_equal(later[: len(first)], first)
    assert (np.abs(later) <= 1).all()
