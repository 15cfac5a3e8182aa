"""Every figure of a trait capture, as PNG and PDF; the same numbers as in the tables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from overnight.captures.prompt import CapturedPrompt
from overnight.ids import text_digest
from overnight.report.capture.findings import captured_worths
from overnight.report.capture.group_figure import group_figure
from overnight.report.capture.prompt_figures import curves, heat_map
from overnight.report.capture.reading import trial_prompts
from overnight.report.capture.results import CapturedModel, CaptureReport, ShownTrait
from overnight.report.capture.vector_figures import superposition_figure, validity_figure
from overnight.report.drawing import save_figure
from overnight.report.uncertainty.frame import Frame
from overnight.store.run_folder import RunFolder

MOST_OF_TRIAL: Final = 8  # prompts whose figures are drawn; a page shows every prompt
_PROMPTS: Final = "prompts"
_TITLES: Final = {
    "validity": "What the vectors are worth by layer",
    "superposition": "How alike the vectors are",
    "groups": "Groups and traits",
}


def write_figures(folder: RunFolder, report: CaptureReport) -> list[tuple[str, str]]:
    """Write every figure that has something to show, take away those of before that have not.

    Returns:
        Name and title of each figure of the run; those of prompts lie in a folder of their own.
    """
    before = {*folder.figures.glob("*.p*"), *(folder.figures / _PROMPTS).glob("*.p*")}
    written = []
    for name, title, frame in _of_run(report):
        save_figure(folder.figures, name, frame.figure)
        written.append((name, title))
    now = {folder.figures / f"{name}.{kind}" for name, _ in written for kind in ("png", "pdf")}
    for name, frame in _of_prompts(folder, report):
        save_figure(folder.figures / _PROMPTS, name, frame.figure)
        now |= {folder.figures / _PROMPTS / f"{name}.{kind}" for kind in ("png", "pdf")}
    for path in before - now:
        path.unlink(missing_ok=True)
    return written


def n_prompts_drawn(figures: Path) -> int:
    """Return how many prompts have figures of their own."""
    return len(list((figures / _PROMPTS).glob("*-curves.png")))


def _of_run(report: CaptureReport) -> Iterator[tuple[str, str, Frame]]:
    for model in report.models:
        frames = {
            "validity": validity_figure(report, model),
            "superposition": superposition_figure(report, model),
            "groups": group_figure(report, model),
        }
        for name, frame in frames.items():
            if frame is not None:
                of = f", {model.name}" if len(report.models) > 1 else ""
                yield f"{name}-{_file_name(model.name)}", f"{_TITLES[name]}{of}", frame


def _of_prompts(folder: RunFolder, report: CaptureReport) -> Iterator[tuple[str, Frame]]:
    models = {model.name: model for model in report.models}
    n_drawn: dict[str, int] = {}
    for one in trial_prompts(folder, report.run):
        model, slug = models[one.trial.model], one.trial.slug
        traits = tuple(each.trait for each in model.traits)
        if one.captured is None or one.captured.traits != traits or one.captured.points != model.points:
            continue
        n_drawn[slug] = n_drawn.get(slug, 0) + 1
        if n_drawn[slug] > MOST_OF_TRIAL or not traits:
            continue
        name = _file_name(f"{model.name}-{one.line.prompt_id}")
        drawn: dict[str, Frame | None] = {
            "heat": heat_map(report, one.captured, trait_of(model, one.captured)),
            "curves": curves(report, one.captured, model.traits),
        }
        for kind, frame in drawn.items():
            if frame is not None:
                yield f"{name}-{kind}", frame


def trait_of(model: CapturedModel, prompt: CapturedPrompt) -> ShownTrait:
    """Return the trait that a heat map of a prompt shows.

    That which the group is named after, else the one whose vector is worth most on held-out texts, else the first.
    """
    for shown in model.traits:
        if shown.trait.casefold().startswith(prompt.group.casefold()) or prompt.group.casefold().startswith(
            shown.trait.casefold()
        ):
            return shown
    worths = {one.trait: one.held_out.accuracy or 0.0 for one in captured_worths(model)}
    return max(model.traits, key=lambda shown: worths.get(shown.trait, 0.0))


def _file_name(text: str) -> str:
    """Return a name for a file; texts that it cannot hold in full are told apart by their digests."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._")[:80]
    return plain if plain == text else f"{plain}-{text_digest(text)[:8]}"
