"""Lenses: which vectors are said in words, how, and how a lens is fitted to a model."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from overnight.spec.base import Digest, Name, Spec
from overnight.spec.dataset import DatasetSpec
from overnight.spec.positions import VectorPositions


class SoftPromptDecoder(Spec):
    """A decoder that was trained: the vector becomes a few soft tokens in front of the text."""

    kind: Literal["soft_prompt"] = Field(default="soft_prompt", description="always soft_prompt")
    soft_tokens: PositiveInt = Field(default=8, le=256, description="that a vector is projected to")
    lora_rank: NonNegativeInt = Field(
        default=8, le=512, description="of low-rank changes to the attention; 0: the model stays as it is"
    )


class PatchedDecoder(Spec):
    """A decoder without training: the vector replaces the state of a placeholder in a prompt that asks for it."""

    kind: Literal["patched"] = Field(default="patched", description="always patched")
    prompt: str = Field(
        default="Syria: a country in the Middle East. Mozart: a composer of music. Python: a language. X:",
        min_length=1,
        description="that asks what its placeholder means; the chat template is not applied",
    )
    placeholder: str = Field(
        default="X", min_length=1, description="the word of the prompt whose last token is patched"
    )
    layer: NonNegativeInt = Field(default=2, description="behind which the vector is put in, from 0")

    @model_validator(mode="after")
    def _has_placeholder(self) -> Self:
        if self.placeholder not in self.prompt:
            raise ValueError(f"prompt: found no {self.placeholder!r} in it, which `placeholder` names")
        return self


class LensFit(Spec):
    """How a lens is fitted: the encoder's map in closed form, a soft prompt by gradient steps."""

    datasets: tuple[Name | DatasetSpec, ...] = Field(
        min_length=1, description="texts that it learns from; none of the sweep's"
    )
    limit_items: PositiveInt | None = Field(default=None, description="texts at most; null: all")
    positions: VectorPositions = VectorPositions(per_sequence=4)
    held_out: float = Field(
        default=0.1, gt=0, lt=0.5, description="share of the texts that it is measured on while it learns"
    )
    steps: PositiveInt = Field(default=400, description="of gradient, at most; a patched decoder has none")
    batch_size: PositiveInt = Field(default=32, description="vectors a step")
    learning_rate: PositiveFloat = Field(default=1e-3, description="of AdamW, after warming up")
    patience: PositiveInt = Field(
        default=5, description="measurements without a better loss after which it ends"
    )
    measure_every: PositiveInt = Field(default=25, description="steps between two measurements")
    ridge: NonNegativeFloat | None = Field(
        default=None, description="penalty of the encoder's map; null: the best on held-out texts"
    )
    seed: NonNegativeInt = Field(
        default=42, lt=2**31, description="of the order of texts, and of what begins random"
    )


class LensSpec(Spec):
    """A lens: fitted when it is first needed, or a folder that holds one."""

    name: Name = Field(description="short name, used in files and on the command line")
    description: str = Field(default="", description="for people")
    path: Path | None = Field(
        default=None,
        description="a folder that holds a fitted lens, or folders of such: the youngest; this or `fit`",
    )
    sha256: Digest | None = Field(
        default=None, description="of all that `path` holds; null: of what is there when a run begins"
    )
    layer: NonNegativeInt | None = Field(
        default=None, description="whose residual_out is said in words, from 0; of a fitted lens: its own"
    )
    text_tokens: PositiveInt = Field(default=16, le=4096, description="of a text, at most")
    decoder: Annotated[SoftPromptDecoder | PatchedDecoder, Field(discriminator="kind")] = Field(
        default=SoftPromptDecoder(), description="how a vector is said in words: soft_prompt or patched"
    )
    fit: LensFit | None = Field(default=None, description="how it is fitted; this or `path`")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.fit is None):
            found = "neither" if self.path is None else "both"
            raise ValueError(f"lens {self.name!r}: found {found} of path and fit, wanted one of them")
        if self.fit is not None and self.layer is None:
            raise ValueError(f"lens {self.name!r}: layer: found none, wanted the layer that it is fitted for")
        return self
