"""``subgroups.json``: the difference in each dataset, with and without an answer, and all of them pooled."""

from collections.abc import Iterator, Mapping
from typing import Any

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet, bounds, cells


def subgroups(record: Mapping[str, Any]) -> list[Sheet]:
    """Return the differences of the subgroups, then what they give together."""
    each: list[Row] = []
    pooled: list[Row] = []
    for temperature, kind, cell in cells(record["results"]):
        for grouping, metrics in cell.items():
            for metric, found in metrics.items():
                place = (temperature, kind, grouping, w.metric_name(metric))
                each += [(*place, name, *_subgroup(group)) for name, group in found["subgroups"].items()]
                pooled += [(*place, *texts) for texts in _pooled(found["pooled"])]
    head = ("T", "type", "by", "metric")
    sheets = [
        Sheet(
            title="Subgroups",
            head=(*head, "subgroup", "pairs", "difference, points", "interval"),
            rows=tuple(each),
            n_text=5,
        )
    ]
    if pooled:
        sheets.append(
            Sheet(
                title="Subgroups together",
                head=(
                    *head,
                    "effects",
                    "difference, points",
                    "interval",
                    "p",
                    "Q (p)",
                    "I\u00b2, %",
                    "\u03c4, points",
                ),
                rows=tuple(pooled),
                n_text=5,
                notes=(
                    "Fixed effects take one difference for all subgroups, random effects (DerSimonian and "
                    "Laird) let it vary among them; Q asks whether it does, I\u00b2 is the share of the scatter "
                    "that is not chance.",
                ),
            )
        )
    return sheets


def _subgroup(group: Mapping[str, Any]) -> Row:
    reason = group["undefined_because"]
    return (
        w.count(group["n_pairs"]),
        w.points(group.get("mean_difference")),
        bounds(group.get("ci")) or w.not_available(reason),
    )


def _pooled(pooled: Mapping[str, Any]) -> Iterator[Row]:
    """Yield nothing where there is nothing to pool: one subgroup is no reason for a row."""
    for model in ("fixed", "random"):
        found = pooled[model]
        if found is None:
            continue
        yield (
            model,
            w.points(found["mean"]),
            bounds((found["low"], found["high"])),
            w.probability(found["p_value"]),
            f"{w.decimal(pooled['q'], 2)} ({w.probability(pooled['q_p_value'])})",
            w.percent(pooled["i2"], 0),
            w.decimal(100 * pooled["tau2"] ** 0.5),
        )
