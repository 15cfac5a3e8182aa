"""``unsupported_sensitivity.json``: the rate of unsupported claims at every threshold, by arm."""

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from overnight.ids import temperature_label
from overnight.records import Arm, Condition, FinishReason
from overnight.runs.analyses.source import AnalysisSource, Record
from overnight.runs.parsing import planned_predictions
from overnight.scoring.sensitivity import THRESHOLDS, claim_overlap
from overnight.stats.pairs import FloatArray


@dataclass(slots=True)
class _Sums:
    """What is added up over the items of one arm."""

    n_items: int = 0  # with a claim
    n_claims: int = 0
    n_replies: int = 0
    rates: FloatArray = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))


def unsupported_record(source: AnalysisSource) -> Record:
    """Return the rates; an item's is over its claims, an arm's over its items, as in ``per_item_scores.csv``.

    Predictions are streamed. Abstentions and empty replies claim nothing and are in no rate.
    """
    thresholds = np.array(THRESHOLDS)
    arms: dict[Arm, _Sums] = {}
    predictions = planned_predictions(source.folder, source.plan, source.trial)
    for (_, arm), group in groupby(predictions, key=lambda p: (p.item.key, p.arm)):
        texts = [(p.item, p.text) for p in group if p.finish_reason is not FinishReason.ERROR]
        found = (claim_overlap(item, text) for item, text in texts)
        overlaps = np.array([overlap for overlap in found if overlap is not None])
        sums = arms.setdefault(arm, _Sums())
        sums.n_replies += len(texts)
        if len(overlaps):
            sums.n_items += 1
            sums.n_claims += len(overlaps)
            sums.rates += (overlaps[:, np.newaxis] < thresholds).mean(axis=0)
    results: Record = {}
    for arm in sorted(arms, key=lambda each: (each.temperature, each.condition)):
        cell = results.setdefault(temperature_label(arm.temperature), {})
        cell[arm.condition.value] = _arm(arms[arm])
    for cell in results.values():
        cell["difference"] = _difference(cell)
    return {
        "unsupported": "a claim of whose words less than the threshold occur in its passage",
        "not_claims": "abstentions, empty replies and replies to closed questions",
        "rate": "mean over items of the share among the item's claims",
        "threshold_0": "left out: at 0 every claim counts as borne out",
        "thresholds": list(THRESHOLDS),
        "results": results,
    }


def _arm(sums: _Sums) -> Record:
    record: Record = {"n_replies": sums.n_replies, "n_claims": sums.n_claims, "n_items": sums.n_items}
    if not sums.n_items:
        return record | {"rates": None, "undefined_because": "no reply claims anything about a passage"}
    return record | {"rates": [float(rate) for rate in sums.rates / sums.n_items], "undefined_because": None}


def _difference(cell: Record) -> Record:
    rates = [cell.get(condition.value, {}).get("rates") for condition in Condition]
    control, treatment = rates
    if control is None or treatment is None:
        return {"rates": None, "undefined_because": "a rate takes claims in both arms"}
    return {
        "rates": [t - c for c, t in zip(control, treatment, strict=True)],
        "note": "treatment - control of the rates; not paired, as an item may be claimed about in one arm only",
        "undefined_because": None,
    }
