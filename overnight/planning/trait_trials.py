"""The grid of a trait capture: models x prompt groups x lengths, and what makes a trial the same trial."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from overnight.errors import UsageError
from overnight.ids import digest, number_label, text_digest
from overnight.planning.identity import FINGERPRINT_VERSION, datasets_identity, weights_identity
from overnight.planning.trial import Trial
from overnight.prompting.messages import Message
from overnight.records import Condition, Item
from overnight.spec.dataset import DatasetSpec
from overnight.spec.model import EngineKind, ModelSpec
from overnight.spec.sampling import MaxNewTokens, SamplingSpec
from overnight.spec.trait import TraitSpec
from overnight.spec.trait_capture import Internals, TraitCaptureExperiment, TraitCaptureSpec

# Raise it when a capture comes to hold other numbers for the same states.
CAPTURE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitTrial(Trial):
    """A model, a group of prompts and the longest reply. Every prompt is answered once, then read in one pass."""

    dataset: str
    system_prompt: str | None
    internals: Internals | None  # of this group
    texts_bytes: int = 0  # of the longest text of a trait

    @property
    def slug(self) -> str:
        """The trial's folder."""
        drawn = f"t{number_label(self.temps[0])}-mx{self.max_new_tokens.closed}"
        return f"{self.model.name}-{self.dataset}-{drawn}-{self.fingerprint[:8]}"

    @property
    def label(self) -> str:
        """The group of prompts."""
        return self.dataset

    @property
    def keeps_tokens(self) -> bool:
        """Always: the reply is read again, token by token."""
        return True

    @property
    def captures(self) -> bool:
        """Always."""
        return True

    @property
    def longest_read_bytes(self) -> int:
        """Of the texts that the vectors are made of."""
        return self.texts_bytes

    def asks_of(self, dataset: str | None) -> bool:
        """True for its own group."""
        return dataset == self.dataset

    def beginning(self, condition: Condition) -> str:  # noqa: ARG002 - there is one
        """Return the system prompt, or nothing."""
        return self.system_prompt or ""

    def turn(self, item: Item) -> str:
        """Return the prompt."""
        return item.question

    @property
    def turns(self) -> str:
        """The trial itself: no other one has its items."""
        return self.fingerprint

    def messages(self, item: Item, condition: Condition) -> tuple[Message, ...]:  # noqa: ARG002 - there is one
        """Return the prompt, behind the system prompt where there is one."""
        user: Message = {"role": "user", "content": item.question}
        return ({"role": "system", "content": self.system_prompt}, user) if self.system_prompt else (user,)

    def seed_label(self, item: Item) -> str:
        """Return the prompt's text, so that a prompt of two groups gets one reply."""
        return text_digest(item.question)

    def requested(self) -> dict[str, Any]:
        """Return what was asked for, for the manifest and the report."""
        return {
            "model": self.model.name,
            "model_digest": self.model.sha256,
            "quantization": self.model.quantization,
            "engine": self.model.engine.value,
            "group": self.dataset,
            "system_prompt": self.system_prompt,
            "temps": list(self.temps),
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_new_tokens": self.max_new_tokens.model_dump(),
            "seed": self.sampling.seed,
            "internals": self.internals and self.internals.model_dump(mode="json", exclude={"datasets"}),
        }


def trait_trials(spec: TraitCaptureSpec) -> Iterator[TraitTrial]:
    """Yield the trials of a resolved capture, model by model.

    Raises:
        UsageError: a model cannot show its activations, or nothing could be captured.
    """
    experiment = spec.experiment
    if experiment.dry_run:
        raise UsageError(
            "experiment.dry_run: there are no activations without a model; `overnight plan` says what would be done"
        )
    for model, dataset, limit in product(experiment.models, experiment.datasets, experiment.max_new_tokens):
        if not isinstance(model, ModelSpec) or not isinstance(dataset, DatasetSpec):
            raise TypeError(f"{model!r} or {dataset!r} is still a name; resolve the sweep first")
        if model.engine is not EngineKind.TRANSFORMERS:
            raise UsageError(
                f"model {model.name}: engine {model.engine.value} shows no activations; name a model that "
                "transformers holds"
            )
        if not dataset.is_switched_off:
            yield _trial(model, dataset, limit, experiment)


def trait_capture_identity(experiment: TraitCaptureExperiment) -> dict[str, Any]:
    """Return what, beside its trials, makes two captures the same: what is read, and what it is projected on."""
    return {"capture": _capture_identity(experiment)}


def _capture_identity(experiment: TraitCaptureExperiment) -> dict[str, Any]:
    return {
        "version": CAPTURE_VERSION,
        "traits": {
            trait.name: [trait.sha256, trait.is_paired]
            for trait in experiment.traits
            if isinstance(trait, TraitSpec)
        },
        "vectors": experiment.vectors.model_dump(mode="json"),
        "sublayers": experiment.sublayers,
        "layers": experiment.layers,
        "attention_summary": experiment.attention_summary,
        "raw": experiment.raw and experiment.raw.model_dump(mode="json"),
        "internals": experiment.internals and experiment.internals.model_dump(mode="json"),
    }


def _texts_bytes(experiment: TraitCaptureExperiment) -> int:
    """Return the bytes of the longest text of a trait, with the room for a reply to an instruction."""
    written = 2 * experiment.vectors.replies.max_new_tokens  # a token is taken to be two bytes
    longest = [each.longest_bytes or 0 for each in experiment.traits if isinstance(each, TraitSpec)]
    return max(longest, default=0) + written


def _trial(
    model: ModelSpec, dataset: DatasetSpec, limit: int, experiment: TraitCaptureExperiment
) -> TraitTrial:
    drawn, inside = experiment.sampling, experiment.internals
    internals = inside if inside and dataset.name in inside.datasets else None
    fingerprint = digest(
        weights_identity(model)
        | {
            "version": FINGERPRINT_VERSION,
            "dataset": dataset.name,
            "system_prompt": experiment.system_prompt,
            "sampling": drawn.model_dump(mode="json"),
            "max_new_tokens": limit,
            "datasets": datasets_identity(experiment),
            "capture": _capture_identity(experiment),
        }
    )
    return TraitTrial(
        model=model,
        dataset=dataset.name,
        system_prompt=experiment.system_prompt,
        internals=internals,
        texts_bytes=_texts_bytes(experiment),
        temps=(drawn.temperature,),
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        max_new_tokens=MaxNewTokens(closed=limit, open=limit),
        sampling=SamplingSpec(samples_per_item=1, seed=drawn.seed, logprobs=True),
        fingerprint=fingerprint,
    )
