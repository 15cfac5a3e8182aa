"""What holds of a statistic whatever the data: order, swap, shift, scale, bounds, ties, and next to no data.

What tests/unit/stats says of one function is not said again; these hold of what users read.
"""

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.best_of_k.frontier import Draw, DrawCosts, costs, frontier
from overnight.best_of_k.sums import RecoverySums, RecoveryTally, merge
from overnight.errors import UndefinedMetricError
from overnight.scoring.rouge import rouge_accuracy, rouge_l
from overnight.stats.auroc_difference import compare_apart, compare_measures, compare_models
from overnight.stats.cochran import cochran_q
from overnight.stats.correlations import correlations, partial_spearman
from overnight.stats.degeneracy import degeneracy
from overnight.stats.exact_rate import exact_interval
from overnight.stats.paired import Margin, PairedStatistics, paired_statistics
from overnight.stats.pairs import pair
from overnight.stats.price_of_gain import usd_per_point
from overnight.stats.rng import stream
from overnight.stats.scored_items import ScoredItems, scored_items
from overnight.stats.systems import compare_systems
from overnight.telemetry.signal_stats import SignalStats
from overnight.traits.dynamics import (
    acceleration,
    commitment,
    mean_speed,
    persistence,
    velocity,
    windowed_commitment,
)
from overnight.traits.strength import cohens_d, compare
from overnight.traits.superposition import superposition
from tests.fuzz.effort import effort

# Eighths: their sums, differences and products by powers of two are exact, so that equal means equal.
EIGHTHS = st.integers(-80, 80).map(lambda n: n / 8)
SCORES = st.integers(0, 4).map(lambda n: n / 4)
KEYS = st.integers(0, 40).map(lambda n: f"i{n:02}")
ARMS = st.dictionaries(KEYS, st.tuples(SCORES, SCORES), max_size=25)
FEW, HALF = effort(0.2), effort(0.5)


def paired(arms: dict[str, tuple[float, float]], **changes: Any) -> PairedStatistics:
    control, treatment = ({key: values[side] for key, values in arms.items()} for side in (0, 1))
    given = {"metric": "em", "has_right_and_wrong": False, "margin": Margin(margin=0.25), "n_resamples": 60}
    return paired_statistics(
        pair(control, treatment), stream_for=lambda purpose: stream(7, purpose), **given | changes
    )


def require_writable(value: Any) -> None:
    """Every number is finite or None: nothing else goes into a file."""
    json.dumps(asdict(value), allow_nan=False, default=str)


def shuffled(values: dict[str, Any], seed: int) -> dict[str, Any]:
    keys = list(values)
    random.Random(seed).shuffle(keys)
    return {key: values[key] for key in keys}


# --- paired differences


@FEW
@given(arms=ARMS, seed=st.integers(0, 99), binary=st.booleans())
def test_no_order_of_items_moves_a_paired_number(
    arms: dict[str, tuple[float, float]], seed: int, binary: bool
) -> None:
    assert paired(shuffled(arms, seed), has_right_and_wrong=binary) == paired(
        arms, has_right_and_wrong=binary
    )


@FEW
@given(arms=ARMS, binary=st.booleans())
def test_to_swap_the_arms_turns_the_sign_and_no_p_value(
    arms: dict[str, tuple[float, float]], binary: bool
) -> None:
    there = paired(arms, has_right_and_wrong=binary)
    back = paired({key: (b, a) for key, (a, b) in arms.items()}, has_right_and_wrong=binary)
    for name in ("mean_difference", "hodges_lehmann", "cohens_dz", "rank_biserial", "sign_statistic"):
        one, other = getattr(there, name), getattr(back, name)
        assert (one is None) == (other is None), name
        assert one is None or one == pytest.approx(-other, abs=1e-12), name
    assert (there.mean_control, there.mean_treatment) == (back.mean_treatment, back.mean_control)
    assert there.permutation_p == back.permutation_p
    assert (there.wilcoxon is None) == (back.wilcoxon is None)
    if there.wilcoxon is not None and back.wilcoxon is not None:
        assert there.wilcoxon.p_value == pytest.approx(back.wilcoxon.p_value)
    if there.mcnemar is not None and back.mcnemar is not None:
        assert there.mcnemar.p_exact == back.mcnemar.p_exact


