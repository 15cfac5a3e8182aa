"""The judge: what it said, how sure of a verdict it was, and how far it agrees with the other labels."""

from collections.abc import Iterator, Sequence
from typing import Final

from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.grid_sheets import AREA_DECIMALS
from overnight.report.uncertainty.naming import area, label_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.uncertainty.analysis import TrialResult

_JUDGE: Final = "judge"  # the label
_MASS: Final = (
    "Mass: how much of the probability of the first word of a reply was on yes or on no; the rest was on other words, "
    "and a verdict is the likelier of the two however little that is."
)


def judge(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Section:
    """Return what a judge said of each trial, its verdicts beside the other labels, and where it gave none."""
    undecided = tuple(_undecided_rows(report, trials))
    return Section(
        anchor="judge",
        heading="The judge",
        sheets=(
            Sheet(
                title="The judge",
                head=(
                    "trial",
                    "judge",
                    "answers shown",
                    "yes",
                    "no",
                    "undecided",
                    "mean mass on yes or no",
                    "smallest",
                ),
                rows=(rows := tuple(_verdict_rows(report, trials))),
                notes=(_MASS,) if rows else (),
            ),
            Sheet(
                title="The judge beside the other labels",
                head=(
                    "trial",
                    "other label",
                    "items",
                    "both right",
                    "only by the judge",
                    "only by the other",
                    "both wrong",
                    "agree, %",
                    "kappa",
                ),
                rows=tuple(_agreement_rows(report, trials)) if rows else (),
            ),
            *(
                [
                    Sheet(
                        title="Answers without a verdict",
                        head=("trial", "why", "answers"),
                        rows=undecided,
                        notes=("They have no label of the judge; the other labels have them.",),
                    )
                ]
                if undecided
                else []
            ),
        ),
    )


def _verdict_rows(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Iterator[Row]:
    for trial in trials:
        if found := report.judges.get(trial.slug):
            yield (
                report.label(trial.slug),
                found.judge,
                w.count(found.n_shown),
                w.count(found.n_yes),
                w.count(found.n_no),
                w.count(found.n_undecided),
                area(found.mean_mass, AREA_DECIMALS) or w.not_available("no reply came"),
                area(found.smallest_mass, AREA_DECIMALS),
            )


def _agreement_rows(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Iterator[Row]:
    for trial in trials:
        for one in trial.agreements:
            if _JUDGE not in (one.one, one.other):
                continue
            only = (one.n_only_one, one.n_only_other)
            by_judge, by_other = only if one.one == _JUDGE else only[::-1]
            yield (
                report.label(trial.slug),
                label_title(one.other if one.one == _JUDGE else one.one),
                w.count(one.n),
                w.count(one.n_both_right),
                w.count(by_judge),
                w.count(by_other),
                w.count(one.n_both_wrong),
                w.percent(one.raw) or w.not_available("no item has both"),
                w.decimal(one.kappa, 3) or w.not_available(one.kappa_undefined_because),
            )


def _undecided_rows(report: UncertaintyReport, trials: Sequence[TrialResult]) -> Iterator[Row]:
    for trial in trials:
        if found := report.judges.get(trial.slug):
            yield from ((report.label(trial.slug), why, w.count(n)) for why, n in found.undecided)
