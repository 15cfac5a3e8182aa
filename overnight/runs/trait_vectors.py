"""The trait vectors of a model: made when the first trial needs them, on the load that the trials use.

States of texts and finished vectors are kept for other runs, by everything that they depend on; a run has a copy of its
vectors, so that its folder can be read alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from overnight.activations.points import Component, Point, labels
from overnight.engines.sources import fetch
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import UsageError
from overnight.ids import digest
from overnight.memory.facts import read_facts
from overnight.memory.widths import widths
from overnight.planning.identity import weights_identity
from overnight.runs.capture_plan import projected_points
from overnight.runs.instructed_replies import Asking
from overnight.runs.shown_traits import ShownTrait, shown_trait
from overnight.runs.text_states import keep_missing
from overnight.spec.model import ModelSpec
from overnight.spec.trait import TraitSpec
from overnight.spec.trait_capture import TraitCaptureExperiment, VectorSettings
from overnight.store.content_store import ContentStore, cache_folder
from overnight.store.files import write_json, write_text
from overnight.traits.directions import (
    Applied,
    TraitDirections,
    directions_at,
    null_directions,
    write_directions,
)
from overnight.traits.methods import Method
from overnight.traits.superposition import write_superposition
from overnight.traits.validity import ValiditySettings, validate_trait
from overnight.traits.validity_record import DEFINITIONS, SCHEMA_VERSION
from overnight.vectors.key import KEY_FILE, StateKey
from overnight.vectors.states import Mode, StateStore
from overnight.vectors.trait_vectors import KIND, FoundVectors, StoredVectors, VectorKey, stored_vectors

_FILES = ("directions.safetensors", "validity.json", "superposition.csv")
_RENDERING = "texts as they are, messages by the model's chat template"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitVectors:
    """The vectors of a model, in the folder of a run."""

    folder: Path
    digest: str  # of what states are projected on
    traits: tuple[str, ...]
    n_layers: int  # of the model
    was_cached: bool
    n_read: int  # texts that went through the model for them

    @property
    def directions(self) -> Path:
        """What states are projected on."""
        return self.folder / "directions.safetensors"


async def trait_vectors(
    folder: Path,
    model: ModelSpec,
    experiment: TraitCaptureExperiment,
    engine: TransformersEngine,
    asking: Asking,
    mode: Mode = Mode.CACHED,
) -> TraitVectors:
    """Return the vectors of all traits, written into a folder; the model reads those texts that it has not read yet.

    Args:
        folder: of the run, for the vectors of this model.
        model: that the engine holds.
        experiment: which traits, how vectors are made, and what they are applied to.
        engine: that holds the model.
        asking: the same, for traits that are given by instructions.
        mode: whether states and vectors that are kept are used.

    Raises:
        UsageError: the texts of a trait are not what they should be, or say nothing.
        OutOfMemory: a text does not fit, not even alone.
        StopRequested: somebody asked the run to stop.
        EngineError: the engine is gone for good.
    """
    n_layers = widths(read_facts(fetch(model).path)).n_layers
    projected = projected_points(experiment, n_layers)
    points, settings = extracted_points(projected), experiment.vectors
    shown = [
        await shown_trait(trait, settings.replies, asking)
        for trait in experiment.traits
        if isinstance(trait, TraitSpec)
    ]
    keys = [vector_key(each.name, each.digest, model, settings, points) for each in shown]
    # Not a digest of the file, which names the same things in another order each time.
    name = digest([[key.digest for key in keys], labels(projected), settings.applied, settings.layer])
    vectors = TraitVectors(
        folder=folder,
        digest=name,
        traits=tuple(each.name for each in shown),
        n_layers=n_layers,
        was_cached=True,
        n_read=0,
    )
    if _digest_of(folder) == name:  # made for this run already; forcing is once a run, not once a trial
        return vectors
    making = _Making(model, settings, points, engine, asking, mode)
    found = [await making.of(each, key) for each, key in zip(shown, keys, strict=True)]
    write_vectors(folder, found, projected, settings)
    _write_key(folder, name, shown, keys)
    return replace(vectors, was_cached=all(each.was_cached for each in found), n_read=making.n_read)


def extracted_points(projected: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points at which vectors are made: what enters a block is what left the one before."""
    return tuple(dict.fromkeys(sorted(_same_state(point) for point in projected)))


