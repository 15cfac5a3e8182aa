"""Settings of the transformers engine: how a model is held and asked, never what it answers with."""

from typing import Literal

from pydantic import Field, PositiveInt

from overnight.spec.base import Spec


class TransformersSettings(Spec):
    """How the transformers engine works; how its weights are held is a fact of the model (``ModelSpec``)."""

    batch_tokens: PositiveInt | None = Field(
        default=None,
        description="most tokens of one batch: its rows times the longest prompt and answer in it; "
        "null: what half of the free memory holds",
    )
    device: Literal["cuda", "mps", "cpu"] | None = Field(
        default=None, description="null: a GPU where there is one; weights are never spread over two devices"
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(
        default=None, description="the implementation of attention; null: sdpa where the model has it"
    )
