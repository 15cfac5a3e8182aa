import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS

from overnight.errors import UndefinedMetricError
from overnight.stats.clustered import clustered_mean, resampled_counts
from overnight.stats.rng import stream


def test_without_clusters_it_is_the_plain_standard_error() -> None:
    # Paired golden vector: mean .2, d_z .29632 = mean / sd, so sd = .674949 and SE = sd / sqrt(10).
    values = np.array([0, 1, 0, -1, 1, 1, 0, 0, 0.5, -0.5])
    found = clustered_mean(values, np.arange(10))
    assert found.mean == pytest.approx(0.2)
    assert found.mean / found.sd == pytest.approx(0.29632, abs=5e-6)
    assert found.se == pytest.approx(found.sd / np.sqrt(10))
    assert found.design_effect == 1.0
    assert found.planning_sd == found.sd


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_counted_as_statsmodels_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 12, 60)
    values = rng.normal(size=12)[clusters] + rng.normal(size=60)
    fit = OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    found = clustered_mean(values, clusters)
    assert found.se == pytest.approx(float(fit.bse[0]), rel=1e-10)
    assert found.design_effect == pytest.approx((found.se / (found.sd / np.sqrt(60))) ** 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=1, max_size=30), st.randoms())
def test_order_and_names_of_items_and_clusters_are_immaterial(rows, random) -> None:
    def of(pairs, names):
        return clustered_mean(np.array([v for _, v in pairs]), np.array([names[c] for c, _ in pairs]))

    straight = of(rows, list(range(6)))
    other = of(random.sample(rows, len(rows)), random.sample(range(6), 6))
    assert other.mean == pytest.approx(straight.mean, abs=1e-12)
    assert other.se == (None if straight.se is None else pytest.approx(straight.se, abs=1e-9))


def test_too_little_for_a_spread_has_none() -> None:
    with pytest.raises(UndefinedMetricError, match="no values"):
        clustered_mean(np.array([]), np.array([], dtype=int))
    one = clustered_mean(np.array([0.5]), np.array([0]))
    assert (one.mean, one.sd, one.se, one.design_effect) == (0.5, None, None, None)
    one_cluster = clustered_mean(np.array([0.0, 1.0]), np.array([7, 7]))
    assert one_cluster.se is None
    assert one_cluster.planning_sd is None
    constant = clustered_mean(np.full(7, 0.1), np.arange(7))
    assert (constant.sd, constant.se, constant.design_effect) == (0.0, 0.0, None)
    with pytest.raises(ValueError, match="not finite"):
        clustered_mean(np.array([np.nan]), np.array([0]))


def test_a_resample_takes_whole_clusters_and_as_many_as_there_are() -> None:
    clusters = np.array([3, 1, 3, 9, 1, 3])
    counts = np.concatenate(list(resampled_counts(clusters, 400, stream(1, "clusters"))))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] == counts[:, 5]).all()
    assert (counts[:, 0] + counts[:, 1] + counts[:, 3] == 3).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_it_gives_the_published_means_and_errors_of_real_models(shared_data: Path) -> None:
    folder = shared_data / "lm_eval_samples"
    published = json.loads((folder / "published_results.json").read_text())
    with (folder / "per_item.csv").open() as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for model, metrics in published.items():
        for metric in ("bleu_acc", "bleu_max", "bleu_diff"):
            values = np.array([float(row[f"{model}:{metric}"]) for row in rows])
            found = clustered_mean(values, np.arange(len(rows)))
            assert found.mean == pytest.approx(metrics[f"{metric},none"], rel=1e-9)
            assert found.se == pytest.approx(metrics[f"{metric}_stderr,none"], rel=1e-9)
            checked += 1
    assert checked == 45
