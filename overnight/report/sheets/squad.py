"""``squad.json``: what the official SQuAD 2.0 evaluator would print."""

from collections.abc import Mapping
from typing import Any

from overnight.ids import number_label
from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet

_SPLITS = (("", "all"), ("HasAns_", "with an answer"), ("NoAns_", "without an answer"))


def squad(record: Mapping[str, Any]) -> list[Sheet]:
    """Return exact match and F1 by dataset, temperature, arm and split."""
    arms = sorted(record["arms"], key=lambda arm: (arm["dataset"], float(arm["temp"]), arm["condition"]))
    return [
        Sheet(
            title="Official SQuAD 2.0 figures",
            head=("dataset", "T", "arm", "items", "number", "exact, %", "F1, %"),
            rows=tuple(
                _row(arm, prefix, name) for arm in arms for prefix, name in _SPLITS if f"{prefix}total" in arm
            ),
            n_text=4,
            notes=(f"An abstention is {record['abstention']}.",),
        )
    ]


def _row(arm: Mapping[str, Any], prefix: str, name: str) -> Row:
    return (
        arm["dataset"],
        number_label(float(arm["temp"])),
        arm["condition"],
        name,
        w.count(arm[f"{prefix}total"]),
        w.decimal(arm[f"{prefix}exact"], 2),
        w.decimal(arm[f"{prefix}f1"], 2),
    )
