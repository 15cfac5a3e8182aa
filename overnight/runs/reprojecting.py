"""Projecting the states that a run has kept on the vectors of other traits: no model is loaded."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from overnight.captures.directions import Directions, read_directions
from overnight.captures.prompt import CapturedPrompt
from overnight.captures.reading import read_captures
from overnight.captures.reprojecting import reproject
from overnight.captures.summary import write_summary
from overnight.captures.table import write_projections
from overnight.engines.sources import fetch
from overnight.errors import StoreError, UsageError
from overnight.memory.facts import read_facts
from overnight.memory.widths import widths
from overnight.planning.plan import ModelBlock
from overnight.runs.capture_plan import projected_points, raw_points
from overnight.runs.opening import load_plan, load_trait_capture
from overnight.runs.shown_traits import shown_texts
from overnight.runs.stepping import on_its_rung
from overnight.runs.trait_vectors import extracted_points, vector_key, write_vectors
from overnight.spec.trait import TraitSpec
from overnight.spec.trait_capture import TraitCaptureExperiment
from overnight.store.inside import child
from overnight.store.run_folder import RunFolder, TrialFolder
from overnight.traits.contrastive import ContrastiveSet
from overnight.traits.sources import read_trait
from overnight.vectors.states import Mode
from overnight.vectors.trait_vectors import FoundVectors, StoredVectors, stored_vectors


def reproject_run(folder: RunFolder, traits: Sequence[TraitSpec], name: str) -> Path:
    """Write the projections of a run's states on other traits into a folder of its own; return it.

    The vectors have to be there: whatever run captured with the same model and settings has made them.

    Args:
        folder: of a capture that kept raw states.
        traits: resolved.
        name: of the folder, below ``reprojected/``.

    Raises:
        UsageError: the run kept no states, the name is none of a folder, or there are no vectors of a trait.
        StoreError: a file is damaged.
    """
    spec = load_trait_capture(folder)
    experiment = spec.experiment
    if experiment.raw is None:
        raise UsageError(
            f"run {folder.run_id} kept no states; set experiment.raw (`--set experiment.raw={{}}`) and capture again"
        )
    try:
        out = child(folder.path / "reprojected", name)
    except StoreError:
        raise UsageError(
            f"--name {name!a}: cannot be the name of a folder; give a short one without / \\ and :"
        ) from None
    for planned in load_plan(folder, spec).blocks:
        block = on_its_rung(folder, planned)
        directions = _directions(block, experiment, traits, out / "vectors" / block.held.model.name)
        for trial in block.trials:
            files = TrialFolder(out / trial.slug)
            source = folder.trial(trial.slug).captures
            write_projections(files.projections, _reprojected(folder, source, directions))
            write_summary(files.projection_summary, _reprojected(folder, source, directions))
    return out


def _directions(
    block: ModelBlock, experiment: TraitCaptureExperiment, traits: Sequence[TraitSpec], folder: Path
) -> Directions:
    model, settings = block.held.model, experiment.vectors
    n_layers = widths(read_facts(fetch(model).path)).n_layers
    points = extracted_points(projected_points(experiment, n_layers))

    def found(trait: TraitSpec) -> StoredVectors:
        texts = read_trait(trait)
        if not isinstance(texts, ContrastiveSet):
            raise UsageError(
                f"trait {trait.name} is given by instructions; capture with it to have its vectors"
            )
        key = vector_key(trait.name, shown_texts(texts).digest, model, settings, points)
        try:
            return stored_vectors(key, _never, mode=Mode.READ_ONLY)
        except UsageError:
            raise UsageError(
                f"no vectors of trait {trait.name} for {model.name} with these settings; a capture makes them, of one "
                f"prompt too (`overnight run CONFIG --limit-items 1` with experiment.traits: [{trait.name}])"
            ) from None

    write_vectors(folder, [found(trait) for trait in traits], raw_points(experiment, n_layers), settings)
    return read_directions(folder / "directions.safetensors")


def _reprojected(folder: RunFolder, lines: Path, directions: Directions) -> Iterator[CapturedPrompt]:
    for prompt in read_captures(folder.path, lines):
        again = reproject(prompt, directions)
        yield replace(
            prompt,
            points=again.points,
            traits=again.traits,
            projections=again.projections,
            z=again.z,
            norms=again.norms,
        )


def _never() -> FoundVectors:
    raise AssertionError("vectors are read, and never found here")