@FEW
@given(arms=ARMS, shift=EIGHTHS, power=st.integers(-3, 3))
def test_a_shift_of_both_arms_moves_no_difference_and_a_scale_moves_it_alone(
    arms: dict[str, tuple[float, float]], shift: float, power: int
) -> None:
    plain, factor = paired(arms, margin=None), 2.0**power
    moved = paired({key: (a + shift, b + shift) for key, (a, b) in arms.items()}, margin=None)
    scaled = paired({key: (a * factor, b * factor) for key, (a, b) in arms.items()}, margin=None)
    for name in ("mean_difference", "ci_low", "ci_high", "hodges_lehmann"):
        one = getattr(plain, name)
        assert getattr(moved, name) == pytest.approx(one, abs=1e-12), name
        assert getattr(scaled, name) == (None if one is None else pytest.approx(one * factor, abs=1e-12)), (
            name
        )
    for name in ("cohens_dz", "rank_biserial", "sign_statistic", "permutation_p"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), abs=1e-9), name
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), abs=1e-9), name


@FEW
@given(arms=ARMS, clusters=st.dictionaries(KEYS, st.sampled_from("abc")), binary=st.booleans())
def test_paired_numbers_are_within_their_bounds_or_are_none_with_a_reason(
    arms: dict[str, tuple[float, float]], clusters: dict[str, str], binary: bool
) -> None:
    found = paired(arms, clusters=clusters or None, has_right_and_wrong=binary)
    require_writable(found)
    assert found.n_pairs == len(arms)
    assert 0 <= found.n_clusters <= len(arms)
    if not arms:
        assert found.undefined_because
        assert found.mean_difference is None
        return
    differences = [b - a for a, b in arms.values()]
    assert found.mean_difference is not None
    assert min(differences) - 1e-12 <= found.mean_difference <= max(differences) + 1e-12
    assert (found.ci_low is None) == (found.ci_high is None) == (found.undefined_because is not None)
    if found.ci_low is not None and found.ci_high is not None:
        assert min(differences) - 1e-12 <= found.ci_low <= found.ci_high <= max(differences) + 1e-12
    p_values = [found.permutation_p, found.p_value, found.wilcoxon and found.wilcoxon.p_value]
    assert all(p is None or 0.0 < p <= 1.0 for p in p_values)
    assert all(each is None or -1.0 <= each <= 1.0 for each in (found.rank_biserial, found.sign_statistic))


@FEW
@given(values=st.lists(SCORES, min_size=2, max_size=12), constant=EIGHTHS)
def test_arms_that_differ_by_a_constant_have_no_spread_and_that_difference(
    values: list[float], constant: float
) -> None:
    found = paired({f"i{n}": (value, value + constant) for n, value in enumerate(values)})
    assert found.mean_difference == found.hodges_lehmann == found.ci_low == found.ci_high == constant
    assert found.cohens_dz is None
    require_writable(found)


# --- several systems


TABLES = st.integers(2, 4).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n), min_size=0, max_size=12)
)


@FEW
@given(table=TABLES, seed=st.integers(0, 99))
def test_cochrans_q_knows_no_order_and_nothing_of_items_that_tell_no_systems_apart(
    table: list[list[float]], seed: int
) -> None:
    right = np.array(table, dtype=np.float64).reshape(len(table), -1 if table else 2)
    found = cochran_q(right)
    rng = np.random.default_rng(seed)
    moved = cochran_q(right[rng.permutation(len(right))][:, rng.permutation(right.shape[1])])
    more = cochran_q(np.vstack([right, np.ones((2, right.shape[1])), np.zeros((1, right.shape[1]))]))
    require_writable(found)
    if found.q is None:
        assert found.undefined_because
        assert moved.q is None
    else:
        assert found.q >= 0
        assert found.p_value is not None
        assert 0 <= found.p_value <= 1
        assert moved.q == pytest.approx(found.q)
        assert more.q == pytest.approx(found.q)


