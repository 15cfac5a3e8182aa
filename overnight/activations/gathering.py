"""What is kept of the states of one batch, and the file that becomes of each sequence."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from overnight.activations.attention import N_MEASURES, summarised
from overnight.activations.directions import Directions, lengths
from overnight.activations.points import Component, Point, labels
from overnight.activations.request import ActivationRequest
from overnight.activations.tokens import TokenSequence
from overnight.errors import StoreError
from overnight.store.files import atomic_bytes

SCHEMA_VERSION = "1"
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known of one sequence."""

    tensors: dict[str, Tensor]
    not_numbers: list[
        str
    ]  # labels of points whose states are none, in the model or in the dtype that is kept


class Gatherer:
    """Takes the states of one batch as they are computed, and keeps of them what is wanted.

    Args:
        request: what is wanted.
        directions: where states are projected.
        sequences: of the batch, in the order of its rows.
        n_layers: blocks of the model.
        device: of the model.
    """

    def __init__(
        self,
        request: ActivationRequest,
        directions: Directions | None,
        sequences: Sequence[TokenSequence],
        n_layers: int,
        device: torch.device,
    ) -> None:
        self._request = request
        self._directions = directions
        self._sequences = sequences
        self._n_layers = n_layers
        self._dtype: torch.dtype = getattr(torch, request.raw_dtype)
        self._place = {point: place for place, point in enumerate(request.projected)}
        self._pooled_place = {point: place for place, point in enumerate(request.pooled)}
        self._placed_place = {point: place for place, point in enumerate(request.placed)}
        self._raw, self._internals = frozenset(request.raw), frozenset(request.internals)
        self._rows: list[dict[str, Tensor]] = [{} for _ in sequences]
        self._not_numbers: list[list[str]] = [[] for _ in sequences]
        shape = (len(sequences), max(len(each.ids) for each in sequences), len(request.projected))
        n_traits = 0 if directions is None else len(directions.traits)
        # One piece of memory a batch, on the device: a copy a state would wait for the device each time.
        self._projections = torch.empty((*shape, n_traits), device=device)
        has_nulls = directions is not None and directions.has_nulls
        self._scores = torch.empty_like(self._projections) if has_nulls else None
        self._norms = torch.empty(shape, device=device)
        self._left: tuple[Tensor, Point] | None = None  # the block before, where it was projected

    def take(self, point: Point, states: Tensor) -> None:
        """Keep what is wanted of the states ``[sequences, tokens, width]`` of a point."""
        if point in self._place and self._directions is not None:
            self._project(point, states, self._directions)
        if point in self._pooled_place:
            self._pool(point, states)
        if point in self._placed_place:
            self._place_states(point, states)
        for is_wanted, name in ((point in self._raw, "raw"), (point in self._internals, "internals")):
            if is_wanted:
                kept = states.to(self._dtype).to(_CPU)
                for row, each in enumerate(self._sequences):
                    self._keep(row, point, f"{name}.{point.label}", kept[row, : len(each.ids)].clone())

    def take_attention(self, layer: int, weights: Tensor) -> None:
        """Keep what is wanted of the weights ``[sequences, heads, tokens, tokens]`` of a layer."""
        for row, each in enumerate(self._sequences):
            own = weights[row, :, : len(each.ids), : len(each.ids)]
            if layer == self._request.attention_layer:
                self._rows[row][f"attention.{layer}"] = own.to(torch.float16).to(_CPU).contiguous()
            if self._request.attention_summary:
                summary = self._rows[row].setdefault(
                    "attention_summary", torch.full((self._n_layers, len(each.ids), N_MEASURES), torch.nan)
                )
                summary[layer] = summarised(own, each.n_prompt)

    def gathered(self) -> list[Gathered]:
        """Return what is known of each sequence, padding left out."""
        return [self._gathered(row) for row in range(len(self._sequences))]

    def _gathered(self, row: int) -> Gathered:
        n_tokens = len(self._sequences[row].ids)
        tensors = {"token_ids": torch.tensor(self._sequences[row].ids)} | self._rows[row]
        wrong = list(self._not_numbers[row])
        if self._directions is not None:
            tensors["projections"] = _own(self._projections, row, n_tokens)
            tensors["norms"] = _own(self._norms, row, n_tokens)
            if self._scores is not None:
                tensors["z"] = _own(self._scores, row, n_tokens)
            unknown = ~tensors["norms"].isfinite().all(dim=0)
            wrong += [point.label for point, place in self._place.items() if unknown[place]]
        return Gathered(tensors, wrong)

    def _project(self, point: Point, states: Tensor, directions: Directions) -> None:
        place, group = self._place[point], directions.groups[point]
        before, self._left = self._left, None
        if before is not None and before[0] is states and directions.groups[before[1]] == group:
            # What leaves a block enters the next one: a third of what is asked of the residual stream is known.
            for kept in (self._projections, self._scores, self._norms):
                if kept is not None:
                    kept[:, :, place] = kept[:, :, self._place[before[1]]]
            return
        flat = states.flatten(0, 1)
        projections, scores = directions.project(flat, group)
        self._projections[:, :, place] = projections.view(*states.shape[:2], -1)
        if self._scores is not None and scores is not None:
            self._scores[:, :, place] = scores.view(*states.shape[:2], -1)
        self._norms[:, :, place] = lengths(flat).view(states.shape[:2])
        if point.component is Component.RESIDUAL_OUT:
            self._left = states, point

    def _pool(self, point: Point, states: Tensor) -> None:
        assert self._request.positions is not None  # noqa: S101 - points to pool come with positions
        for row, each in enumerate(self._sequences):
            places = self._request.positions.places(each.n_prompt, len(each.ids), each.id)
            mean = states[row, places.start : places.stop : places.step].float().mean(dim=0)
            shape = (len(self._request.pooled), mean.shape[0])
            pooled = self._rows[row].setdefault("pooled", torch.empty(shape))
            pooled[self._pooled_place[point]] = mean
            if not mean.isfinite().all():
                self._not_numbers[row].append(point.label)

    def _place_states(self, point: Point, states: Tensor) -> None:
        for row, each in enumerate(self._sequences):
            found = states[row, list(each.places)].float().to(_CPU)
            shape = (len(found), len(self._request.placed), found.shape[1])
            placed = self._rows[row].setdefault("placed", torch.empty(shape))
            placed[:, self._placed_place[point]] = found
            if not found.isfinite().all():
                self._not_numbers[row].append(point.label)

    def _keep(self, row: int, point: Point, name: str, states: Tensor) -> None:
        self._rows[row][name] = states
        if not states.isfinite().all():
            self._not_numbers[row].append(point.label)


def write_sequence(
    path: Path,
    sequence: TokenSequence,
    tensors: dict[str, Tensor],
    request: ActivationRequest,
    directions: Directions | None,
) -> None:
    """Write what is known of a sequence; the file is there in full or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    about = {
        "schema_version": SCHEMA_VERSION,
        "n_prompt": str(sequence.n_prompt),
        "points": json.dumps(labels(request.projected)),
        "traits": json.dumps([] if directions is None else list(directions.traits)),
        "pooled_points": json.dumps(labels(request.pooled)),
        "raw_dtype": request.raw_dtype,
    }
    if request.placed:
        about["placed_points"] = json.dumps(labels(request.placed))
    try:
        with atomic_bytes(path) as file:
            file.write(safetensors.torch.save(tensors, metadata=about))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from None


def _own(batch: Tensor, row: int, n_tokens: int) -> Tensor:
    return batch[row, :n_tokens].to(_CPU).contiguous()
