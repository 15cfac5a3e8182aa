"""``unsupported_sensitivity.json``: the rate of unsupported claims at every threshold."""

from collections.abc import Mapping
from typing import Any

from overnight.ids import number_label
from overnight.report import wording as w
from overnight.report.sheets.sheet import Curve, Plot, Row, Sheet

_ARMS = ("control", "treatment")


def sensitivity(record: Mapping[str, Any]) -> list[Sheet]:
    """Return the rates by arm, and treatment - control."""
    thresholds = record["thresholds"]
    rows: list[Row] = []
    plots = []
    for temperature in sorted(record["results"], key=float):
        cell = record["results"][temperature]
        for arm in _ARMS:
            if found := cell.get(arm):
                rates = found["rates"]
                texts = tuple(map(w.percent, rates)) if rates else ("",) * len(thresholds)
                count = w.count(found["n_claims"]) if rates else w.not_available(found["undefined_because"])
                rows.append((number_label(float(temperature)), arm, count, *texts))
        if (difference := cell["difference"]["rates"]) is not None:
            rows.append((number_label(float(temperature)), "difference", "", *map(w.points, difference)))
        curves = tuple(
            Curve(label=arm, points=tuple(zip(thresholds, cell[arm]["rates"], strict=True)))
            for arm in _ARMS
            if cell.get(arm) and cell[arm]["rates"]
        )
        if curves:
            label = f"Unsupported claims by threshold, T {number_label(float(temperature))}"
            plots.append(Plot(title=label, x="threshold, %", y="unsupported, %", curves=curves))
    return [
        Sheet(
            title="Unsupported claims in percent, by threshold",
            head=("T", "arm", "claims", *(number_label(threshold) for threshold in thresholds)),
            rows=tuple(rows),
            n_text=2,
            notes=(f"Unsupported: {record['unsupported']}. Not counted: {record['not_claims']}.",),
            plots=tuple(plots),
        )
    ]
