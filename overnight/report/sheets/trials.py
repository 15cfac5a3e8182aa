"""``comparisons.json``: the trials of one model against each other."""

from collections.abc import Iterable, Mapping
from typing import Any

from overnight.report import wording as w
from overnight.report.results import RunReport
from overnight.report.sheets.sheet import Row, Sheet, bounds, cells

HEADING = "Trials against each other"
PAIRS_PER_CELL = 30


def trials_sheets(run: RunReport) -> list[Sheet]:
    """Return every arm's mean, Cochran's Q and the largest differences; nothing where the run has no file."""
    record = run.comparisons
    if record is None:
        return []
    try:
        return _sheets(record, {trial.slug: trial.label for trial in run.trials})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"comparisons.json cannot be read ({type(error).__name__}: {error})"
        return [Sheet(title=HEADING, notes=(w.not_available(reason),))]


def _sheets(record: Mapping[str, Any], labels: Mapping[str, str]) -> list[Sheet]:
    means: list[Row] = []
    tests: list[Row] = []
    pairs: list[Row] = []
    n_left_out = n_not_compared = 0
    for group in record["groups"]:
        model = str(group["model"]["model"])
        for temperature, kind, cell in cells(group["results"]):
            place = (model, temperature, kind)
            means += [
                (*place, _name(each["system"], labels), w.count(each["n_items"]), *_mean(each))
                for each in cell["systems"]
            ]
            tests.append((*place, *_cochran(cell["cochran"])))
            n_not_compared += cell.get("n_pairs_left_out", 0)
            largest = sorted(cell["pairs"], key=lambda pair: -abs(pair["delta_mean"] or 0))
            n_left_out += max(0, len(largest) - PAIRS_PER_CELL)
            pairs += [(*place, *_pair(pair, labels)) for pair in largest[:PAIRS_PER_CELL]]
    refused = tuple(
        f"Not compared: {_names(each['first'], labels)} with {_names(each['second'], labels)} ({each['reason']})."
        for each in record["refused"]
    )
    if not means:
        return [Sheet(title=HEADING, notes=refused)] if refused else []
    rest: tuple[str, ...] = (
        (f"{w.count(n_left_out)} smaller differences are in comparisons.json.",) if n_left_out else ()
    )
    if n_not_compared:
        rest += (
            f"{w.count(n_not_compared)} pairs were not compared: of very many arms, each is compared with the first of "
            "the plan.",
        )
    head = ("model", "T", "type")
    return [
        Sheet(
            title=f"Means of {w.metric_name(record['metric'])}",
            head=(*head, "arm", "items", "mean, %", "interval"),
            rows=tuple(means),
            n_text=4,
        ),
        Sheet(
            title="Are all arms equally often right?",
            head=(*head, "items", "arms", "Cochran's Q", "p", "q"),
            rows=tuple(tests),
            n_text=3,
        ),
        Sheet(
            title=f"Differences in {w.metric_name(record['metric'])}, second minus first",
            head=(*head, "first", "second", "pairs", "difference, points", "interval", "p", "q"),
            rows=tuple(pairs),
            n_text=5,
            notes=(*rest, *refused),
        ),
    ]


def _mean(system: Mapping[str, Any]) -> Row:
    low, high = system["ci"]
    interval = f"{w.percent(low)} to {w.percent(high)}" if low is not None and high is not None else ""
    return w.percent(system["mean"]) or w.not_available(system["undefined_because"]), interval


def _cochran(test: Mapping[str, Any]) -> Row:
    statistic = w.decimal(test["q"], 2) or w.not_available(test["undefined_because"])
    p, q = w.probability(test["p_value"]), w.probability(test["q_value"])
    return w.count(test["n_items"]), w.count(test["n_systems"]), statistic, p, q


def _pair(pair: Mapping[str, Any], labels: Mapping[str, str]) -> Row:
    low, high = pair["ci"]
    return (
        _name(pair["first"], labels),
        _name(pair["second"], labels),
        w.count(pair["n_pairs"]),
        w.points(pair["delta_mean"]) or w.not_available(pair["undefined_because"]),
        bounds((low, high)) if low is not None and high is not None else "",
        w.probability(pair["p_value"]),
        w.probability(pair["q_value"]),
    )


def _name(system: str, labels: Mapping[str, str]) -> str:
    slug, _, condition = system.rpartition(" ")
    return f"{labels.get(slug, slug)} {condition}"


def _names(slugs: Iterable[str], labels: Mapping[str, str]) -> str:
    return ", ".join(labels.get(slug, slug) for slug in slugs)