def vector_key(
    trait: str, data_digest: str, model: ModelSpec, settings: VectorSettings, points: Sequence[Point]
) -> VectorKey:
    """Return what the vectors of a trait depend on."""
    states = state_key(model, settings, points)
    return VectorKey(
        trait=trait,
        model_digest=states.model_digest,
        held=states.held,
        points=states.points,
        positions=states.positions,
        rendering=states.rendering,
        kept=states.kept.value,
        data_digest=data_digest,
        method=settings.method,
        settings=settings.model_dump(
            mode="json", include={"nulls", "permutations", "folds", "drop_massive", "seed"}
        ),
    )


def state_key(model: ModelSpec, settings: VectorSettings, points: Sequence[Point]) -> StateKey:
    """Return what the states of texts depend on, beside the text."""
    return StateKey(
        model_digest=digest(weights_identity(model)),
        held=model.held_in_bits or model.compute_dtype,
        points=tuple(labels(points)),
        positions=settings.positions,
        rendering=_RENDERING,
    )


def write_vectors(
    folder: Path, found: Sequence[StoredVectors], projected: Sequence[Point], settings: VectorSettings
) -> None:
    """Write what states are projected on, what it is worth, and how alike the traits are; one layer may be named."""
    folder.mkdir(parents=True, exist_ok=True)
    traits = [_at_every_point(each.directions, projected, settings) for each in found]
    applied = Applied(settings.applied)
    write_directions(folder / "directions.safetensors", traits, labels(projected), applied=applied)
    write_json(
        folder / "validity.json",
        {
            "schema_version": SCHEMA_VERSION,
            "definitions": DEFINITIONS,
            "traits": [_validity(each, projected, settings) for each in found],
            "undefined": {each.directions.trait: each.undefined for each in found if each.undefined},
        },
    )
    chosen = np.stack([trait.directions[trait.points.index(trait.chosen)] for trait in traits])
    write_superposition(folder / "superposition.csv", [trait.trait for trait in traits], chosen)


class _Making:
    """Makes the vectors of one trait after another, or finds them made."""

    def __init__(
        self,
        model: ModelSpec,
        settings: VectorSettings,
        points: tuple[Point, ...],
        engine: TransformersEngine,
        asking: Asking,
        mode: Mode,
    ) -> None:
        self._model = model
        self._settings = settings
        self._points = points
        self._engine = engine
        self._asking = asking
        self._mode = mode
        self._states: StateStore | None = None
        self.n_read = 0

    async def of(self, shown: ShownTrait, key: VectorKey) -> StoredVectors:
        """Return the vectors of a trait; its texts are read first, where they were not."""
        is_known = ContentStore(cache_folder(), KIND).find(key.as_dict()) is not None
        if self._mode is Mode.FORCE or (not is_known and self._mode is not Mode.READ_ONLY):
            self.n_read += await keep_missing(
                self._store(),
                shown.sequences,
                self._points,
                self._settings.positions,
                self._engine,
                self._asking.should_stop,
            )
        return stored_vectors(key, lambda: self._found(shown), mode=self._mode)

    def _store(self) -> StateStore:
        if self._states is None:
            self._states = StateStore(state_key(self._model, self._settings, self._points), mode=self._mode)
        return self._states

    def _found(self, shown: ShownTrait) -> FoundVectors:
        settings, method = self._settings, Method(self._settings.method)
        points = labels(self._points)
        positive, negative = (
            self._store().read_float32([each.id for each in side])
            for side in (shown.positive, shown.negative)
        )
        validity = validate_trait(
            shown.name,
            points,
            positive,
            negative,
            is_paired=shown.is_paired,
            method=method,
            settings=ValiditySettings(
                n_folds=settings.folds,
                n_permutations=settings.permutations,
                n_random=settings.permutations,
                seed=settings.seed,
                drop_massive=settings.drop_massive,
            ),
        )
        directions, undefined = directions_at(
            points,
            positive,
            negative,
            is_paired=shown.is_paired,
            method=method,
            seed=settings.seed,
            drop_massive=settings.drop_massive,
        )
        nulls = null_directions(
            shown.name,
            positive,
            negative,
            settings.nulls,
            is_paired=shown.is_paired,
            method=method,
            seed=settings.seed,
            drop_massive=settings.drop_massive,
        )
        return FoundVectors(
            directions=TraitDirections(
                trait=shown.name,
                points=tuple(points),
                directions=directions,
                chosen=validity.chosen,
                nulls=nulls if settings.nulls else None,
            ),
            validity=validity,
            undefined=undefined,
        )


