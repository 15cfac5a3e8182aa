"""What the signs and the ranks of paired differences say; SciPy ranks and tests."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from overnight.stats.pairs import FloatArray

_EXACT_UP_TO = 50  # differences that are not zero; above, the normal approximation is good to three digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Wilcoxon:
    """The signed-rank test on the differences that are not zero."""

    w: float  # the smaller of the two rank sums
    p_value: float  # two-sided
    n_nonzero: int
    method: str  # how the p-value was had


def wilcoxon(differences: FloatArray) -> Wilcoxon | None:
    """Return Wilcoxon's signed-rank test; None where no difference is other than zero.

    Zeros are left out before ranking (Wilcoxon's own rule, ``zero_method="wilcox"``), ties share their mean
    rank. Up to 50 such differences the p-value is exact, with ties too, for which SciPy would try every sign
    pattern one by one; above, it is the normal approximation corrected for ties and not for continuity.

    Source:
        Wilcoxon (1945), Biometrics Bulletin 1:80-83; ``scipy.stats.wilcoxon``.
    """
    nonzero = np.sort(differences[differences != 0.0])
    n_nonzero = len(nonzero)
    if n_nonzero == 0:
        return None
    if n_nonzero > _EXACT_UP_TO:
        test = stats.wilcoxon(nonzero, zero_method="wilcox", correction=False, method="asymptotic")
        w, p_value, method = float(test.statistic), float(test.pvalue), "asymptotic"
    else:
        ranks = stats.rankdata(np.abs(nonzero))
        w = float(min(ranks[nonzero > 0.0].sum(), ranks[nonzero < 0.0].sum()))
        p_value, method = 2.0 * _share_of_rank_sums_up_to(w, ranks), "exact"
    return Wilcoxon(w=w, p_value=min(1.0, p_value), n_nonzero=n_nonzero, method=method)


def _share_of_rank_sums_up_to(bound: float, ranks: FloatArray) -> float:
    """Return the share of all sign patterns whose positive ranks add up to at most ``bound``."""
    halves = np.rint(2.0 * ranks).astype(int)  # tied ranks are multiples of one half
    ways = np.zeros(int(halves.sum()) + 1)
    ways[0] = 1.0
    for half in halves:
        ways[half:] += ways[: len(ways) - half].copy()
    return float(ways[: round(2.0 * bound) + 1].sum() / 2.0 ** len(ranks))


def rank_biserial(differences: FloatArray) -> float | None:
    """Return the matched-pairs rank-biserial correlation in [-1, 1]: favourable minus unfavourable rank share.

    (W+ - W-) / (W+ + W-) over the ranks of the sizes of the differences that are not zero; positive where the
    treatment is higher. None where all are zero.

    Source:
        Kerby (2014), Comprehensive Psychology 3:11.IT.3.1.
    """
    nonzero = differences[differences != 0.0]
    if len(nonzero) == 0:
        return None
    ranks = stats.rankdata(np.abs(nonzero))
    return float(np.sum(np.sign(nonzero) * ranks) / np.sum(ranks))


def sign_statistic(differences: FloatArray) -> float | None:
    """Return (rises - falls) / (rises + falls) in [-1, 1], ties left out; None where all are ties.

    It compares each item with itself, so it is no Cliff's delta, which compares every item with every other.
    """
    n_up, n_down = int(np.sum(differences > 0.0)), int(np.sum(differences < 0.0))
    return (n_up - n_down) / (n_up + n_down) if n_up + n_down else None


def cohens_dz(differences: FloatArray) -> float | None:
    """Return the mean difference over its standard deviation (N - 1); None where there is no spread.

    Source:
        Cohen (1988), Statistical Power Analysis, section 2.3.5; Lakens (2013), Front Psychol 4:863.
    """
    if len(differences) == 0 or np.ptp(differences) == 0.0:
        return None
    ordered = np.sort(differences)
    return float(ordered.mean() / ordered.std(ddof=1))
