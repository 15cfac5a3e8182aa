"""``power_analysis.json``: what these pairs could have shown, and how many the next comparison takes."""

from collections.abc import Mapping
from typing import Any

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet, cells


def power(record: Mapping[str, Any]) -> list[Sheet]:
    """Return the smallest detectable differences and the pairs that each target takes."""
    targets = record["targets"]
    rows: list[Row] = []
    for temperature, kind, cell in cells(record["results"]):
        for metric, found in cell.items():
            if not found["n_items"]:
                continue
            needed = found["required_n_for_target"] or {}
            counts = tuple(w.count(n) for _, n in sorted(needed.items(), key=lambda pair: float(pair[0])))
            rows.append(
                (
                    temperature,
                    kind,
                    w.metric_name(metric),
                    w.count(found["n_items"]),
                    w.decimal(100 * found["sd_delta"]) if found["sd_delta"] is not None else "",
                    w.decimal(found["design_effect"], 2),
                    w.percent(found["mde"]) or w.not_available(found["undefined_because"]),
                    *(counts or ("",) * len(targets)),
                )
            )
    return [
        Sheet(
            title="Power",
            head=(
                "T",
                "type",
                "metric",
                "pairs",
                "standard deviation, points",
                "design effect",
                "smallest detectable, points",
                *(f"pairs for {w.decimal(100 * target, 0)} points" for target in sorted(targets)),
            ),
            rows=tuple(rows),
            n_text=3,
            notes=(
                f"With {w.percent(record['power'], 0)} % power at a level of {w.percent(record['alpha'], 0)} %, "
                "from the spread that was seen.",
            ),
        )
    ]
