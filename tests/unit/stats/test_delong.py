import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from overnight.errors import UndefinedMetricError
from overnight.stats.delong import delong_interval, logit_interval, paired_variance, placements, two_sided

# Scores of few levels, so that ties are the rule; two of each class at least.
TWO_RANKINGS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=4, max_size=25
).filter(lambda rows: 2 <= sum(wrong for *_, wrong in rows) <= len(rows) - 2)


def columns(rows):
    first, second, wrong = (np.array(column) for column in zip(*rows, strict=True))
    return first.astype(float), second.astype(float), wrong.astype(bool)


def kernel(uncertainty, is_wrong):
    """Return psi of every pair of a wrong and a right answer: 1, or 1/2 for a tie, or 0."""
    wrong, right = uncertainty[is_wrong], uncertainty[~is_wrong]
    return (wrong[:, None] > right) + (wrong[:, None] == right) / 2


def test_golden_vector_12_low_uncertainty_of_right_answers_is_a_perfect_ranking() -> None:
    placed = placements(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True]))
    assert placed.auroc == 1.0
    assert placed.variance == 0.0  # exactly: the classes are separated
    assert delong_interval(1.0, 0.0, 0.95).undefined_because
    assert logit_interval(1.0, 0.0, 0.95).low is None


def test_the_ratings_of_hanley_and_mcneil_come_out_as_in_stata() -> None:
    # Table 1 of Hanley & McNeil (1982), Radiology 143:29-36; roctab of Stata, whose standard error is DeLong's,
    # gives area .8932, SE .0307, interval .83295 to .95339.
    ratings = np.repeat([1.0, 2, 3, 4, 5, 1, 2, 3, 4, 5], [33, 6, 6, 11, 2, 3, 2, 2, 11, 33])
    placed = placements(ratings, np.repeat([False, True], [58, 51]))
    interval = delong_interval(placed.auroc, placed.variance, 0.95)
    assert round(placed.auroc, 4) == 0.8932
    assert round(placed.variance**0.5, 4) == 0.0307
    assert (round(interval.low, 5), round(interval.high, 5)) == (0.83295, 0.95339)


@given(TWO_RANKINGS)
def test_scikit_learn_gives_the_same_auroc(rows) -> None:
    uncertainty, _, wrong = columns(rows)
    assert placements(uncertainty, wrong).auroc == pytest.approx(roc_auc_score(wrong, uncertainty))
    assert placements(uncertainty, wrong).of_right.mean() == pytest.approx(roc_auc_score(wrong, uncertainty))


@given(TWO_RANKINGS)
def test_variances_are_those_over_all_pairs_of_a_wrong_and_a_right_answer(rows) -> None:
    # The structural components of DeLong et al.: row and column means of psi, and their sample covariances.
    first, second, wrong = columns(rows)
    pairs = [kernel(score, wrong) for score in (first, second)]
    m, n = pairs[0].shape
    covariance = (
        np.cov([psi.mean(axis=1) for psi in pairs]) / m + np.cov([psi.mean(axis=0) for psi in pairs]) / n
    )
    a, b = placements(first, wrong), placements(second, wrong)
    assert a.variance == pytest.approx(covariance[0, 0], abs=1e-12)
    assert b.variance == pytest.approx(covariance[1, 1], abs=1e-12)
    by_hand = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert paired_variance(a, b) == pytest.approx(by_hand, abs=1e-12)
    assert paired_variance(b, a) == paired_variance(a, b)


@given(TWO_RANKINGS)
def test_the_other_way_round_is_one_minus_auroc_with_the_same_error(rows) -> None:
    uncertainty, _, wrong = columns(rows)
    forth, back = placements(uncertainty, wrong), placements(-uncertainty, wrong)
    assert back.auroc == pytest.approx(1 - forth.auroc)
    assert back.variance == pytest.approx(forth.variance, abs=1e-12)


@given(TWO_RANKINGS)
def test_only_the_order_of_scores_counts(rows) -> None:
    uncertainty, _, wrong = columns(rows)
    plain, mapped = placements(uncertainty, wrong), placements(np.exp(3 * uncertainty) - 7, wrong)
    assert mapped.auroc == plain.auroc
    assert mapped.variance == plain.variance
    assert paired_variance(plain, mapped) == 0.0  # exactly, so that the test can be refused


def test_the_logit_interval_stays_inside_and_is_the_delta_method() -> None:
    # At A = .5 the logit is 0 with error SE / .25: +- 1.96 x .4 around 0 is expit(+-.78399).
    interval = logit_interval(0.5, 0.1**2, 0.95)
    assert (interval.low, interval.high) == pytest.approx(
        tuple(1 / (1 + np.exp(np.array([1, -1]) * stats.norm.ppf(0.975) * 0.4)))
    )
    near_one = logit_interval(0.98, 0.02**2, 0.95)
    assert 0 < near_one.low < 0.98 < near_one.high < 1
    assert delong_interval(0.98, 0.02**2, 0.95).high == 1.0  # cut off


def test_the_p_value_is_the_normal_one_and_the_same_from_either_side() -> None:
    assert two_sided(0.1, 0.05**2) == pytest.approx(2 * stats.norm.sf(2))
    assert two_sided(-0.1, 0.05**2) == two_sided(0.1, 0.05**2)


