"""A best-of-K sweep that is made up, and a process that says vectors in words without a model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from overnight.best_of_k.vector import Vector
from overnight.ids import text_digest
from overnight.lens.request import (
    ReconstructAnswer,
    ReconstructRequest,
    Verbalisation,
    VerbaliseAnswer,
    VerbaliseRequest,
)
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import make_plan
from overnight.records import Item, ItemType
from overnight.runs.expected import note_vectors
from overnight.runs.verbalising import VerbalisingWork
from overnight.spec.best_of_k import BestOfKSpec
from overnight.store.run_folder import RunFolder

MODEL = {
    "name": "tiny",
    "engine": "transformers",
    "source": "/nowhere/tiny",
    "sha256": "a" * 64,
    "family": "f",
    "instruct": True,
    "params_billion": 0.1,
    "quantization": "fp32",
    "context_tokens": 2048,
}
TEXTS = {"name": "texts", "format": "prompts", "path": "/nowhere/texts.txt", "sha256": "c" * 64}
MORE = {"name": "more", "format": "prompts", "path": "/nowhere/more.txt", "sha256": "d" * 64}
LEARNED = {"name": "learned", "format": "prompts", "path": "/nowhere/learned.txt", "sha256": "e" * 64}
LENS = {"name": "soft", "layer": 1, "text_tokens": 5, "fit": {"datasets": [LEARNED]}}
WIDTH = 3


def spec(execution: dict[str, Any] | None = None, **experiment: Any) -> BestOfKSpec:
    plain = {"models": [MODEL], "lenses": [LENS], "datasets": [TEXTS], "k_values": [1, 4]}
    return BestOfKSpec.model_validate(
        {"name": "t", "experiment": plain | experiment, "execution": execution or {}}
    )


def text(dataset: str, number: int) -> Item:
    return Item(
        dataset=dataset,
        item_id=f"{dataset}-{number}",
        type=ItemType.CLOSED,
        question=f"A text of number {number}.",
        answers=(),
    )


@dataclass
class MadeUpVectors:
    """Vectors of some texts, two of each."""

    vectors: tuple[Vector, ...]
    numbers: NDArray[np.float32]

    @classmethod
    def of(cls, items: Sequence[Item]) -> "MadeUpVectors":
        rng = np.random.default_rng(3)
        vectors = tuple(
            Vector(
                index=2 * number + place,
                key=text_digest(f"{item.key}|{place}"),
                dataset=item.dataset,
                item_id=item.item_id,
                place=place,
                position=5 + place,
                n_tokens=9,
                token=" of",
                before="A text",
                after=" number",
                role=None,
            )
            for number, item in enumerate(items)
            for place in range(2)
        )
        return cls(vectors, rng.normal(size=(len(vectors), WIDTH)).astype(np.float32))

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        return self.numbers[first:end]


@dataclass
class FakeVerbaliser:
    """Says what depends on a vector's key and a draw's number alone; fails where a test says so."""

    asked: list[str] = field(
        default_factory=list
    )  # keys of vectors and texts, in the order in which they came
    fails: Any = None  # called before each answer
    others: str = ""  # makes its texts others

    async def verbalise(self, request: VerbaliseRequest) -> VerbaliseAnswer:
        if self.fails:
            self.fails("verbalise")
        states = load_file(request.vectors)["vectors"]
        assert states.shape == (len(request.keys), WIDTH)
        self.asked += request.keys
        draws = tuple(
            tuple(
                Verbalisation(
                    text=text_digest(f"{key}|{draw}|{request.seed}|{request.temperature}{self.others}")[:8],
                    token_ids=(draw, 7),
                    n_tokens=3,
                    logprob=-1.5 - draw,
                    finish_reason="length" if draw == 1 else "stop",
                )
                for draw in range(request.n_draws)
            )
            for key in request.keys
        )
        return VerbaliseAnswer(draws=draws, seconds=0.5, rows=request.rows, halvings=1)

    async def reconstruct(self, request: ReconstructRequest) -> ReconstructAnswer:
        if self.fails:
            self.fails("reconstruct")
        said = request.texts if request.texts is not None else tuple(map(str, request.token_ids or ()))
        save_file({"vectors": np.stack([vector_of(each) for each in said])}, request.out)
        return ReconstructAnswer(n_tokens=2 * len(said), seconds=0.25, rows=request.rows, halvings=0)

    async def recover(self) -> None:
        if self.fails:
            self.fails("recover")


def vector_of(said: str) -> NDArray[np.float32]:
    """Return what the encoder makes of a text."""
    data = hashlib.sha256(said.encode()).digest()
    return np.frombuffer(data[: 4 * WIDTH], "<u4").astype(np.float32) / 2**32


def work(
    tmp_path: Path, n_texts: int = 5, execution: dict[str, Any] | None = None, **experiment: Any
) -> VerbalisingWork:
    """Return the work of the first trial of a sweep in a folder of its own."""
    items = [text("more", 0), *(text("texts", number) for number in range(n_texts))]
    sweep = spec(execution, datasets=[MORE, TEXTS], positions={"per_sequence": 2}, **experiment)
    plan = make_plan(sweep, items)
    trial = next(each for each in plan.trials if each.asks_of("texts"))
    assert isinstance(trial, BestOfKTrial)
    folder = RunFolder(tmp_path / "run_r1")
    vectors = MadeUpVectors.of(items)
    found = VerbalisingWork(
        folder=folder,
        plan=plan,
        block=plan.blocks[0],
        trial=trial,
        lens=tmp_path / "lens",
        vectors=vectors,
        execution=sweep.execution,
    )
    note_vectors(folder, trial, "vectors/tiny-l1", len(found.own_vectors), 0)
    return found


def with_chunks_of(work: VerbalisingWork, size: int) -> VerbalisingWork:
    lens = work.execution.lens.model_copy(update={"vectors_per_chunk": size})
    return replace(work, execution=work.execution.model_copy(update={"lens": lens}))
