"""``cost_effectiveness.json``: what the treatment's tokens cost more, and what is gained for it."""

from collections.abc import Mapping
from typing import Any

from overnight.ids import number_label
from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet, bounds

_ARMS = ("control", "treatment")


def cost_effectiveness(record: Mapping[str, Any]) -> list[Sheet]:
    """Return the price of each arm, then that of a point gained."""
    arms: list[Row] = []
    gains: list[Row] = []
    for temperature in sorted(record["results"], key=float):
        cell, label = record["results"][temperature], number_label(float(temperature))
        for arm in _ARMS:
            found = cell["by_condition"][arm]
            arms.append(
                (
                    label,
                    arm,
                    w.count(found["prompt_tokens"]) or w.not_available(found["undefined_because"]),
                    w.count(found["completion_tokens"]),
                    w.usd(found["usd"]),
                    w.significant(found["tokens_per_right_answer"]),
                    w.usd(found["usd_per_right_answer"]),
                )
            )
        for metric, found in cell["delta_metrics"].items():
            gains.append(
                (
                    label,
                    w.metric_name(metric),
                    w.usd(cell["usd_diff"]),
                    w.points(found["delta"]),
                    bounds(found["ci"]),
                    w.usd(found["usd_per_1pp"]) or w.not_available(found["undefined_because"]),
                )
            )
    return [
        Sheet(
            title="Price of an answer",
            head=(
                "T",
                "arm",
                "prompt tokens",
                "completion tokens",
                "hypothetical price",
                "tokens per right answer",
                "price per right answer",
            ),
            rows=tuple(arms),
        ),
        Sheet(
            title="Price of a gain",
            head=(
                "T",
                "metric",
                "price difference",
                "difference, points",
                "interval",
                "price per point gained",
            ),
            rows=tuple(gains),
            notes=("Where the interval holds 0 the gain may be none, and its price means little.",),
        ),
    ]
