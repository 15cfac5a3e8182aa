"""The tokens of every prompt with what they show of each trait, small enough for a page.

A number takes one byte, by the mu-law of telephony (ITU-T G.711, mu = 255, here with 127 steps on either side of 0):
it is off by no more than 2.2 % of itself and a hundredth of a percent of the largest one. The exact numbers are in
``projections.parquet``.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from overnight.captures.prompt import CapturedPrompt, layer_and_sublayer
from overnight.report.templating import json_script, page_environment
from overnight.report.text import visible

if TYPE_CHECKING:
    from overnight.report.capture.results import CapturedModel

STYLES: Final = ("explorer.css", "tokens.css", "strips.css")
SCRIPT: Final = "strips.js"  # a page names its digest in its policy
MOST_BYTES: Final = 18_000_000  # of the numbers of all prompts, before they are written as text
MOST_PROMPTS: Final = 1000
MU: Final = 255
STEPS: Final = 127  # on either side of 0
UNDEFINED: Final = 255
_REACH: Final = 0.98  # the share of tokens whose colour is not the last one
_MOST_CHARS: Final = 600  # of a prompt in its heading

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class StripView:
    """What a page shows of single tokens."""

    data: Markup
    n_shown: int
    n_all: int
    left_out: str  # which layers are not on the page; empty: none
    has_z: bool
    models: tuple[str, ...]
    labels: tuple[str, ...]  # of the trials


class Strips:
    """Gathers what a page shows: first the largest numbers, then the prompts; one prompt is held at a time."""

    def __init__(self, models: Sequence["CapturedModel"]) -> None:
        """Begin with the models of a run."""
        self._models = {model.name: _OfModel(model) for model in models if model.points and model.traits}
        self._rows: list[list[Any]] = []
        self._labels: list[str] = []
        self._n_bytes = 0
        self._n_all = 0

    @property
    def is_empty(self) -> bool:
        """True where no prompt was measured."""
        return self._n_all == 0

    def measure(self, model: "CapturedModel", prompt: CapturedPrompt) -> None:
        """Note how large the numbers of a prompt are."""
        own = self._models.get(model.name)
        if own is None or prompt.points != model.points:
            return
        own.measure(prompt)
        self._n_all += 1
        self._n_bytes += prompt.projections.size * (1 if prompt.z is None else 2)

    def add(self, model: "CapturedModel", label: str, prompt: CapturedPrompt) -> None:
        """Add a prompt, after all of them were measured."""
        own = self._models.get(model.name)
        if own is None or prompt.points != model.points or len(self._rows) >= MOST_PROMPTS:
            return
        own.keep(max(1, math.ceil(self._n_bytes / MOST_BYTES)))
        if label not in self._labels:
            self._labels.append(label)
        text = (
            prompt.prompt
            if len(prompt.prompt) <= _MOST_CHARS
            else f"{prompt.prompt[: _MOST_CHARS - 1]}\u2026"
        )
        self._rows.append(
            [
                list(self._models).index(model.name),
                self._labels.index(label),
                visible(prompt.prompt_id),
                visible(text),
                prompt.n_prompt,
                [visible(token) for token in prompt.tokens],
                own.encoded(prompt.projections, "projection"),
                None if prompt.z is None else own.encoded(prompt.z, "z"),
            ]
        )

    def view(self) -> StripView:
        """Return what a page shows."""
        return StripView(
            data=json_script({"models": [own.as_row() for own in self._models.values()], "rows": self._rows}),
            n_shown=len(self._rows),
            n_all=self._n_all,
            left_out="; ".join(filter(None, (own.left_out() for own in self._models.values()))),
            has_z=any(own.has_z for own in self._models.values()),
            models=tuple(self._models),
            labels=tuple(self._labels),
        )


class _OfModel:
    """The scales of one model: the largest number of each point and trait, and how far its colours reach."""

    def __init__(self, model: "CapturedModel") -> None:
        self._model = model
        shape = (len(model.points), len(model.traits))
        self._largest = {kind: np.zeros(shape) for kind in ("projection", "z")}
        self._counts = {kind: np.zeros((*shape, STEPS + 1), np.int64) for kind in ("projection", "z")}
        self._kept = list(range(len(model.points)))
        self._step = 1
        self.has_z = False

    def measure(self, prompt: CapturedPrompt) -> None:
        for kind, values in (("projection", prompt.projections), ("z", prompt.z)):
            if values is not None and values.size:
                size = np.nan_to_num(np.abs(values), nan=0.0).max(axis=0)
                self._largest[kind] = np.maximum(self._largest[kind], size)
        self.has_z |= prompt.z is not None

    def keep(self, step: int) -> None:
        """Keep every so manieth layer, and those that stand for a trait."""
        if step == self._step:
            return
        layers = sorted({layer_and_sublayer(point)[0] for point in self._model.points})
        chosen = {layer_and_sublayer(one.point)[0] for one in self._model.traits}
        kept = {*layers[::step], *chosen}
        self._kept = [
            place for place, point in enumerate(self._model.points) if layer_and_sublayer(point)[0] in kept
        ]
        self._step = step

    def encoded(self, values: NDArray[np.floating[Any]], kind: str) -> str:
        """Return the numbers ``[T, P, V]`` by trait, point and token, a byte each, in base 64."""
        found = quantised(values, self._largest[kind])
        sizes = np.where(found == UNDEFINED, 0, np.abs(found.astype(np.int64) - STEPS))
        # The first token takes the attention that nobody wants: its states are of another size than all others.
        for size in sizes[1:]:
            np.add.at(self._counts[kind], (*np.indices(size.shape), size), 1)
        ordered = np.ascontiguousarray(found[:, self._kept].transpose(2, 1, 0))
        return base64.b64encode(ordered.tobytes()).decode()

    def as_row(self) -> dict[str, Any]:
        """Return what the page has to know of the model."""
        parts = [layer_and_sublayer(self._model.points[place]) for place in self._kept]
        return {
            "name": visible(self._model.name),
            "traits": [visible(one.trait) for one in self._model.traits],
            "chosen": [self._kept.index(one.place) for one in self._model.traits],
            "isChosen": [one.is_chosen for one in self._model.traits],
            "layers": [layer for layer, _ in parts],
            "sublayers": [sublayer for _, sublayer in parts],
            "scales": {kind: _rounded(sizes[self._kept]) for kind, sizes in self._largest.items()},
            "reach": {kind: _rounded(self._reach(kind)[self._kept]) for kind in self._largest},
        }

    def left_out(self) -> str:
        """Return which layers are on the page, where not all are."""
        if len(self._kept) == len(self._model.points):
            return ""
        layers = sorted({layer_and_sublayer(self._model.points[place])[0] for place in self._kept})
        return f"of {self._model.name} layers {', '.join(map(str, layers))}"

    def _reach(self, kind: str) -> NDArray[np.float64]:
        """Return the size that `_REACH` of the tokens do not exceed."""
        counts = self._counts[kind]
        below = np.cumsum(counts, axis=-1) >= _REACH * counts.sum(axis=-1, keepdims=True)
        steps = np.argmax(below, axis=-1)
        return np.asarray(self._largest[kind] * np.expm1(steps / STEPS * np.log1p(MU)) / MU)


def quantised(values: NDArray[np.floating[Any]], largest: NDArray[np.floating[Any]]) -> Bytes:
    """Return a byte for each number, 127 for 0, 255 for one that is undefined.

    Args:
        values: ``[..., P, V]``.
        largest: ``[P, V]`` sizes that no value exceeds.
    """
    shares = np.divide(np.abs(values), largest, out=np.zeros(values.shape), where=largest > 0)
    steps = np.rint(STEPS * np.log1p(MU * np.nan_to_num(np.minimum(shares, 1.0))) / np.log1p(MU))
    signed = STEPS + np.copysign(steps, np.nan_to_num(values))
    return np.where(np.isnan(values), UNDEFINED, signed).astype(np.uint8)


def restored(found: Bytes, largest: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the numbers that bytes stand for, NaN for one that is undefined; the script does the same."""
    steps = found.astype(np.float64) - STEPS
    values = np.sign(steps) * largest * np.expm1(np.abs(steps) / STEPS * np.log1p(MU)) / MU
    return np.where(found == UNDEFINED, np.nan, values)


def strip_section(view: StripView) -> Markup:
    """Return the section of a page; the page has `STYLES` and `SCRIPT` among its own."""
    text = page_environment().get_template("strips.html.j2").render(view=view)
    return Markup(text)  # noqa: S704 - a template of ours, every value in it escaped


def _rounded(values: NDArray[np.floating[Any]]) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in values]
