"""The study of ways to weigh tokens: what was chosen on one half of the items, and what it is worth on the other."""

from collections.abc import Iterator, Sequence
from typing import Final

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.grid_sheets import AREA_DECIMALS
from overnight.report.uncertainty.naming import area, difference, label_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.runs.weighting_study import WeightingRecord
from overnight.uncertainty.analysis import TrialResult
from overnight.uncertainty.weighting import WEIGHTINGS

_SHOWN: Final = 0.05


def weighting(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Section:
    """Return the choice of each trial with its held-out area, and what was no candidate."""
    rows = tuple(
        (report.label(trial.slug), *_row(found))
        for trial in trials
        if (found := report.weightings.get(trial.slug))
    )
    return Section(
        anchor="weights",
        heading="Weights of tokens",
        sheets=(
            Sheet(
                title="Weights of tokens",
                head=(
                    "trial",
                    "chosen",
                    "schemes tried",
                    "held out: items",
                    "AUROC",
                    "of equal weights",
                    "gain",
                    "where it was chosen: items",
                    "AUROC",
                    "gains shown on all items",
                ),
                rows=rows,
                notes=(*_notes(report, rows), *_left_out(report, trials)),
            ),
        ),
    )


def _row(found: WeightingRecord) -> Row:
    selection = found.selection
    if selection is None:
        reason = w.not_available(found.undefined_because)
        return (reason, w.count(found.n_schemes), "", "", "", "", "", "", "")
    shown = [one.name for one in selection.candidates if one.gain > 0 and one.p_max < _SHOWN]
    return (
        _title(selection.chosen),
        w.count(found.n_schemes),
        w.count(selection.n_judged_on),
        area(selection.chosen_auroc, AREA_DECIMALS),
        area(selection.baseline_auroc, AREA_DECIMALS),
        difference(selection.chosen_auroc - selection.baseline_auroc),
        w.count(selection.n_chosen_on),
        area(selection.chosen_auroc_seen, AREA_DECIMALS),
        ", ".join(map(_title, shown)) or "none",
    )


def _notes(report: UncertaintyReport, rows: Sequence[Row]) -> tuple[str, ...]:
    if not rows:
        return ()
    labels = " or ".join(dict.fromkeys(label_title(found.label) for found in report.weightings.values()))
    return (
        f"Right by {labels}. The scheme with the largest AUROC on one half of the items was judged on the other "
        "half: the best of many is too good where it was chosen, and the held-out number is not. Gains shown: over "
        "equal weights on all items, p < 0.05 after allowing for having looked at every scheme. All schemes are in "
        "weighting_study.json of each trial.",
    )


def _left_out(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Iterator[str]:
    for trial in trials:
        found = report.weightings.get(trial.slug)
        if found and found.selection and found.selection.left_out:
            named = "; ".join(f"{_title(name)}: {why}" for name, why in found.selection.left_out.items())
            yield f"No candidate in {report.label(trial.slug)}: {named}."


def _title(name: str) -> str:
    return WEIGHTINGS[name].title if name in WEIGHTINGS else name.replace("_", " ")
