"""Prompt sets: a control and a treatment system prompt under one name."""

from pydantic import Field

from overnight.ids import text_digest
from overnight.records import Condition
from overnight.spec.base import Name, Spec


class PromptSet(Spec):
    """The two system prompts of a comparison, as text."""

    name: Name = Field(description="short name, used in trial folders and on the command line")
    description: str = Field(default="", description="what is expected of the treatment")
    control: str = Field(description="system prompt of the control arm")
    treatment: str = Field(description="system prompt of the treatment arm")
    matches_length_of: Name | None = Field(
        default=None,
        description="the prompt set whose treatment this one's is as long as; checked by audit-prompts",
    )

    def text(self, condition: Condition) -> str:
        """Return the system prompt of one arm."""
        return self.control if condition is Condition.CONTROL else self.treatment

    def identity(self) -> dict[str, str]:
        """Return what makes two prompt sets the same: their texts, not their names."""
        return {"control": text_digest(self.control), "treatment": text_digest(self.treatment)}
