import numpy as np
import pytest
from scipy import stats

from overnight.errors import UndefinedMetricError
from overnight.stats.correlations import correlations, partial_spearman


def test_spearman_is_scipys_over_the_items_of_both() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.integers(0, 5, 50).astype(float)
    keys = [f"i{n}" for n in range(50)]
    first = dict(zip(keys, a.tolist(), strict=True)) | {"i0": None}
    second = dict(zip(keys, b.tolist(), strict=True)) | {"extra": 1.0}
    (found,) = correlations({"a": first, "b": second})
    oracle = stats.spearmanr(a[1:], b[1:])
    assert (found.n_items, found.rho, found.p_value) == (
        49,
        pytest.approx(oracle.statistic),
        pytest.approx(oracle.pvalue),
    )
    assert (found.ties_first, found.ties_second) == (0.0, 1.0)
    assert not found.is_same_ranking


def test_perplexity_and_average_nll_are_one_ranking() -> None:
    nll = {str(n): float(n % 7) for n in range(20)}
    (found,) = correlations({"average_nll": nll, "perplexity": {k: float(np.exp(v)) for k, v in nll.items()}})
    assert found.is_same_ranking
    assert (found.rho, found.p_value) == (pytest.approx(1.0), None)


def test_what_does_not_vary_has_no_correlation() -> None:
    few, flat = {"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 1.0, "c": 1.0}
    rising = {"a": 1.0, "b": 2.0, "c": 3.0}
    (short,) = correlations({"x": few, "y": rising})
    (constant,) = correlations({"x": flat, "y": rising})
    assert (short.rho, constant.rho) == (None, None)
    assert "2 items" in short.undefined_because
    assert "x is constant" in constant.undefined_because


def test_the_partial_correlation_is_that_of_residual_ranks() -> None:
    # An independent route: regress the ranks of both on the ranks of the third and correlate what is left.
    rng = np.random.default_rng(1)
    length = rng.integers(1, 30, 80).astype(float)
    score, wrong = length + rng.normal(size=80) * 5, (length + rng.normal(size=80) * 20 > 15).astype(float)
    ranks = [stats.rankdata(column) for column in (score, wrong, length)]
    design = np.column_stack([np.ones(80), ranks[2]])
    left = [column - design @ np.linalg.lstsq(design, column, rcond=None)[0] for column in ranks[:2]]
    found = partial_spearman(score, wrong, length)
    assert found.rho == pytest.approx(np.corrcoef(*left)[0, 1])
    assert found.rho_plain == pytest.approx(stats.spearmanr(score, wrong).statistic)
    t = found.rho * (77 / (1 - found.rho**2)) ** 0.5
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(t), 77))


def test_a_measure_that_is_length_leaves_nothing() -> None:
    length, wrong = np.arange(10.0), np.arange(10) % 2.0
    with pytest.raises(UndefinedMetricError, match="nothing is left"):
        partial_spearman(np.exp(length), wrong, length)
    with pytest.raises(UndefinedMetricError, match="constant"):
        partial_spearman(length, np.zeros(10), length)
    with pytest.raises(UndefinedMetricError, match="at least 4"):
        partial_spearman(length[:3], wrong[:3], length[:3])
