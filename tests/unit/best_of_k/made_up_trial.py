"""The folder of a made-up best-of-K trial: known vectors, and reconstructions that are these with noise."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from overnight.best_of_k.vector import Vector
from overnight.ids import digest
from overnight.spec.best_of_k import BestOfKExperiment
from overnight.store.run_folder import RunFolder, TrialFolder
from overnight.vectors.floats import Kept, narrow, widen
from overnight.vectors.shards import write_shard

SLUG = "tiny-lens-texts-t1-k4-00000000"
SENTENCE = (
    "the capital of a country north river market opened early and was closed again by rain people who had come"
    " from far away waited under trees while somebody sang an old song about ships salt and winter"
)
WORDS = tuple(SENTENCE.split())


@dataclass
class MadeUpVectors:
    """Vectors of a model and layer."""

    vectors: tuple[Vector, ...]
    x: np.ndarray  # [N, D]
    left_out: tuple[dict[str, Any], ...] = ()

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return ``[n, D]``."""
        return self.x[first:end].astype(np.float32)


@dataclass
class MadeUp:
    """A trial with all that is known of it."""

    folder: RunFolder
    trial: TrialFolder
    vectors: MadeUpVectors
    y: np.ndarray  # [N, n, D], as kept
    logprobs: np.ndarray  # [N, n]
    n_tokens: np.ndarray  # [N, n]
    failed: set[tuple[int, int]]
    experiment: BestOfKExperiment
    requested: dict[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> np.ndarray:
        """Vectors as they are read."""
        return self.vectors.rows(0, len(self.vectors.x)).astype(np.float64)


def make_up(
    folder: Path,
    *,
    n_sources: int = 6,
    per_source: int = 2,
    n_draws: int = 4,
    n_dimensions: int = 5,
    ks: Sequence[int] = (1, 2, 4),
    failed: Sequence[tuple[int, int]] = (),
    roles: Sequence[str | None] = (None,),
    per_chunk: int = 4,
    chunks: Sequence[int] | None = None,
    kept: Kept = Kept.FLOAT32,
    noise: float = 1.0,
    seed: int = 0,
    slug: str = SLUG,
    requested: dict[str, Any] | None = None,
    statistics: dict[str, Any] | None = None,
    text: str | None = None,
) -> MadeUp:
    """Write the files of a trial.

    Args:
        folder: of the run.
        n_sources: texts.
        per_source: vectors of each.
        n_draws: of a vector.
        n_dimensions: of a vector.
        ks: numbers of draws that are looked at.
        failed: draws, each a vector and a number.
        roles: of the vectors in turn.
        per_chunk: vectors.
        chunks: numbers of the chunks that were worked on, in this order; None for all.
        kept: kind of number of the reconstructions.
        noise: standard deviation of a reconstruction about half of its vector.
        seed: of all that is drawn here.
        slug: of the trial.
        requested: what differs from what is requested by default.
        statistics: settings.
        text: the text of every draw, for one that is hard to show.
    """
    rng = np.random.default_rng(seed)
    n = n_sources * per_source
    about = rng.normal(size=(n_sources, n_dimensions)) + np.linspace(0, 3, n_dimensions)
    x = np.repeat(about, per_source, axis=0) + 0.5 * rng.normal(size=(n, n_dimensions))
    scale = rng.uniform(0.3, 1.7, size=(n, n_draws, 1)) * noise
    y = (0.8 * x[:, None] + 0.1 + scale * rng.normal(size=(n, n_draws, n_dimensions))).astype(np.float32)
    # What the decoder finds likely is a little closer.
    logprobs = -8.0 - 6.0 * scale[..., 0] + rng.normal(size=(n, n_draws))
    n_tokens = rng.integers(3, 9, size=(n, n_draws))
    run, lost = RunFolder(folder), set(failed)
    trial = run.trial(slug)
    trial.reconstructions.mkdir(parents=True, exist_ok=True)
    rows, lines = [], []
    order = list(range(-(-n // per_chunk))) if chunks is None else chunks
    for number in order:
        first = number * per_chunk
        own = range(first, min(first + per_chunk, n))
        held = y[first : own.stop].copy()
        for place, draw in lost:
            if place in own:
                held[place - first, draw] = 0.0
        held = narrow(held, kept)
        path = trial.reconstructions / f"{first:08d}.safetensors"
        sha256, n_bytes = write_shard(path, held, kept, {"first": str(first)})
        rows += list(_rows(own, n_draws, per_source, logprobs, n_tokens, lost, rng, text))
        lines.append(
            {
                "first": first,
                "n": len(own),
                "path": f"results/reconstructions/{path.name}",
                "sha256": sha256,
                "bytes": n_bytes,
                "seconds_drawing": 0.5 * len(own),
                "seconds_encoding": 0.25 * len(own),
                "tokens_drawn": int(n_tokens[first : own.stop].sum()),
                "tokens_encoded": 7,
                "rows": 8,
                "encoder_rows": 8,
                "halvings": 0,
                "rank": number % 2,
            }
        )
    for path, content in ((trial.journal, rows), (trial.chunks, lines)):
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    if kept is not Kept.FLOAT32:
        y = widen(narrow(y, kept), kept)
    return MadeUp(
        folder=run,
        trial=trial,
        vectors=MadeUpVectors(tuple(_vectors(n, per_source, roles, rng)), x),
        y=y.astype(np.float64),
        logprobs=logprobs,
        n_tokens=n_tokens,
        failed=lost,
        experiment=BestOfKExperiment(
            datasets=("texts",),
            models=("tiny",),
            lenses=("lens",),
            k_values=tuple(ks),
            kept=kept.value,
            statistics={"n_resamples": 200, **(statistics or {})},
        ),
        requested={
            "model": "tiny",
            "dataset": "texts",
            "lens": "lens",
            "layer": 3,
            "decoder": "soft_prompt",
            "text_tokens": 8,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "seed": 0,
            "n_draws": n_draws,
            "engine": "transformers",
            **(requested or {}),
        },
    )


def _rows(
    own: range,
    n_draws: int,
    per_source: int,
    logprobs: np.ndarray,
    n_tokens: np.ndarray,
    failed: set[tuple[int, int]],
    rng: np.random.Generator,
    text: str | None,
) -> Iterator[dict[str, Any]]:
    for place in own:
        for draw in range(n_draws):
            within = place % per_source * n_draws + draw
            row = {
                "custom_id": f"texts|t{place // per_source}|control|1.0|{within}|open",
                "vector": place,
                "draw": draw,
            }
            if (place, draw) in failed:
                yield {**row, "status": "error", "error": "OutOfMemory"}
                continue
            said = text or " ".join(map(str, rng.choice(WORDS, n_tokens[place, draw])))
            yield {
                **row,
                "status": "ok",
                "text": said,
                "token_ids": list(range(int(n_tokens[place, draw]))),
                "completion_tokens": int(n_tokens[place, draw]),
                "logprob_sum": float(logprobs[place, draw]),
                "finish_reason": "stop",
            }


def _vectors(
    n: int, per_source: int, roles: Sequence[str | None], rng: np.random.Generator
) -> Iterator[Vector]:
    for index in range(n):
        before = " ".join(map(str, rng.choice(WORDS, 7)))
        after = " ".join(map(str, rng.choice(WORDS, 4)))
        yield Vector(
            index=index,
            key=digest(index),
            dataset="texts",
            item_id=f"t{index // per_source}",
            place=index % per_source,
            position=6 + index % per_source,
            n_tokens=40,
            token=f" {rng.choice(WORDS)}",
            before=before,
            after=f" {after}",
            role=roles[index % len(roles)],
        )