@effort(0.1)
@given(rows=st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=8))
def test_to_turn_the_order_of_systems_turns_the_sign_of_their_pair(
    rows: list[tuple[float, float, float]],
) -> None:
    scores = {name: {f"i{n}": row[s] for n, row in enumerate(rows)} for s, name in enumerate("abc")}
    there = compare_systems(scores, metric="f1", seed=1, n_resamples=30)
    back = compare_systems({name: scores[name] for name in "cba"}, metric="f1", seed=1, n_resamples=30)
    require_writable(there)
    turned = {(one.second, one.first): one for one in back.pairs}
    for one in there.pairs:
        other = turned[one.first, one.second]
        assert one.mean_difference == pytest.approx(-other.mean_difference, abs=1e-12)
    assert {each.system: each for each in there.systems} == {each.system: each for each in back.systems}


# --- areas under curves


RANKED = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.booleans()), max_size=40)


def ranked(rows: list[tuple[int, int, bool]], side: int, of: Callable[[float], float] = float) -> ScoredItems:
    keys = [f"i{n:02}" for n in range(len(rows))]
    return scored_items(
        {key: of(row[side]) for key, row in zip(keys, rows, strict=True)},
        {key: not row[2] for key, row in zip(keys, rows, strict=True)},
    )


@FEW
@given(rows=RANKED)
def test_to_swap_two_measures_turns_their_difference(rows: list[tuple[int, int, bool]]) -> None:
    a, b = ranked(rows, 0), ranked(rows, 1)
    (there,), (back,) = compare_measures({"a": a, "b": b}), compare_measures({"b": b, "a": a})
    apart, again = compare_apart(("a", a), ("b", b)), compare_apart(("b", b), ("a", a))
    for one, other in ((there, back), (apart, again)):
        require_writable(one)
        assert (one.difference is None) == (other.difference is None)
        assert one.p_value == (None if other.p_value is None else pytest.approx(other.p_value))
        if one.difference is not None:
            assert one.difference == pytest.approx(-other.difference, abs=1e-12)
            assert -1 <= one.difference <= 1
            assert one.p_value is not None or one.undefined_because
        if one.low is not None:
            assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@FEW
@given(rows=RANKED)
def test_an_area_knows_ranks_alone(rows: list[tuple[int, int, bool]]) -> None:
    plain = compare_measures({"a": ranked(rows, 0), "b": ranked(rows, 1)})
    bent = compare_measures({"a": ranked(rows, 0, lambda x: x**3 + 5.0), "b": ranked(rows, 1, math.exp)})
    for one, other in zip(plain, bent, strict=True):
        assert (one.auroc_first, one.auroc_second) == (other.auroc_first, other.auroc_second)
        assert one.p_value == (None if other.p_value is None else pytest.approx(other.p_value, abs=1e-9))
    assert degeneracy(ranked(rows, 0)) == degeneracy(ranked(rows, 0, lambda x: x**3 + 5.0))


@FEW
@given(rows=RANKED)
def test_two_models_are_compared_within_bounds_and_a_model_not_with_itself(
    rows: list[tuple[int, int, bool]],
) -> None:
    a, b = ranked(rows, 0), ranked([(y, x, not wrong) for x, y, wrong in rows], 0)
    found = compare_models(("a", a), ("b", b), rng=np.random.default_rng(1), n_resamples=50)
    require_writable(found)
    assert found.low is None or found.high is None or -1 <= found.low <= found.high <= 1
    assert found.p_value is None or 0 < found.p_value <= 1
    same = compare_models(("a", a), ("a", a), rng=np.random.default_rng(1), n_resamples=50)
    assert same.p_value is None
    assert same.undefined_because


# --- ranks