def test_what_has_no_pairs_or_no_numbers_is_refused() -> None:
    for wrong in ([], [True, True], [False, False]):
        with pytest.raises(UndefinedMetricError, match="nothing to tell apart"):
            placements(np.zeros(len(wrong)), np.array(wrong, dtype=bool))
    with pytest.raises(ValueError, match="not finite"):
        placements(np.array([0.0, np.inf]), np.array([True, False]))
    with pytest.raises(UndefinedMetricError, match="two of each"):
        _ = placements(np.array([0.0, 1.0, 2.0]), np.array([True, False, False])).variance


CLUSTERED = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans(), st.integers(0, 5)),
    min_size=4,
    max_size=25,
).filter(
    lambda rows: all(
        len({cluster for *_, wrong, cluster in rows if wrong is kind}) > 1 for kind in (True, False)
    )
)


def obuchowski(first, second, wrong, clusters):
    """Return the covariance of two areas as the paper writes it down, cluster by cluster over all pairs."""
    names, m, n = sorted(set(clusters)), wrong.sum(), (~wrong).sum()
    psi = [kernel(score, wrong) for score in (first, second)]
    of_wrong, of_right = clusters[wrong], clusters[~wrong]
    x, y = (
        [
            [sum(values[at] - one.mean() for at in np.flatnonzero(codes == name)) for name in names]
            for one in psi
            for values in [one.mean(axis=axis)]
        ]
        for axis, codes in ((1, of_wrong), (0, of_right))
    )
    i10, i01, i = len(set(of_wrong)), len(set(of_right)), len(names)
    s10 = i10 / ((i10 - 1) * m) * np.dot(x[0], x[1])
    s01 = i01 / ((i01 - 1) * n) * np.dot(y[0], y[1])
    s11, s11_turned = (i / (i - 1) * np.dot(a, b) for a, b in ((x[0], y[1]), (x[1], y[0])))
    return s10 / m + s01 / n + s11 / (m * n) + s11_turned / (m * n)


@given(CLUSTERED)
def test_variances_over_clusters_are_those_of_obuchowski(rows) -> None:
    first, second, wrong, clusters = (np.array(column) for column in zip(*rows, strict=True))
    a, b = (placements(score.astype(float), wrong, clusters) for score in (first, second))
    one, other, both = (
        obuchowski(*pair, wrong, clusters) for pair in ((first, first), (second, second), (first, second))
    )
    assert a.variance == pytest.approx(max(0.0, one), abs=1e-12)
    assert b.variance == pytest.approx(max(0.0, other), abs=1e-12)
    assert paired_variance(a, b) == pytest.approx(max(0.0, one + other - 2 * both), abs=1e-12)


@given(TWO_RANKINGS)
def test_clusters_of_one_answer_each_change_nothing(rows) -> None:
    first, second, wrong = columns(rows)
    alone = np.arange(len(wrong))[::-1]
    pairs = [[placements(s, wrong, *codes) for s in (first, second)] for codes in ((), (alone,))]
    for apart, by_cluster in zip(*pairs, strict=True):
        assert by_cluster.variance == pytest.approx(apart.variance, abs=1e-12)
    assert paired_variance(*pairs[1]) == pytest.approx(paired_variance(*pairs[0]), abs=1e-12)


@given(TWO_RANKINGS, st.integers(2, 4))
def test_copies_of_an_answer_add_nothing_to_know(rows, n_copies) -> None:
    # Each answer k times, the copies one cluster: sums over clusters and counts grow by k, and the variance stays.
    scores, _, wrong = columns(rows)
    codes = np.tile(np.arange(len(wrong)), n_copies)
    copied = placements(np.tile(scores, n_copies), np.tile(wrong, n_copies), codes)
    assert copied.variance == pytest.approx(placements(scores, wrong).variance, abs=1e-12)


def test_the_error_over_clusters_is_the_scatter_of_areas_and_the_one_over_items_is_not() -> None:
    # Passages whose five answers are all right or all wrong, with a common score beside one of their own.
    rng = np.random.default_rng(5)
    areas, by_cluster, by_item = [], [], []
    for _ in range(400):
        codes = np.repeat(np.arange(40), 5)
        wrong = np.repeat(rng.permutation(np.arange(40) % 2 == 0), 5)
        scores = wrong + rng.normal(size=40)[codes] + 0.5 * rng.normal(size=200)
        placed = placements(scores, wrong, codes)
        areas.append(placed.auroc)
        by_cluster.append(placed.variance)
        by_item.append(placements(scores, wrong).variance)
    scatter = np.var(areas, ddof=1)
    assert np.mean(by_cluster) == pytest.approx(scatter, rel=0.15)
    assert np.mean(by_item) < 0.4 * scatter


def test_one_passage_with_all_wrong_answers_has_no_error() -> None:
    placed = placements(
        np.array([1.0, 3, 3.5, 4, 0]), np.array([0, 1, 0, 1, 0], bool), np.array([0, 1, 2, 1, 3])
    )
    with pytest.raises(UndefinedMetricError, match="wrong answers are in 1 and the right ones in 3 clusters"):
        _ = placed.variance
