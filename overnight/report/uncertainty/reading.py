"""From the files of an uncertainty sweep to one value that every report of it is written from."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from overnight.errors import OvernightError, said_below
from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.report.reading import read_run
from overnight.report.results import RunReport
from overnight.report.token_view import TokenExample, TokenView, token_view
from overnight.report.uncertainty.figures import FIGURES, write_figures
from overnight.report.uncertainty.naming import label_title
from overnight.report.uncertainty.results import Picture, UncertaintyReport
from overnight.runs.analysis_file import inputs_digest, read_analysis_file
from overnight.runs.answers import greedy_answers
from overnight.runs.judging import read_judgements
from overnight.runs.opening import load_plan, load_uncertainty_sweep
from overnight.runs.side_rows import read_side_rows
from overnight.runs.uncertainty_analysing import analysis_of, measured_slugs
from overnight.runs.uncertainty_columns import read_columns
from overnight.runs.uncertainty_table import COLUMNS, read_measured_items
from overnight.runs.weighting_study import read_weighting
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec
from overnight.store.run_folder import RunFolder, TrialFolder
from overnight.uncertainty.analysis import Analysis
from overnight.uncertainty.answer import GeneratedAnswer, count_tokens
from overnight.uncertainty.judge_tally import judge_tally

_Read = TypeVar("_Read")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
# What the page shows of them; the others are words that stand on it as words.
TITLES: Final = {
    "auroc_heatmap": "AUROC by model and data set",
    "family_comparison": "Families",
    "size_effect": "Size",
    "dataset_effect": "Data sets",
    "accuracy_vs_auroc": "Accuracy and AUROC",
    "profiles": "Measures by trial",
    "statistics": "Matched contrasts",
    "best_performers": "Highest AUROCs",
    "roc_curves": "ROC curves",
    "risk_coverage": "Risk and coverage",
    "reliability": "Reliability",
}


def read_uncertainty(folder: RunFolder) -> UncertaintyReport:
    """Return what the files of an uncertainty sweep say; what cannot be read is named with the reason.

    The analysis is the one that lies there if it was made of the same tables, and else made again. Figures are taken
    as they lie there, and drawn where there are none.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    run = read_run(folder)
    try:
        spec = load_uncertainty_sweep(folder)
        plan = load_plan(folder, spec)
    except OvernightError as error:
        return _without(run, said_below(folder.path, error))
    analysis, why = _analysis(folder, spec, plan)
    notes: list[str] = []

    def by_trial(
        path_of: Callable[[TrialFolder], Path], read: Callable[[Path], _Read | None]
    ) -> dict[str, _Read]:
        """Return what one file of each trial says, of those that have it; what cannot be read becomes a note."""
        found: dict[str, _Read] = {}
        for trial in plan.trials:
            path = path_of(folder.trial(trial.slug))
            try:
                value = read(path) if path.is_file() else None
            except OvernightError as error:
                notes.append(said_below(folder.path, error))
                continue
            found |= {} if value is None else {trial.slug: value}
        return found

    columns = by_trial(lambda trial: trial.results / COLUMNS, read_columns)
    judges = by_trial(
        lambda trial: trial.judgements, lambda path: judge_tally(read_judgements(path).values())
    )
    weightings = by_trial(lambda trial: trial.weighting_study, read_weighting)
    trials = [trial for trial in plan.trials if isinstance(trial, UncertaintyTrial)]
    labels = {trial.slug: trial.label for trial in run.trials}
    tokens = None
    if analysis is not None:
        try:
            tokens = _tokens(folder, plan, analysis, labels)
        except OvernightError as error:
            notes.append(f"No answers token by token: {said_below(folder.path, error)}")
        if not any((folder.figures / f"{name}.png").is_file() for name in FIGURES):
            write_figures(folder.figures, analysis)
    return UncertaintyReport(
        run=replace(run, notes=(*run.notes, *notes)),
        experiment=spec.experiment,
        analysis=analysis,
        no_analysis_because=why,
        columns=columns,
        judges=judges,
        weightings=weightings,
        fewer_shots={
            trial.slug: sum(trial.shots_of(item) < len(trial.shots) for item in plan.items_of(trial))
            for trial in trials
        },
        pictures=tuple(_pictures(folder.figures)) if analysis else (),
        tokens=tokens,
    )


def _without(run: RunReport, why: str) -> UncertaintyReport:
    return UncertaintyReport(
        run=run,
        experiment=None,
        analysis=None,
        no_analysis_because=why,
        columns={},
        judges={},
        weightings={},
        fewer_shots={},
        pictures=(),
        tokens=None,
    )


def _analysis(
    folder: RunFolder, spec: UncertaintySweepSpec, plan: Plan
) -> tuple[Analysis | None, str | None]:
    slugs = measured_slugs(folder, plan)
    if not slugs:
        return None, "no trial was measured yet"
    try:
        known = read_analysis_file(folder, inputs_digest(folder, plan, slugs))
        return known or analysis_of(folder, spec, plan, slugs), None
    except OvernightError as error:
        return None, said_below(folder.path, error)


def _tokens(folder: RunFolder, plan: Plan, analysis: Analysis, labels: dict[str, str]) -> TokenView:
    slugs = {trial.slug for trial in analysis.trials}
    examples = (
        example
        for trial in plan.trials
        if trial.slug in slugs
        for example in _examples(folder, plan, trial, labels[trial.slug], analysis.label)  # type: ignore[arg-type]
    )
    return token_view(examples, label=label_title(analysis.label))


def _examples(
    folder: RunFolder, plan: Plan, trial: UncertaintyTrial, name: str, label: str
) -> Iterator[TokenExample]:
    files = folder.trial(trial.slug)
    table = read_measured_items(files.results).labels
    right: dict[str, float | None] = {}
    if label in table.names:
        right = dict(zip(table.item_keys, (cell.value for cell in table.column(label).cells), strict=True))
    relevance = read_side_rows(files.relevance)
    for item, answer in greedy_answers(files, plan, trial):
        is_right = right.get(item.key)
        yield TokenExample(
            trial=name,
            item_key=item.key,
            question=item.question,
            golds=item.answers,
            is_right=None if is_right is None else bool(is_right),
            answer=answer,
            relevance=_relevance(relevance.get(item.key), answer),
        )


def _relevance(row: dict[str, object] | None, answer: GeneratedAnswer) -> tuple[float, ...] | None:
    """Return the relevance of the counted tokens; None where there is none, or it is of another answer."""
    counted = count_tokens(answer)
    if row is None or row["text"] != counted.text:
        return None
    values = row["relevance_in_context"]
    if not isinstance(values, list) or len(values) != len(counted.tokens):
        return None
    return tuple(values)


def _pictures(folder: Path) -> Iterator[Picture]:
    for name, title in TITLES.items():
        path = folder / f"{name}.png"
        if size := _size(path):
            yield Picture(path=path, title=title, width=size[0], height=size[1])


def _size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG in pixels, None where it is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(_PNG):  # noqa: PLR2004 - signature, length, name, width, height
        return None
    width, height = struct.unpack(">II", head[16:24])
    return width, height