@HALF
@given(rows=st.lists(st.tuples(EIGHTHS, EIGHTHS, EIGHTHS), max_size=15))
def test_a_rank_correlation_is_the_same_both_ways_and_turns_with_one_side(
    rows: list[tuple[float, float, float]],
) -> None:
    columns = {name: {f"i{n}": row[s] for n, row in enumerate(rows)} for s, name in enumerate("ab")}
    (there,), (back,) = correlations(columns), correlations({"b": columns["b"], "a": columns["a"]})
    (turned,) = correlations({"a": columns["a"], "b": {key: -value for key, value in columns["b"].items()}})
    require_writable(there)
    assert (there.rho is None) == (there.undefined_because is not None)
    assert (there.rho is None) == (turned.rho is None)
    if there.rho is not None:
        assert -1 <= there.rho <= 1
        assert there.rho == pytest.approx(back.rho)
        assert there.rho == pytest.approx(-turned.rho)
    a, b, c = (np.array([row[s] for row in rows]) for s in range(3))
    try:
        one = partial_spearman(a, b, c)
    except UndefinedMetricError:
        with pytest.raises(UndefinedMetricError):
            partial_spearman(b, a, c)
    else:
        other = partial_spearman(b, a, -c)
        assert -1 <= one.rho <= 1
        assert one.rho == pytest.approx(other.rho)
        assert one.p_value == pytest.approx(other.p_value)
        assert 0 <= one.p_value <= 1


# --- rates and prices


@HALF
@given(n=st.integers(0, 60), data=st.data(), confidence=st.sampled_from([0.5, 0.9, 0.99]))
def test_an_exact_interval_holds_the_rate_and_is_that_of_failures_turned_round(
    n: int, data: st.DataObject, confidence: float
) -> None:
    k = data.draw(st.integers(0, n))
    found, turned = exact_interval(k, n, confidence), exact_interval(n - k, n, confidence)
    if found is None or turned is None:
        assert n == 0
        return
    assert 0 <= found[0] <= k / n <= found[1] <= 1
    assert found == pytest.approx((1 - turned[1], 1 - turned[0]))
    more = exact_interval(min(k + 1, n), n, confidence)
    assert more is not None
    assert more[0] >= found[0]
    assert more[1] >= found[1]


@HALF
@given(usd=EIGHTHS, gain=EIGHTHS)
def test_a_gain_has_a_price_where_it_is_one_and_costs_something(usd: float, gain: float) -> None:
    if usd > 0 and gain > 0:
        assert usd_per_point(usd, gain) == pytest.approx(usd / gain / 100)
        assert usd_per_point(2 * usd, gain) == pytest.approx(2 * usd_per_point(usd, gain))
    else:
        with pytest.raises(UndefinedMetricError):
            usd_per_point(usd, gain)


# --- streaming sums


@HALF
@given(values=st.lists(EIGHTHS, max_size=60), seed=st.integers(0, 99), room=st.integers(1, 8))
def test_a_signal_knows_no_order_and_is_exact_in_all_but_percentiles_however_little_it_keeps(
    values: list[float], seed: int, room: int
) -> None:
    whole, small, mixed = SignalStats(), SignalStats(exact_values=room), SignalStats()
    for value in values:
        whole.add(value)
        small.add(value)
    for value in random.Random(seed).sample(values, len(values)):
        mixed.add(value)
    found, other = whole.summary(), small.summary()
    assert found == mixed.summary()
    if found is None or other is None:
        assert not values
        return
    assert (
        (found.n, found.min, found.max)
        == (other.n, other.min, other.max)
        == (len(values), min(values), max(values))
    )
    assert found.mean == pytest.approx(other.mean)
    for summary in (found, other):
        assert summary.min <= summary.p50 <= summary.p95 <= summary.p99 <= summary.max
        assert summary.min <= summary.mean <= summary.max


POINT = st.lists(EIGHTHS, min_size=2, max_size=2)
VECTORS = st.lists(
    st.tuples(st.sampled_from("abc"), POINT, st.lists(POINT, min_size=2, max_size=2)), min_size=1, max_size=8
)
WEIGHTS = np.array([[0.5, 0.5], [0.25, 0.75]])