def _write_key(folder: Path, name: str, shown: Sequence[ShownTrait], keys: Sequence[VectorKey]) -> None:
    """Write what the vectors of a folder were made from; it is written last, and says that the others are there."""
    traits = {
        each.name: {"shown_by": dict(each.facts)} | key.as_dict()
        for each, key in zip(shown, keys, strict=True)
    }
    text = yaml.safe_dump({"digest": name, "traits": traits}, sort_keys=False, width=110)
    write_text(folder / KEY_FILE, text)


def _digest_of(folder: Path) -> str | None:
    """Return the digest of what the vectors of a folder were made from; None where they are not all there."""
    path = folder / KEY_FILE
    if not path.is_file() or not all((folder / name).is_file() for name in _FILES):
        return None
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError):
        return None  # damaged: they are made again
    return str(found.get("digest")) if isinstance(found, dict) else None


def _same_state(point: Point) -> Point:
    if point.component is Component.RESIDUAL_IN and point.layer > 0:
        return Point(point.layer - 1, Component.RESIDUAL_OUT)
    return point


def _at_every_point(
    found: TraitDirections, projected: Sequence[Point], settings: VectorSettings
) -> TraitDirections:
    """Return the directions of a trait by the names of the points that are projected on them."""
    chosen = _chosen(found, projected, settings)
    # Of states that were kept of some points, the chosen point may be another: its vector is one of them all the same.
    others = [] if chosen in labels(projected) else [chosen]
    names = [*labels(projected), *others]
    places = [found.points.index(_same_state(Point.parse(name)).label) for name in names]
    return TraitDirections(
        trait=found.trait,
        points=tuple(names),
        directions=found.directions[places],
        chosen=chosen,
        nulls=None if found.nulls is None else found.nulls[places],
    )


def _chosen(found: TraitDirections, projected: Sequence[Point], settings: VectorSettings) -> str:
    """Return the point whose vector stands for the trait: the best one, or that of the layer that was named."""
    if settings.layer == "best":
        same = (point.label for point in projected if _same_state(point).label == found.chosen)
        return next(same, found.chosen)
    of_layer = [point.label for point in projected if point.layer == settings.layer]
    if not of_layer:
        layers = sorted({point.layer for point in projected})
        raise UsageError(
            f"experiment.vectors.layer: {settings.layer} is not projected; there are {layers[0]} to {layers[-1]}"
        )
    return of_layer[-1]


def _validity(found: StoredVectors, projected: Sequence[Point], settings: VectorSettings) -> dict[str, Any]:
    """Return what the vector of a trait is worth; where its layer was named, nothing was chosen by the texts."""
    if settings.layer == "best":
        return found.validity
    chosen = _same_state(Point.parse(_chosen(found.directions, projected, settings)))
    return found.validity | {
        "chosen": chosen.label,
        "chosen_layer": chosen.layer,
        "chosen_component": chosen.component.value,
        "nested": None,
    }
