import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar

from overnight.stats.cochran import cochran_q

TABLE = (np.random.default_rng(7).random((80, 4)) < [0.3, 0.4, 0.5, 0.6]).astype(float)


def test_q_by_its_definition_and_by_statsmodels() -> None:
    result = cochran_q(TABLE)
    k, columns, rows = 4, TABLE.sum(axis=0), TABLE.sum(axis=1)
    q = (k - 1) * (k * (columns**2).sum() - columns.sum() ** 2) / (k * rows.sum() - (rows**2).sum())
    assert (result.q, result.df) == (pytest.approx(q), 3)
    assert result.p_value == pytest.approx(stats.chi2.sf(q, 3))
    assert result.p_value == pytest.approx(cochrans_q(TABLE).pvalue)


def test_of_two_systems_it_is_mcnemars_chi_squared() -> None:
    first, second = TABLE[:, 0], TABLE[:, 3]
    table = [[0, np.sum(second > first)], [np.sum(first > second), 0]]
    result = cochran_q(TABLE[:, [0, 3]])
    assert result.p_value == pytest.approx(mcnemar(table, exact=False, correction=False).pvalue)


@pytest.mark.parametrize(
    ("right", "reason"),
    [
        (np.zeros((0, 3)), "no item"),
        (np.ones((5, 1)), "takes two"),
        (np.full((5, 2), 0.5), "not binary"),
        (np.zeros((5, 3)), "same items"),
        (np.array([[1.0, 1.0], [0.0, 0.0]]), "same items"),
    ],
)
def test_what_has_no_q_says_why(right: np.ndarray, reason: str) -> None:
    # 0 / 0 in the formula; no NaN leaves the library.
    result = cochran_q(right)
    assert (result.q, result.p_value) == (None, None)
    assert reason in str(result.undefined_because)