def tallied(vectors: list[Any], origin: float = 0.0) -> RecoverySums:
    tally = RecoveryTally([1, 2], 2, np.full(2, origin))
    for source, x, kept in vectors:
        tally.add(source, np.array(x), np.array(kept), WEIGHTS)
    return tally.sums()


def require_same(one: RecoverySums, other: RecoverySums) -> None:
    assert one.sources == other.sources
    for name in (
        "n",
        "x",
        "x_squares",
        "residual",
        "residual_squares",
        "mean_residual_squares",
        "n_cosine",
        "cosine",
    ):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9, err_msg=name)


@HALF
@given(vectors=VECTORS, data=st.data())
def test_sums_of_recovery_split_anywhere_and_merged_in_any_order_are_the_same(
    vectors: list[Any], data: st.DataObject
) -> None:
    whole = tallied(vectors)
    order = data.draw(st.permutations(vectors))
    cut = data.draw(st.integers(0, len(vectors)))
    require_same(tallied(order), whole)
    require_same(merge([tallied(order[cut:]), tallied(order[:cut])]), whole)
    require_same(merge([whole]), whole)
    # Jensen: the square of an expected residual is no more than the expected square.
    assert (whole.mean_residual_squares <= whole.residual_squares + 1e-9).all()
    assert whole.n_vectors == len(vectors)


SECONDS = st.integers(0, 8).map(lambda n: n / 8)
DRAWS = st.lists(
    st.builds(Draw, n_tokens=st.integers(0, 9), seconds=st.none() | SECONDS, is_usable=st.booleans()),
    max_size=12,
)


@HALF
@given(draws=DRAWS, data=st.data())
def test_costs_of_draws_split_anywhere_add_up(draws: list[Draw], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(draws)))
    assert costs(draws[:cut]) + costs(draws[cut:]) == costs(draws)
    assert costs(data.draw(st.permutations(draws))) == costs(draws)
    assert DrawCosts() + costs(draws) == costs(draws)


SPENT = st.builds(
    DrawCosts,
    n_draws=st.just(4),
    n_usable=st.integers(1, 4),
    n_tokens=st.integers(0, 40),
    n_timed=st.sampled_from([0, 4]),
    seconds=SECONDS,
)
CURVES = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(SPENT, st.dictionaries(st.sampled_from([1, 2, 4, 8]), EIGHTHS | st.none(), min_size=1)),
    min_size=1,
)


@HALF
@given(curves=CURVES, seed=st.integers(0, 99))
def test_what_is_efficient_is_beaten_by_nothing_and_the_rest_by_something_efficient(
    curves: dict[str, Any], seed: int
) -> None:
    points = frontier(curves)
    assert {(p.label, p.k): p for p in points} == {
        (p.label, p.k): p for p in frontier(shuffled(curves, seed))
    }
    known = [p for p in points if p.recovery is not None]

    def beats(a: Any, b: Any) -> bool:
        return (
            a.tokens_per_vector <= b.tokens_per_vector
            and a.recovery >= b.recovery
            and (a.tokens_per_vector, a.recovery) != (b.tokens_per_vector, b.recovery)
        )

    efficient = [p for p in known if p.is_efficient_in_tokens]
    assert bool(efficient) == bool(known)
    for point in known:
        assert point.is_efficient_in_tokens != any(beats(other, point) for other in efficient)


# --- traits


SERIES = st.lists(EIGHTHS, max_size=14).map(np.array)


