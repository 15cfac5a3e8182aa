"""What the best-of-K sweep does that is timed: reading vectors of texts, and saying them in words."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from stopwatch import Spent, Stopwatch

from overnight.datasets.reading import read_items
from overnight.engines.holding import connect_all, hold
from overnight.engines.sources import fetch, with_digest
from overnight.engines.transformers.client import TransformersEngine
from overnight.ids import digest
from overnight.lens.folder import LensDescription
from overnight.lens.loading import FittedLens, save_lens
from overnight.lens.reading_out import ReadingOut
from overnight.lens.request import VerbaliseRequest
from overnight.lens.soft_prompt import SoftPrompt
from overnight.planning.identity import weights_identity
from overnight.records import Item
from overnight.runs.vector_sets import vectors_of
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.execution import Execution
from overnight.spec.lens import LensSpec
from overnight.spec.positions import VectorPositions
from overnight.vectors.vector_set import VectorSet

LAYER, TEXT_TOKENS, SOFT_TOKENS = 15, 16, 8
_ROOT = ConfigRoot(shipped_config())
_MODEL = "smollm2-135m-instruct-fp32"
_CHUNK = 16  # vectors of a request
_CONTEXT_TOKENS = 1024
_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What saying vectors in words took."""

    spent: Spent
    n_texts: int
    n_tokens: int


def starter_texts() -> list[Item]:
    """Return the texts that vectors are read from."""
    return read_items(_ROOT.dataset("starter_texts"))


class HeldModel:
    """A model that one process holds, or several; use as an asynchronous context.

    Args:
        scratch: an empty folder.
        threads: of all processes together.
        num_processes: that hold it.
    """

    def __init__(self, scratch: Path, threads: int, num_processes: int = 1) -> None:
        self._execution = Execution.model_validate(
            {
                "num_processes": num_processes,
                "request_timeout_s": _TIMEOUT_S,
                "engine": {"threads": threads, "startup_timeout_s": _TIMEOUT_S},
            }
        )
        model = _ROOT.model(_MODEL)
        self._weights = fetch(model).path
        self._model = with_digest(model, self._execution.engine)
        self._scratch = scratch
        self._n_runs = 0
        self._engines: tuple[TransformersEngine, ...] = ()

    @contextlib.asynccontextmanager
    async def held(self) -> "AsyncIterator[HeldModel]":
        """Load the model, have it read something, and give it back at the end."""
        folder = self._scratch / "engines"
        with hold(self._model, self._weights, _CONTEXT_TOKENS, self._execution, folder) as holder:
            await asyncio.to_thread(holder.start)
            self._engines = connect_all(self._model, self._execution, folder)
            try:
                await self.read(starter_texts()[-4:], self.new_cache())  # the first pass is a slower one
                yield self
            finally:
                for engine in self._engines:
                    await engine.close()

    def new_cache(self) -> Path:
        """Return an empty cache."""
        self._n_runs += 1
        return self._scratch / f"cache{self._n_runs}"

    async def read(
        self, items: Sequence[Item], cache: Path, per_sequence: int = 1, kept: str = "float32"
    ) -> tuple[VectorSet, Spent]:
        """Return the vectors of a new run, and what they took: the time of its processes is not in it."""
        self._n_runs += 1
        before = os.environ.get("OVERNIGHT_CACHE_DIR")
        os.environ["OVERNIGHT_CACHE_DIR"] = str(cache)
        try:
            with Stopwatch() as watch:
                found = await vectors_of(
                    folder=self._scratch / f"run{self._n_runs}",
                    items=items,
                    model=self._model,
                    layer=LAYER,
                    positions=VectorPositions(per_sequence=per_sequence),
                    max_per_dataset=None,
                    kept=kept,
                    engines=self._engines,
                )
        finally:
            if before is None:
                del os.environ["OVERNIGHT_CACHE_DIR"]
            else:
                os.environ["OVERNIGHT_CACHE_DIR"] = before
        return found, watch.spent

    async def draw(self, vectors: VectorSet, counts: Sequence[int]) -> Drawn:
        """Return what saying some vectors in words takes, anew for each number of texts; all processes take part."""
        lens = self._lens(vectors.width)
        requests = [
            self._request(lens, vectors, first, n) for n in counts for first in range(0, len(vectors), _CHUNK)
        ]
        left = iter(requests)
        n_texts = n_tokens = 0

        async def work(engine: TransformersEngine) -> None:
            nonlocal n_texts, n_tokens
            for request in left:
                answer = await engine.verbalise(request)
                said = [text for texts in answer.draws for text in texts]
                n_texts += len(said)
                n_tokens += sum(text.n_tokens for text in said)

        with Stopwatch() as watch:
            await asyncio.gather(*map(work, self._engines))
        return Drawn(spent=watch.spent, n_texts=n_texts, n_tokens=n_tokens)

    def _request(self, lens: Path, vectors: VectorSet, first: int, n_draws: int) -> VerbaliseRequest:
        path = self._scratch / f"vectors{first}.safetensors"
        some = np.ascontiguousarray(vectors.rows(first, first + _CHUNK))
        save_file({"vectors": some}, path)
        return VerbaliseRequest(
            lens=lens,
            vectors=path,
            keys=tuple(vector.key for vector in vectors.vectors[first : first + _CHUNK]),
            n_draws=n_draws,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=TEXT_TOKENS,
            seed=42,
            rows=64,
        )

    def _lens(self, width: int) -> Path:
        """Return a lens with random numbers: what it says means nothing and takes as long as if it did."""
        folder = self._scratch / "lens"
        if folder.exists():
            shutil.rmtree(folder)
        draw = torch.Generator().manual_seed(4)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=draw) * 0.05

        nowhere: Any = SimpleNamespace(device=torch.device("cpu"))
        decoder = SoftPrompt(
            nowhere,
            random(SOFT_TOKENS, width, width),
            random(SOFT_TOKENS, width),
            random(width),
            torch.ones(width),
        )
        encoder = ReadingOut(nowhere, random(width, width), random(width), random(width))
        spec = LensSpec.model_validate(
            {
                "name": "random",
                "layer": LAYER,
                "text_tokens": TEXT_TOKENS,
                "decoder": {"kind": "soft_prompt", "soft_tokens": SOFT_TOKENS, "lora_rank": 0},
                "fit": {"datasets": ["starter_texts_fit"]},
            }
        )
        description = LensDescription(
            lens=spec,
            model=self._model.name,
            model_digest=digest(weights_identity(self._model)),
            width=width,
            data_digest="0" * 64,
        )
        save_lens(folder, FittedLens(decoder, encoder), description)
        return folder
