"""How an uncertainty sweep asks: everything of a prompt that is not the item."""

from enum import StrEnum

from pydantic import Field, NonNegativeInt

from overnight.spec.base import Spec


class BriefStyle(StrEnum):
    """What the instruction before a question asks for."""

    NONE = "none"  # no instruction at all
    DEFAULT = "default"  # a complete sentence
    CHAT = "chat"  # a complete sentence, as in a conversation
    SENTENCE = "sentence"  # a complete sentence that stands alone
    DETAILED = "detailed"  # a full sentence with what is needed to understand it
    SHORT = "short"  # a few words
    MANUAL = "manual"  # a few words, shown by three worked examples


class Asking(Spec):
    """How every item of a trial is asked; part of the trial's identity."""

    style: BriefStyle = Field(
        default=BriefStyle.SHORT, description="none, default, chat, sentence, detailed, short or manual"
    )
    with_context: bool = Field(
        default=True, description="show the passage of an item, and of a shot, where it has one"
    )
    shots: NonNegativeInt = Field(
        default=5, le=64, description="answered questions before the one that is asked"
    )
    shot_seed: NonNegativeInt = Field(default=10, description="another seed draws other shots")
    repeat_brief: bool = Field(
        default=False,
        description="say the instruction before every question, and not only once at the beginning",
    )
