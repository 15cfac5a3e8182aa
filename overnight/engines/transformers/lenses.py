"""Answers to requests for texts of vectors and for vectors of texts."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from overnight.engines.transformers.errands import run_errand
from overnight.engines.transformers.loading import Loaded
from overnight.engines.transformers.scheduling import Scheduler
from overnight.engines.transformers.serving import Caller, RefusedRequest
from overnight.engines.transformers.stopping import Decode
from overnight.errors import StoreError, UsageError
from overnight.lens.drawing import Drawer
from overnight.lens.encoding import encode
from overnight.lens.fitting_rows import FittingRows
from overnight.lens.protocol import Lens
from overnight.lens.request import (
    ReconstructAnswer,
    ReconstructRequest,
    VerbaliseAnswer,
    VerbaliseRequest,
)
from overnight.store.files import atomic_bytes

_TENSOR = "vectors"
_Request = TypeVar("_Request")


@dataclass(frozen=True, slots=True)
class _Held:
    """A lens on the model."""

    lens: Lens
    drawn: FittingRows
    encoded: FittingRows


class Lenses:
    """Draws and encodes between the batches of completions; each lens is loaded once.

    Args:
        loaded: the model.
        decode: ids to text, without special tokens.
        scheduler: whose thread computes.
        forget: gives memory back that is kept for completions.
        around_pass: entered while vectors or texts are read.
        load: loads the lens of a folder.
        most_rows: texts at a time, whatever is asked for; None for no limit.
    """

    def __init__(
        self,
        loaded: Loaded,
        decode: Decode,
        scheduler: Scheduler,
        forget: Callable[[], None],
        around_pass: Callable[[], AbstractContextManager[None]],
        load: Callable[[Path], Lens],
        most_rows: int | None = None,
    ) -> None:
        self._device = loaded.device
        self._vocabulary = range(loaded.model.get_input_embeddings().num_embeddings)
        self._scheduler = scheduler
        self._forget = forget
        self._around_pass = around_pass
        self._load = load
        self._most_rows = most_rows
        self._drawer = Drawer(loaded.model, loaded.eos_ids, decode, around_pass)
        self._held: dict[Path, _Held] = {}

    async def verbalise(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the texts of some vectors; what nobody waits for any more is not drawn to its end."""
        request = _parsed(VerbaliseRequest.from_json, body)
        answer: VerbaliseAnswer = await run_errand(
            self._scheduler, lambda is_wanted: self._verbalised(request, is_wanted), caller
        )
        return answer.to_json()

    async def reconstruct(self, body: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Return what it took to make vectors of some texts, which are in a file then."""
        request = _parsed(ReconstructRequest.from_json, body)
        answer: ReconstructAnswer = await run_errand(
            self._scheduler, lambda is_wanted: self._reconstructed(request, is_wanted), caller
        )
        return answer.to_json()

    def _verbalised(self, request: VerbaliseRequest, is_wanted: Callable[[], bool]) -> VerbaliseAnswer | None:
        started = time.perf_counter()
        held = self._holding(request.lens)
        rows, before = held.drawn, held.drawn.halvings
        vectors = _read(request.vectors, n_vectors=len(request.keys), width=held.lens.width)
        draws = self._drawer.draw(held.lens, vectors, request, rows, is_wanted)
        if draws is None:
            return None
        return VerbaliseAnswer(
            draws=tuple(draws),
            seconds=round(time.perf_counter() - started, 5),
            rows=rows.of(request.rows),
            halvings=rows.halvings - before,
        )

    def _reconstructed(
        self, request: ReconstructRequest, is_wanted: Callable[[], bool]
    ) -> ReconstructAnswer | None:
        started = time.perf_counter()
        held = self._holding(request.lens)
        rows, before = held.encoded, held.encoded.halvings
        texts = request.token_ids
        if texts is None:
            texts = tuple(tuple(ids) for ids in held.lens.tokens(request.texts or ()))
        self._require_known(texts)
        encoded = encode(held.lens, texts, request.rows, rows, is_wanted, self._around_pass)
        if encoded is None:
            return None
        try:
            with atomic_bytes(request.out) as file:
                file.write(safetensors.torch.save({_TENSOR: encoded.vectors}))
        except OSError as error:
            raise StoreError(f"{request.out}: cannot be written ({error.strerror})") from None
        return ReconstructAnswer(
            n_tokens=encoded.n_tokens,
            seconds=round(time.perf_counter() - started, 5),
            rows=rows.of(request.rows),
            halvings=rows.halvings - before,
        )

    def _holding(self, folder: Path) -> _Held:
        if folder not in self._held:
            self._held[folder] = _Held(
                lens=self._load(folder),
                drawn=FittingRows("drawn", self._device, self._forget, self._most_rows),
                encoded=FittingRows("encoded", self._device, self._forget, self._most_rows),
            )
        return self._held[folder]

    def _require_known(self, texts: Sequence[Sequence[int]]) -> None:
        unknown = next((each for ids in texts for each in ids if each not in self._vocabulary), None)
        if unknown is not None:
            raise UsageError(
                f"no token {unknown} among {len(self._vocabulary)}; are the texts another model's?"
            )


def _parsed(parse: Callable[[dict[str, Any]], _Request], body: dict[str, Any]) -> _Request:
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedRequest(400, "BadRequest", f"{type(error).__name__}: {error}") from None


def _read(path: Path, *, n_vectors: int, width: int) -> Tensor:
    """Return the vectors of a file, ``[n_vectors, width]`` in float32.

    Raises:
        UsageError: it is no such file.
    """
    try:
        vectors = safetensors.torch.load_file(path)[_TENSOR].float()
    except (OSError, SafetensorError, KeyError) as error:
        raise UsageError(f"{path}: cannot be read as vectors ({' '.join(str(error).split())})") from None
    if tuple(vectors.shape) != (n_vectors, width):
        raise UsageError(
            f"{path}: holds {tuple(vectors.shape)} numbers, wanted {n_vectors} vectors of {width}; are they "
            "of the model that the lens is for?"
        )
    if not vectors.isfinite().all():
        raise UsageError(f"{path}: has vectors that are not made of numbers")
    return vectors
