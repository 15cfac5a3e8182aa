"""Trials of a run among each other: treatments of one model, answered over the same items.

Only trials that were answered by the same model, held in the same way, are paired. Their treatment arms are
compared two by two; Cochran's Q is over these arms and the control arm or arms beside them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from overnight.ids import canonical_json, temperature_label
from overnight.records import Condition, ItemType
from overnight.runs.score_columns import ScoreColumns, read_score_columns
from overnight.runs.statistics_record import pair_record, stats_config, system_record
from overnight.spec.prompt_sweep import StatisticsSpec
from overnight.stats.cochran import CochranQ, cochran_q
from overnight.stats.compare import metric_margin
from overnight.stats.mcnemar import RIGHT_FROM
from overnight.stats.paired import PairedStatistics
from overnight.stats.systems import SystemMean, SystemPair, compare_pair, complete_table, system_mean
from overnight.store.manifest import TrialRecord, read_manifest
from overnight.store.run_folder import RunFolder

SCHEMA_VERSION = 1
# Of which every two are compared: 2,016 pairs; of a thousand it would be half a million, in hours (decision 0020).
MOST_ARMS = 64
METRIC = "em"  # one declared metric: every further one would cost all others power
_MODEL_KEYS = ("engine", "model_digest", "quantization")
_CONTROL_KEYS = ("top_p", "top_k", "max_new_tokens", "samples_per_item", "seed", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentCell:
    """The arms of a group at one temperature on one type of item."""

    temperature: float
    type: ItemType
    n_items: int  # with a score in any arm
    systems: tuple[SystemMean, ...]
    pairs: tuple[SystemPair, ...]  # of treatment arms
    n_pairs_left_out: int  # where there are too many arms for every two of them
    cochran: CochranQ  # over the items with a score in every arm


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGroup:
    """Trials that one model answered."""

    model: dict[str, Any]
    trials: tuple[str, ...]
    cells: tuple[TreatmentCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Trials that are not compared, and why."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    reason: str


def compare_treatments(
    folder: RunFolder, slugs: Sequence[str], settings: StatisticsSpec
) -> tuple[list[TrialGroup], list[Refusal]]:
    """Compare the trials of a run within each effective model; nothing is adjusted yet.

    Raises:
        StoreError: a trial has no scores or the run no manifest, or they are damaged.
    """
    records = read_manifest(folder).trials
    by_model: dict[str, list[str]] = {}
    for slug in slugs:
        by_model.setdefault(canonical_json(_model(records[slug])), []).append(slug)
    groups = [_compare_group(folder, members, records, settings) for members in by_model.values()]
    return groups, [_refusal(a, b) for a, b in combinations(groups, 2)]


def with_adjusted(
    groups: Sequence[TrialGroup], adjusted: Iterable[PairedStatistics | CochranQ]
) -> list[TrialGroup]:
    """Return the groups with their tests as they are after an adjustment that kept their order."""
    tests = list(adjusted)
    pairs = (test for test in tests if isinstance(test, SystemPair))
    cochrans = (test for test in tests if isinstance(test, CochranQ))
    return [
        replace(
            group,
            cells=tuple(
                replace(cell, pairs=tuple(next(pairs) for _ in cell.pairs), cochran=next(cochrans))
                for cell in group.cells
            ),
        )
        for group in groups
    ]


def treatments_record(
    groups: Sequence[TrialGroup], refused: Iterable[Refusal], settings: StatisticsSpec, *, n_tests: int
) -> dict[str, Any]:
    """Return ``comparisons.json``; what is not compared says why."""
    return {
        "schema_version": SCHEMA_VERSION,
        "metric": METRIC,
        "difference": "second - first",
        "stats_config": stats_config(settings, n_tests=n_tests),
        "groups": [
            {
                "model": group.model,
                "trials": list(group.trials),
                "results": _results(group),
                "undefined_because": None if group.cells else "one trial has no other to compare it with",
            }
            for group in groups
        ],
        "refused": [asdict(each) for each in refused],
    }


def _results(group: TrialGroup) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for cell in group.cells:
        results.setdefault(temperature_label(cell.temperature), {})[cell.type.value] = {
            "n_items": cell.n_items,
            "systems": [system_record(mean) for mean in cell.systems],
            "cochran": asdict(cell.cochran),
            "pairs": [pair_record(pair) for pair in cell.pairs],
            **({"n_pairs_left_out": cell.n_pairs_left_out} if cell.n_pairs_left_out else {}),
        }
    return results


def _model(record: TrialRecord) -> dict[str, Any]:
    """Return what answered a trial; where nothing was sent (all was there before), what was asked for."""
    effective = record.effective or {}
    return {key: effective.get(key, record.requested.get(key)) for key in _MODEL_KEYS}


def _refusal(first: TrialGroup, second: TrialGroup) -> Refusal:
    differing = [key for key in _MODEL_KEYS if first.model[key] != second.model[key]]
    found = ", ".join(f"{key} {first.model[key]} and {second.model[key]}" for key in differing)
    return Refusal(
        first=first.trials,
        second=second.trials,
        reason=f"different models answered ({found}); a difference would not be the prompt's alone",
    )


def _compare_group(
    folder: RunFolder, slugs: list[str], records: dict[str, TrialRecord], settings: StatisticsSpec
) -> TrialGroup:
    tables = {slug: read_score_columns(folder.trial(slug).scores, (METRIC,)) for slug in slugs}
    kinds = sorted({kind for table in tables.values() for kind in table.kinds()})
    controls: dict[str, str] = {}  # what a control arm is -> the first trial that has it
    for slug in slugs:
        controls.setdefault(canonical_json(_control(records[slug])), slug)
    arms = [(slug, Condition.CONTROL) for slug in controls.values()]
    arms += [(slug, Condition.TREATMENT) for slug in slugs]
    is_compared = len(slugs) > 1
    return TrialGroup(
        model=_model(records[slugs[0]]) | {"model": records[slugs[0]].requested.get("model")},
        trials=tuple(slugs),
        cells=tuple(_compare_cell(tables, arms, *kind, settings) for kind in kinds) if is_compared else (),
    )


def _control(record: TrialRecord) -> dict[str, Any]:
    digests = record.requested.get("prompt_digests", {})
    return {key: record.requested.get(key) for key in _CONTROL_KEYS} | {
        "prompt": digests.get(Condition.CONTROL.value)
    }


def _compare_cell(
    tables: dict[str, ScoreColumns],
    arms: Sequence[tuple[str, Condition]],
    temperature: float,
    kind: ItemType,
    settings: StatisticsSpec,
) -> TreatmentCell:
    scores = {
        f"{slug} {condition.value}": tables[slug].arm(temperature, kind, condition, METRIC)
        for slug, condition in arms
    }
    scores = {name: items for name, items in scores.items() if items}  # a trial may lack a temperature
    keys = sorted({key for items in scores.values() for key in items})
    # The items of a run are the same for all trials; a row that is missing is a request that failed.
    scores = {name: {key: items.get(key) for key in keys} for name, items in scores.items()}
    same: dict[str, Any] = {
        "metric": f"{METRIC} {kind.value} {temperature_label(temperature)}",  # a stream of its own for each cell
        "seed": settings.seed,
        "n_resamples": settings.resamples,
        "confidence": settings.confidence,
        "clusters": {key: name for table in tables.values() for key, name in table.clusters.items()},
    }
    treatments = [name for name in scores if name.endswith(f" {Condition.TREATMENT.value}")]
    wanted = _pairs(treatments)
    return TreatmentCell(
        temperature=temperature,
        type=kind,
        n_items=len(keys),
        systems=tuple(system_mean(name, items, **same) for name, items in scores.items()),
        pairs=tuple(
            compare_pair(
                scores,
                first,
                second,
                has_right_and_wrong=True,
                margin=metric_margin(METRIC, settings.tost_margins, settings.tost_alpha),
                **same,
            )
            for first, second in wanted
        ),
        n_pairs_left_out=math.comb(len(treatments), 2) - len(wanted),
        cochran=cochran_q(complete_table(scores, keys, RIGHT_FROM)),
    )


def _pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """Return every two arms; of more than `MOST_ARMS` each with the first, which no result has chosen."""
    if len(arms) <= MOST_ARMS:
        return list(combinations(arms, 2))
    return [(arms[0], other) for other in arms[1:]]
