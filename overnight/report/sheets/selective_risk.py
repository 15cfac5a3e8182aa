"""``selective_risk.json``: how wrong the answers are that the model is sure of."""

from collections.abc import Mapping
from typing import Any

from overnight.records import Condition
from overnight.report import wording as w
from overnight.report.sheets.sheet import Curve, Plot, Row, Sheet, cells, plain_bounds


def selective_risk(record: Mapping[str, Any]) -> list[Sheet]:
    """Return the areas and the risks at some coverages."""
    coverages = record["coverages"]
    areas: list[Row] = []
    risks: list[Row] = []
    plots = []
    for temperature, kind, cell in cells(record["results"]):
        for condition in Condition:
            arm = cell[condition.value]
            reason = w.not_available(arm["undefined_because"])
            areas.append(
                (
                    temperature,
                    kind,
                    condition.value,
                    f"{w.count(arm['n_answered'])} of {w.count(arm['n_items'])}",
                    w.percent(arm["risk"]),
                    w.decimal(arm["aurc"], 3) or reason,
                    plain_bounds(arm["aurc_ci"]),
                    w.decimal(arm["excess_aurc"], 3),
                    w.decimal(arm["auroc"], 3) or w.not_available(arm["auroc_undefined_because"]),
                    plain_bounds(arm["auroc_ci"]),
                )
            )
            if arm["points"]:
                found = {point["coverage"]: point["risk"] for point in arm["points"]}
                texts = (w.percent(found.get(coverage)) or w.NOT_AVAILABLE for coverage in coverages)
                risks.append((temperature, kind, condition.value, *texts))
        curves = tuple(
            Curve(label=c.value, points=tuple((p["coverage"], p["risk"]) for p in cell[c.value]["curve"]))
            for c in Condition
            if cell[c.value]["curve"]
        )
        if curves:
            plots.append(
                Plot(
                    title=f"Risk and coverage, T {temperature}, {kind} items",
                    x="coverage, %",
                    y="risk, %",
                    curves=curves,
                )
            )
    head = ("T", "type", "arm")
    return [
        Sheet(
            title="Answering only where the model is sure",
            head=(*head, "answered", "risk, %", "AURC", "interval", "excess AURC", "AUROC", "interval"),
            rows=tuple(areas),
            n_text=3,
            notes=(
                "Risk is the share of wrong answers among those that are given. AURC is the mean risk from "
                "the most confident answer down: 0 is best, the risk itself is what chance gives. AUROC is how "
                "often a right answer is more confident than a wrong one: 0.5 is chance.",
            ),
            plots=tuple(plots),
        ),
        *(
            [
                Sheet(
                    title="Risk in percent at a coverage of",
                    head=(*head, *(f"{w.percent(coverage, 0)} %" for coverage in coverages)),
                    rows=tuple(risks),
                    n_text=3,
                )
            ]
            if risks
            else []
        ),
    ]
