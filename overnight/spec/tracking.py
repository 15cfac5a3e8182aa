"""Where a run is shown beside its own folder; none of it is part of a result's identity."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from overnight.spec.base import Spec, off_is_a_word


class TrackingSettings(Spec):
    """How trials are handed to Weights & Biases. A key is taken from the environment alone, never from here."""

    wandb: Annotated[Literal["auto", "off", "offline", "online"], BeforeValidator(off_is_a_word)] = Field(
        default="auto",
        description="auto: where WANDB_API_KEY or WANDB_MODE is set and nothing is rehearsed; online without a key is "
        "offline: files that `wandb sync` sends later",
    )
    project: str | None = Field(
        default=None, min_length=1, description="null: WANDB_PROJECT, or else overnight"
    )
    entity: str | None = Field(
        default=None, min_length=1, description="null: WANDB_ENTITY, or else that of the key"
    )
    dir: str | None = Field(
        default=None,
        min_length=1,
        description="where wandb makes its folder, which is called wandb; null: in the folder of the run",
    )