@HALF
@given(series=SERIES, shift=EIGHTHS, power=st.integers(-3, 3), sign=st.sampled_from([-1.0, 1.0]))
def test_how_a_projection_moves_is_not_where_it_is_nor_in_which_unit(
    series: Any, shift: float, power: int, sign: float
) -> None:
    factor = sign * 2.0**power
    moved, scaled = series + shift, series * factor
    np.testing.assert_array_equal(velocity(moved), velocity(series))
    np.testing.assert_array_equal(velocity(scaled), factor * velocity(series))
    np.testing.assert_array_equal(acceleration(moved), acceleration(series))
    if len(series):
        np.testing.assert_allclose(mean_speed(scaled), abs(factor) * mean_speed(series))
        np.testing.assert_array_equal(commitment(scaled), commitment(series))
        np.testing.assert_array_equal(
            windowed_commitment(scaled, window=3), windowed_commitment(series, window=3)
        )
        found = persistence(series)
        np.testing.assert_array_equal(persistence(scaled), found)
        assert math.isnan(found) or 0 <= found < len(series)


@HALF
@given(
    directions=st.lists(st.lists(EIGHTHS, min_size=3, max_size=3), min_size=1, max_size=5),
    power=st.integers(-3, 3),
)
def test_cosines_are_the_same_both_ways_and_know_no_length(directions: list[list[float]], power: int) -> None:
    given = np.array(directions)
    found = superposition(given)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(superposition(given * 2.0**power), found)
    np.testing.assert_allclose(superposition(given[::-1]), found[::-1, ::-1])
    is_zero = ~given.any(axis=1)
    assert (np.isnan(np.diag(found)) == is_zero).all()
    assert (np.nan_to_num(np.abs(found)) <= 1.0).all()


@HALF
@given(positive=st.lists(EIGHTHS, min_size=2, max_size=9), negative=st.lists(EIGHTHS, min_size=2, max_size=9))
def test_cohens_d_turns_with_the_sides(positive: list[float], negative: list[float]) -> None:
    def moments(one: list[float], other: list[float]) -> Any:
        return np.array(
            [[f(np.array(side))] for side in (one, other) for f in (np.sum, lambda v: (v * v).sum())]
        )

    there, spread = cohens_d(moments(positive, negative), len(positive), len(negative))
    back, same = cohens_d(moments(negative, positive), len(negative), len(positive))
    np.testing.assert_allclose(there, -back)
    np.testing.assert_allclose(spread, same)
    # None of constant sides: there is nothing to measure by.
    assert np.isnan(there).all() == (np.ptp(positive) == 0 and np.ptp(negative) == 0)


@HALF
@given(observed=EIGHTHS | st.just(float("nan")), null=st.lists(EIGHTHS | st.just(float("nan")), max_size=12))
def test_chance_is_never_better_for_being_unknown(observed: float, null: list[float]) -> None:
    found = compare(observed, np.array(null))
    require_writable(found)
    if math.isnan(observed):
        assert found.p is None
        return
    assert found.p is not None
    assert 1 / (1 + len(null)) - 1e-12 <= found.p <= 1
    known = compare(observed, np.array([value for value in null if not math.isnan(value)]))
    assert found.mean == known.mean
    worst = compare(observed, np.array([1e9 if math.isnan(value) else value for value in null]))
    assert found.p == worst.p
    higher = compare(observed + 1, np.array(null)).p
    assert higher is not None
    assert higher <= found.p


# --- scores


WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "Mat", "7", "é", "."]), max_size=6).map(" ".join)


@FEW
@given(reply=WORDS, answers=st.lists(WORDS, max_size=4), seed=st.integers(0, 9))
def test_rouge_is_a_share_that_more_answers_do_not_lower(reply: str, answers: list[str], seed: int) -> None:
    found = rouge_l(reply, answers)
    assert (found is None) == (not answers)
    if found is None:
        return
    assert 0 <= found <= 1
    assert found == rouge_l(reply, random.Random(seed).sample(answers, len(answers)))
    assert (rouge_l(reply, [*answers, reply]) or 0.0) >= found
    assert found == max(rouge_l(answer, [reply]) or 0.0 for answer in answers)
    assert rouge_accuracy(found, found) == 0.0


def test_draws_of_no_time_are_kept_apart_from_draws_of_unknown_time() -> None:
    draw = Draw(n_tokens=1, seconds=0.0)
    assert costs([draw]).seconds_per_usable_draw == 0.0
    assert costs([draw, replace(draw, seconds=None)]).seconds_per_usable_draw is None
