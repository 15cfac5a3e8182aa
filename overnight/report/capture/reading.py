"""From the files of a trait capture to one value that every report of it is written from; a prompt at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from overnight.captures.lines import CaptureLine, read_lines
from overnight.captures.prompt import CapturedPrompt, layer_and_sublayer
from overnight.captures.reading import read_prompt
from overnight.captures.summary import mean_of
from overnight.captures.validity import ModelValidity, TraitValidity, read_superposition, read_validity
from overnight.errors import OvernightError, said_below
from overnight.report.capture.results import CapturedModel, CaptureReport, PromptFacts, ShownTrait
from overnight.report.capture.strips import Strips, StripView
from overnight.report.reading import read_run
from overnight.report.results import RunReport, TrialReport
from overnight.store.run_folder import RunFolder

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPrompt:
    """A prompt with the trial that it belongs to."""

    trial: TrialReport
    line: CaptureLine
    captured: CapturedPrompt | None  # None: it failed, or its file is damaged
    error: str | None


def read_capture(folder: RunFolder) -> CaptureReport:
    """Return what the files of a capture say; what cannot be read is named with the reason.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    run = read_run(folder)
    notes: list[str] = []
    models = [_read_model(folder, run, name) for name in dict.fromkeys(one.model for one in run.trials)]
    by_name = {model.name: model for model in models}
    strips = Strips(models)
    prompts = []
    for one in trial_prompts(folder, run, notes):
        model = by_name[one.trial.model]
        if one.captured is not None and one.captured.traits != tuple(each.trait for each in model.traits):
            one = _other_traits(one)  # noqa: PLW2901 - what is refused is a failed prompt
        prompts.append(_facts(one, model))
        if one.captured is not None:
            strips.measure(model, one.captured)
    return CaptureReport(
        run=replace(run, notes=(*run.notes, *notes)),
        models=tuple(models),
        prompts=tuple(prompts),
        strips=_strips(folder, run, by_name, strips),
        pictures=(),
    )


def trial_prompts(folder: RunFolder, run: RunReport, notes: list[str] | None = None) -> Iterator[TrialPrompt]:
    """Yield the prompts of all trials, one in memory at a time; damage is noted once and ends a trial at most."""
    said = [] if notes is None else notes
    for trial in run.trials:
        path = folder.trial(trial.slug).results / "captures.jsonl"
        if not path.exists():
            continue  # the trial has not begun; its state says so
        try:
            for line in read_lines(path):
                captured, error = None, line.error
                if line.path is not None:
                    try:
                        captured = read_prompt(folder.path, line)
                    except OvernightError as damage:
                        error = said_below(folder.path, damage)
                        said.append(error)
                yield TrialPrompt(trial=trial, line=line, captured=captured, error=error)
        except OvernightError as damage:
            said.append(said_below(folder.path, damage))


def _other_traits(one: TrialPrompt) -> TrialPrompt:
    why = "its projections are on other traits than those of the first prompt of the model; capture it again"
    return TrialPrompt(trial=one.trial, line=one.line, captured=None, error=why)


def _strips(
    folder: RunFolder, run: RunReport, models: dict[str, CapturedModel], strips: Strips
) -> StripView | None:
    if strips.is_empty:
        return None
    for one in trial_prompts(folder, run):
        model = models[one.trial.model]
        if one.captured is not None and one.captured.traits == tuple(each.trait for each in model.traits):
            strips.add(model, one.trial.label, one.captured)
    return strips.view()


def _facts(one: TrialPrompt, model: CapturedModel) -> PromptFacts:
    line, captured = one.line, one.captured
    return PromptFacts(
        slug=one.trial.slug,
        model=model.name,
        group=line.group,
        prompt_id=line.prompt_id,
        prompt=line.prompt,
        reply=line.reply or "",
        n_prompt=line.n_prompt or 0,
        n_tokens=line.n_tokens or 0,
        finish_reason=line.finish_reason,
        error=one.error,
        means={}
        if captured is None
        else {
            shown.trait: mean_of(curve_of(captured, shown)[captured.n_prompt :].astype(np.float64))
            for shown in model.traits
        },
    )


def curve_of(prompt: CapturedPrompt, shown: ShownTrait) -> np.ndarray:
    """Return what is shown of a trait, ``[T]``: z where there is one, else the projection."""
    values = prompt.z if shown.has_z and prompt.z is not None else prompt.projections
    return np.asarray(values[:, prompt.points.index(shown.point), prompt.traits.index(shown.trait)])


def _read_model(folder: RunFolder, run: RunReport, name: str) -> CapturedModel:
    vectors = folder.path / "vectors" / name
    missing: list[str] = []
    validity = _attempt(read_validity, vectors / "validity.json", folder, missing)
    superposition = _attempt(read_superposition, vectors / "superposition.csv", folder, missing)
    own = replace(run, trials=tuple(trial for trial in run.trials if trial.model == name))
    first = next(
        (one.captured for one in trial_prompts(folder, own) if one.captured and one.captured.traits), None
    )
    points = first.points if first else ()
    return CapturedModel(
        name=name,
        traits=tuple(_shown(trait, points, validity, has_z=first.z is not None) for trait in first.traits)
        if first
        else (),
        points=points,
        validity=validity,
        superposition=superposition,
        missing=tuple(missing),
    )


def _shown(trait: str, points: tuple[str, ...], validity: ModelValidity | None, *, has_z: bool) -> ShownTrait:
    worth = validity.of(trait) if validity else None
    chosen = _chosen(points, worth)
    place = _middle(points) if chosen is None else chosen
    return ShownTrait(
        trait=trait, place=place, point=points[place], is_chosen=chosen is not None, has_z=has_z
    )


def _chosen(points: tuple[str, ...], worth: TraitValidity | None) -> int | None:
    if worth is None:
        return None
    return points.index(worth.chosen) if worth.chosen in points else None


def _middle(points: tuple[str, ...]) -> int:
    """Return the place of the middle layer, where blocks end if that was captured."""
    ends = [place for place, point in enumerate(points) if layer_and_sublayer(point)[1] == "residual_out"]
    places = ends or list(range(len(points)))
    return places[len(places) // 2]


def _attempt(read: Callable[[Path], T], path: Path, folder: RunFolder, missing: list[str]) -> T | None:
    try:
        return read(path)
    except OvernightError as error:
        missing.append(said_below(folder.path, error))
        return None
