"""The grid of a best-of-K sweep: models x lenses x temperatures x datasets, and what makes a trial the same trial."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from overnight.errors import UsageError
from overnight.ids import digest, number_label
from overnight.lens.folder import lens_identity
from overnight.planning.identity import FINGERPRINT_VERSION, datasets_identity, weights_identity
from overnight.planning.trial import Trial
from overnight.prompting.messages import Message
from overnight.records import Condition, Item
from overnight.spec.best_of_k import BestOfKExperiment, BestOfKSpec
from overnight.spec.dataset import DatasetSpec
from overnight.spec.lens import LensSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.positions import VectorPositions
from overnight.spec.sampling import MaxNewTokens, SamplingSpec

# Raise it when a lens comes to say other texts, or other vectors, of the same numbers.
VERBALISING_VERSION = 1
_BYTES_PER_DRAW = 700  # in the journal and among the candidates, beyond its text
_BYTES_PER_TOKEN = 24  # of a draw: its id, and twice what it writes
_BYTES_PER_VECTOR = 600  # where it is from, in two files
_WIDE = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfKTrial(Trial):
    """A model, a lens, a temperature and a dataset: each vector of its texts is said in words K times."""

    dataset: str
    lens: LensSpec
    positions: VectorPositions
    max_vectors: int | None
    n_draws: int  # of a vector
    encode: str  # text or tokens
    kept: str  # the numbers that vectors and reconstructions are kept in

    @property
    def slug(self) -> str:
        """The trial's folder."""
        drawn = f"t{number_label(self.temperature)}-k{self.n_draws}"
        return f"{self.model.name}-{self.lens.name}-{self.dataset}-{drawn}-{self.fingerprint[:8]}"

    @property
    def label(self) -> str:
        """The lens and the dataset."""
        return f"{self.lens.name} on {self.dataset}"

    @property
    def temperature(self) -> float:
        """At which it draws."""
        return self.temps[0]

    @property
    def layer(self) -> int:
        """The layer whose state is said in words."""
        if self.lens.layer is None:
            raise TypeError(f"lens {self.lens.name} has no layer yet; resolve the sweep first")
        return self.lens.layer

    def asks_of(self, dataset: str | None) -> bool:
        """True for its own dataset."""
        return dataset == self.dataset

    def beginning(self, condition: Condition) -> str:  # noqa: ARG002 - there is one
        """Return nothing: a text is read as it is."""
        return ""

    def turn(self, item: Item) -> str:
        """Return the text."""
        return item.question

    @property
    def turns(self) -> str:
        """The trial itself."""
        return self.fingerprint

    def messages(self, item: Item, condition: Condition) -> tuple[Message, ...]:  # noqa: ARG002 - there is one
        """Return the text, or the turns of a conversation; vectors are read from it, and nobody is asked."""
        turns = item.turns or (("user", item.question),)
        return tuple(Message(role=role, content=content) for role, content in turns)

    def draws(self, temperature: float) -> int:  # noqa: ARG002 - there is one
        """Return the draws of a text, at most: it may be too short for all its positions."""
        return self.positions.per_sequence * self.n_draws

    def n_requests(self, n_items: int, conditions: Sequence[Condition]) -> int:
        """Return the draws of some texts, at most."""
        most = Trial.n_requests(self, n_items, conditions)
        return most if self.max_vectors is None else min(most, self.max_vectors * self.n_draws)

    def n_bytes(self, n_requests: int, hidden: int | None) -> int:
        """Return what so many draws take on disk, at most; without the width of the states, but for these.

        Args:
            n_requests: draws.
            hidden: D, of the vectors; None where the model is not here yet.
        """
        n_vectors = -(-n_requests // self.n_draws)
        text = _BYTES_PER_DRAW + _BYTES_PER_TOKEN * self.lens.text_tokens
        states = (n_requests + n_vectors) * (hidden or 0) * _WIDE[self.kept]
        return n_requests * text + n_vectors * _BYTES_PER_VECTOR + states

    def requested(self) -> dict[str, Any]:
        """Return what was asked for, for the manifest and the report."""
        return {
            "model": self.model.name,
            "model_digest": self.model.sha256,
            "quantization": self.model.quantization,
            "engine": self.model.engine.value,
            "dataset": self.dataset,
            "lens": self.lens.name,
            "layer": self.layer,
            "decoder": self.lens.decoder.kind,
            "text_tokens": self.lens.text_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "seed": self.sampling.seed,
            "n_draws": self.n_draws,
            "positions": self.positions.model_dump(mode="json"),
            "max_vectors": self.max_vectors,
            "encode": self.encode,
            "kept": self.kept,
        }


def best_of_k_trials(spec: BestOfKSpec) -> Iterator[BestOfKTrial]:
    """Yield the trials of a resolved sweep: model by model, lens by lens, dataset by dataset.

    Raises:
        UsageError: a model cannot show its activations, or nothing could be drawn.
    """
    experiment = spec.experiment
    if experiment.dry_run:
        raise UsageError(
            "experiment.dry_run: there are no activations without a model; `overnight plan` says what would be done"
        )
    temperatures = experiment.sampling.temperatures
    for model, lens, dataset in product(experiment.models, experiment.lenses, experiment.datasets):
        if not (
            isinstance(model, ModelSpec) and isinstance(lens, LensSpec) and isinstance(dataset, DatasetSpec)
        ):
            raise TypeError(f"{model!r}, {lens!r} or {dataset!r} is still a name; resolve the sweep first")
        if model.engine is not EngineKind.TRANSFORMERS:
            raise UsageError(
                f"model {model.name}: engine {model.engine.value} shows no activations; name a model that "
                "transformers holds"
            )
        if not dataset.is_switched_off:
            for temperature in temperatures:
                yield _trial(model, lens, dataset, temperature, experiment)


def best_of_k_identity(experiment: BestOfKExperiment) -> dict[str, Any]:
    """Return what, beside its trials, makes two sweeps the same: what is said of their draws."""
    return {
        "k_values": sorted(experiment.k_values),
        "statistics": experiment.statistics.model_dump(mode="json"),
    }


def _trial(
    model: ModelSpec, lens: LensSpec, dataset: DatasetSpec, temperature: float, experiment: BestOfKExperiment
) -> BestOfKTrial:
    drawn = experiment.sampling
    fingerprint = digest(
        weights_identity(model)
        | {
            "version": FINGERPRINT_VERSION,
            "verbalising": VERBALISING_VERSION,
            "dataset": dataset.name,
            "datasets": datasets_identity(experiment),
            "lens": _lens_identity(lens, model),
            "positions": experiment.positions.model_dump(mode="json"),
            "max_vectors": experiment.max_vectors,
            "n_draws": experiment.n_draws,
            "sampling": drawn.model_dump(mode="json", exclude={"temperatures"})
            | {"temperature": temperature},
            "encode": experiment.encode,
            "kept": experiment.kept,
        }
    )
    return BestOfKTrial(
        model=model,
        lens=lens,
        dataset=dataset.name,
        positions=experiment.positions,
        max_vectors=experiment.max_vectors,
        n_draws=experiment.n_draws,
        encode=experiment.encode,
        kept=experiment.kept,
        temps=(temperature,),
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        max_new_tokens=MaxNewTokens(closed=lens.text_tokens, open=lens.text_tokens),
        sampling=SamplingSpec(samples_per_item=experiment.n_draws, seed=drawn.seed, logprobs=True),
        fingerprint=fingerprint,
    )


def _lens_identity(lens: LensSpec, model: ModelSpec) -> dict[str, Any]:
    """Return what makes two lenses the same: what a folder holds, or how one is fitted to a model and to what texts."""
    if lens.fit is None:
        return {"folder": lens.sha256, "text_tokens": lens.text_tokens}
    datasets = [each for each in lens.fit.datasets if isinstance(each, DatasetSpec)]
    return {"fitted": lens_identity(lens, model, datasets)}
