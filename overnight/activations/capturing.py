"""Sequences in, a file of each out: batches of like length that are halved where they do not fit."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from overnight.activations.answer import Failure
from overnight.activations.architecture import Architecture
from overnight.activations.directions import Directions
from overnight.activations.gathering import Gathered, Gatherer, write_sequence
from overnight.activations.passing import Pass, attention_by
from overnight.activations.points import Component, Point
from overnight.activations.recording import recording, recording_attention
from overnight.activations.request import ActivationRequest
from overnight.activations.tokens import TokenSequence
from overnight.engines.transformers.batching import halves
from overnight.engines.transformers.memory import is_out_of_memory, release
from overnight.engines.transformers.sharing import of_one_length
from overnight.errors import UsageError
from overnight.text_models.batching import length_batches

_LOG = logging.getLogger(__name__)
_WITH_WEIGHTS = "eager"  # the one way to compute attention that has its weights


@dataclass(slots=True)
class Captured:
    """What became of the sequences of a request."""

    failures: dict[str, Failure] = field(default_factory=dict)  # by sequence; the others have a file
    n_batches: int = 0
    halvings: int = 0
    was_probed: bool = False
    largest_probe_difference: float | None = None
    seconds: float = 0.0


class Capturer:
    """Computes what is wanted of sequences, with one model.

    Args:
        model: a causal language model of transformers, on its device, ready for inference.
        forget: gives memory back that is kept for something else; called where there is too little.
        around_pass: entered while sequences are computed.
    """

    def __init__(
        self,
        model: Any,
        forget: Callable[[], None] = lambda: None,
        around_pass: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._model = model
        self._device: torch.device = model.device
        self._forget = forget
        self._around_pass = around_pass
        self._pass = Pass(model)
        self._architecture: Architecture | None = None
        self._fits: int | None = None  # tokens of a batch, where states of places did not fit before

    def capture(
        self,
        request: ActivationRequest,
        sequences: Sequence[TokenSequence],
        budget: int,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Captured:
        """Write a file of each sequence.

        Args:
            request: what is wanted.
            sequences: those of the request, as the model reads them; none is empty.
            budget: most tokens of a batch, padding counted.
            is_wanted: asked before each batch; nothing more is computed once nobody waits.

        Raises:
            UsageError: the model has no such point, or the directions are made for others.
            StoreError: a file cannot be written.
        """
        started = time.perf_counter()
        work = self._work(request)
        captured = Captured()
        if (
            request.placed and self._fits is not None
        ):  # vectors come in many requests, each like the one before
            budget = min(budget, self._fits)
        there = [each for each in sequences if self._has_positions(each, request, captured)]
        queue = deque(_batches(there, budget))
        while queue and is_wanted():
            batch = queue.popleft()
            longest = max(len(each.ids) for each in batch)
            if len(batch) > 1 and len(batch) * longest > budget:  # it was made before another one did not fit
                queue.extendleft(reversed(_batches(batch, budget)))
                continue
            captured.n_batches += 1
            reason = self._tried(work, batch, captured)
            if reason is None:
                continue
            # Only here is nothing left of the frames that held the tensors.
            self._forget()
            release(self._device)
            if len(batch) == 1:
                said = f"a single sequence of {longest} tokens does not fit into memory ({reason})"
                captured.failures[batch[0].id] = Failure("OutOfMemory", said)
                continue
            captured.halvings += 1
            parts = [[batch[place] for place in half] for half in halves(range(len(batch)))]
            budget = len(parts[0]) * longest
            if request.placed:
                self._fits = budget
            _LOG.warning("%d sequences do not fit; halved, now at most %d tokens", len(batch), budget)
            queue.extendleft(reversed(parts))
        captured.seconds = time.perf_counter() - started
        return captured

    def _work(self, request: ActivationRequest) -> "_Work":
        """Return what is to be done, checked against the model."""
        if self._architecture is None:
            self._architecture = Architecture(self._model)
        architecture = self._architecture
        if request.internals_of is not None:
            inside = architecture.points_of(request.internals_of)
            internals = tuple(sorted({*request.internals, *inside}))
            request = replace(request, internals=internals, internals_of=None)
        widths = {point: architecture.width(point) for point in request.points}
        directions = None
        if request.directions is not None:
            directions = Directions.read(request.directions, self._device)
            directions.require_points(request.projected, request.directions)
            for point in request.projected:
                if widths[point] != directions.width:
                    raise UsageError(
                        f"directions {request.directions}: made of {directions.width} numbers; {point.label} of "
                        f"{architecture.name} has {widths[point]}; were they made with another model?"
                    )
        for name in ("pooled", "placed"):
            if len({widths[point] for point in getattr(request, name)}) > 1:
                raise UsageError(
                    f"{name}: the points are of different widths; ask for them one width at a time"
                )
        n_layers = len(architecture.blocks)
        layers: set[int] = set()
        if request.attention_layer is not None:
            architecture.width(Point(request.attention_layer, Component.RESIDUAL_IN))  # it is there
            layers.add(request.attention_layer)
        if request.attention_summary:
            layers |= {n for n, block in enumerate(architecture.blocks) if block.attention is not None}
        last = max(chain((point.layer for point in request.points), layers), default=None)
        return _Work(request, directions, architecture, sorted(layers), last, n_layers)

    def _tried(self, work: "_Work", batch: Sequence[TokenSequence], captured: Captured) -> str | None:
        """Write the files of a batch; return why it does not fit where it does not."""
        try:
            found = self._gathered(work, batch)
            if len(batch) > 1 and not captured.was_probed and not work.request.placed:
                place = min(range(len(batch)), key=lambda place: len(batch[place].ids))
                (alone,) = self._gathered(work, [batch[place]])
                captured.largest_probe_difference = largest_difference(found[place].tensors, alone.tensors)
                captured.was_probed = True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return str(error).strip().partition("\n")[0] or type(error).__name__
        for sequence, each in zip(batch, found, strict=True):
            if each.not_numbers:
                captured.failures[sequence.id] = Failure(
                    "BadResponse",
                    f"states that are no numbers at {', '.join(each.not_numbers[:3])}; a dtype of more range "
                    "(bfloat16, float32) may help",
                )
                continue
            path = work.request.path_of(sequence.id)
            write_sequence(path, sequence, each.tensors, work.request, work.directions)
        return None

    def _gathered(self, work: "_Work", batch: Sequence[TokenSequence]) -> list[Gathered]:
        gatherer = Gatherer(work.request, work.directions, batch, work.n_layers, self._device)
        if work.last_layer is not None:
            with ExitStack() as around:
                around.enter_context(self._around_pass())
                if work.attention_layers:
                    around.enter_context(attention_by(self._model, _WITH_WEIGHTS))
                    around.enter_context(
                        recording_attention(work.architecture, work.attention_layers, gatherer.take_attention)
                    )
                around.enter_context(recording(work.architecture, work.request.points, gatherer.take))
                self._pass(
                    [each.ids for each in batch], until=work.architecture.blocks[work.last_layer].module
                )
        return gatherer.gathered()

    @staticmethod
    def _has_positions(sequence: TokenSequence, request: ActivationRequest, captured: Captured) -> bool:
        try:
            if request.positions is not None:
                request.positions.places(sequence.n_prompt, len(sequence.ids), f"sequence {sequence.id}")
        except UsageError as error:
            captured.failures[sequence.id] = Failure("UsageError", str(error))
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Work:
    """A request, checked against a model."""

    request: ActivationRequest
    directions: Directions | None
    architecture: Architecture
    attention_layers: list[int]  # whose weights are wanted
    last_layer: int | None  # that anything is wanted of
    n_layers: int


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float | None:
    """Return the largest absolute difference of projections and pooled states, over the largest absolute one.

    Each of the two kinds by itself, and the larger of the two; None where there is neither.
    """
    found = []
    for name in ("projections", "pooled"):
        if name in one:
            largest = one[name].nan_to_num().abs().max()
            apart = (one[name] - other[name]).nan_to_num().abs().max()
            found.append(float(apart / largest) if largest > 0 else 0.0)
    return max(found, default=None)


def _batches(sequences: Sequence[TokenSequence], budget: int) -> list[list[TokenSequence]]:
    """Return sequences in batches of like length within a budget, the longest first."""
    sizes = [len(each.ids) for each in sequences]
    return [
        [sequences[places[part]] for part in parts]
        for places in reversed(of_one_length(range(len(sizes)), sizes))
        for parts in length_batches([sizes[place] for place in places], budget)
    ]
