"""Comparisons as they stand in ``significance.json`` and ``comparisons.json``: strict JSON, null with a reason."""

from dataclasses import asdict
from typing import Any

from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.paired import PairedStatistics
from overnight.stats.systems import SystemMean, SystemPair


def metric_record(statistics: PairedStatistics) -> dict[str, Any]:
    """Return every number of a paired comparison; what is undefined is null."""
    test, equivalence = statistics.wilcoxon, statistics.tost
    return {
        "n_pairs": statistics.n_pairs,
        "n_unpaired": statistics.n_unpaired,
        "n_half_defined": statistics.n_half_defined,
        "n_undefined": statistics.n_undefined,
        "n_clusters": statistics.n_clusters,
        "pairing_rate": statistics.pairing_rate,
        "mean_control": statistics.mean_control,
        "mean_treatment": statistics.mean_treatment,
        "ci_control": [statistics.control_low, statistics.control_high],
        "ci_treatment": [statistics.treatment_low, statistics.treatment_high],
        "delta_mean": statistics.mean_difference,
        "ci": [statistics.ci_low, statistics.ci_high],
        "ci_method": statistics.ci_method,
        "ci_bca": [statistics.ci_bca_low, statistics.ci_bca_high],
        "ci_bca_undefined_because": statistics.ci_bca_undefined_because,
        "p_value": statistics.p_value,
        "q_value": statistics.q_value,
        "q_value_by": statistics.q_value_by,
        "p_holm": statistics.p_holm,
        "permutation_p": statistics.permutation_p,
        "wilcoxon": test and asdict(test),
        "hodges_lehmann": statistics.hodges_lehmann,
        "cohens_dz": statistics.cohens_dz,
        "rank_biserial": statistics.rank_biserial,
        "sign_statistic": statistics.sign_statistic,
        "tost": None
        if equivalence is None
        else {
            **{key: value for key, value in asdict(equivalence).items() if not key.startswith("ci_")},
            "ci": [equivalence.ci_low, equivalence.ci_high],
        },
        "undefined_because": statistics.undefined_because,
    }


def mcnemar_record(statistics: PairedStatistics) -> dict[str, Any] | None:
    """Return the test on the discordant pairs, if the metric calls items right and wrong."""
    if statistics.mcnemar is None:
        return None
    return asdict(statistics.mcnemar) | {"q_value": statistics.q_value}


def system_record(mean: SystemMean) -> dict[str, Any]:
    """Return the mean of one system with its interval."""
    plain = asdict(mean)
    return plain | {"ci": [plain.pop("ci_low"), plain.pop("ci_high")]}


def pair_record(pair: SystemPair) -> dict[str, Any]:
    """Return two systems with every number of their comparison."""
    numbers = metric_record(pair)
    means = {
        f"{key}_{name}": numbers.pop(f"{key}_{arm}")
        for key in ("mean", "ci")
        for name, arm in (("first", "control"), ("second", "treatment"))
    }
    return {"first": pair.first, "second": pair.second, **means, **numbers, "mcnemar": mcnemar_record(pair)}


def stats_config(settings: StatisticsSpec, *, n_tests: int) -> dict[str, Any]:
    """Return how the numbers were had: settings, methods, and which p-values were adjusted together."""
    return settings.model_dump(mode="json") | {
        "interval": "paired percentile bootstrap of the mean difference; of clusters where items share one",
        "independent_units": "clusters in the bootstrap, the sign flips and TOST; items in McNemar's test, "
        "Wilcoxon's and the effect sizes",
        "tests": {"em": "exact McNemar", "other": "sign-flip permutation of the paired differences"},
        "wilcoxon_zero_method": "wilcox",
        "adjustment": "Benjamini-Hochberg (q_value), Benjamini-Yekutieli (q_value_by) and Holm (p_holm) over "
        "the one declared p-value (p_value) of every comparison; all other p-values are shown unadjusted",
        "n_tests": n_tests,
    }
