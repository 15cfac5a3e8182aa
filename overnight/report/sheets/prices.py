"""``cost_effectiveness.json``: what the treatment's tokens cost more, and what is gained for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from overnight.ids import number_label
from overnight.report import wording as w
from overnight.report.results import TrialReport
from overnight.report.sheets.sheet import Row, Sheet, bounds

_KWH = 3_600_000  # joules
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


def local_costs(trials: Sequence[TrialReport]) -> Sheet | None:
    """Return what generating cost on this machine, or None where no trial says so."""
    found = [(trial.label, trial.costs.local) for trial in trials if trial.costs and trial.costs.local]
    if not found:
        return None
    return Sheet(
        title="What it cost here",
        head=("trial", "inference, s", "energy, kWh", "source", "cost", "per right answer"),
        rows=tuple((label, *_local(local)) for label, local in found),
        n_text=1,
        notes=(
            "Measured seconds, and energy that was measured or is assumed from stated watts, times the tariff.",
        ),
    )


def _local(local: Mapping[str, Any]) -> Row:
    joules, source = local["energy_j"], local["energy_source"]
    return (
        w.decimal(local["inference_s"]) or w.NOT_AVAILABLE,
        w.significant(joules / _KWH)
        if joules is not None
        else w.not_available(local["energy_undefined_because"]),
        source or w.NOT_AVAILABLE,
        w.usd(local["usd"]) or w.not_available(local["usd_undefined_because"]),
        w.usd(local["usd_per_correct"]) or w.NOT_AVAILABLE,
    )
