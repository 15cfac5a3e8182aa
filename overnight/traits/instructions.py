"""A trait shown by instructions: each asks for the trait or for its opposite, before the same questions."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field, StringConstraints

from overnight.errors import UsageError
from overnight.ids import digest
from overnight.spec.base import Spec, no_repeats
from overnight.spec.reading import read_mapping, validate

_QUESTION, _ANSWER = "{question}", "{answer}"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Polarity(StrEnum):
    """Which side of a trait."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class InstructionPair(Spec):
    """Two instructions that differ in the trait that they ask for."""

    # Both names are read: files that other tools made say pos and neg.
    model_config = ConfigDict(populate_by_name=True)

    positive: Text = Field(validation_alias=AliasChoices("positive", "pos"))
    negative: Text = Field(validation_alias=AliasChoices("negative", "neg"))

    def of(self, polarity: Polarity) -> str:
        """Return the instruction of one side."""
        return self.positive if polarity is Polarity.POSITIVE else self.negative


def _asks_for_answer(text: str) -> str:
    if _ANSWER not in text:
        raise ValueError(f"{_ANSWER} is not in it; the judge has to be shown what it scores")
    return text


class _InstructionFile(Spec):
    model_config = ConfigDict(populate_by_name=True)

    instructions: Annotated[tuple[InstructionPair, ...], AfterValidator(no_repeats)] = Field(
        min_length=1, validation_alias=AliasChoices("instructions", "instruction")
    )
    questions: Annotated[tuple[Text, ...], AfterValidator(no_repeats)] = Field(min_length=1)
    eval_prompt: Annotated[Text, AfterValidator(_asks_for_answer)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructedPrompt:
    """One question under one instruction; the same two indices on the other side are its fellow."""

    instruction_index: int  # 0-based
    question_index: int  # 0-based
    system: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionSet:
    """Instructions for and against a trait, and what is asked under them."""

    name: str
    instructions: tuple[InstructionPair, ...]
    questions: tuple[str, ...]
    eval_prompt: str | None  # for a judge, with {question} and {answer} in it; None: nothing is judged
    digest: str

    def prompts(self, polarity: Polarity) -> tuple[InstructedPrompt, ...]:
        """Return every question under every instruction of one side, all questions of the first one in front."""
        return tuple(
            InstructedPrompt(
                instruction_index=row,
                question_index=column,
                system=pair.of(polarity),
                question=question,
            )
            for row, pair in enumerate(self.instructions)
            for column, question in enumerate(self.questions)
        )

    def judge_prompt(self, question: str, answer: str) -> str:
        """Return what a judge is asked of an answer; braces in either text mean themselves.

        Raises:
            UsageError: the set has no ``eval_prompt``.
        """
        if self.eval_prompt is None:
            raise UsageError(
                f"instruction set {self.name!r} has no eval_prompt; add one to have replies judged"
            )
        # One pass from the left: a question that holds "{answer}" is not filled in.
        parts = self.eval_prompt.split(_ANSWER)
        return answer.join(part.replace(_QUESTION, question) for part in parts)


def read_instruction_set(path: Path) -> InstructionSet:
    """Read ``instructions``, ``questions`` and ``eval_prompt`` from a YAML or JSON file.

    ``instruction`` with ``pos`` and ``neg`` is read as well. The file's stem is the trait's name.

    Raises:
        UsageError: the file is missing or neither, a key is unknown, missing or empty, an instruction or a question
            stands twice, or an instruction is the same on both sides.
    """
    value = read_mapping(path, "instructions and questions of a trait", expand=False)
    read = validate(_InstructionFile, value, path)
    for number, pair in enumerate(read.instructions):
        if pair.positive == pair.negative:
            raise UsageError(
                f"{path}: instructions.{number}: the same text on both sides; they must differ in the trait"
            )
    identity = read.model_dump(mode="json")
    return InstructionSet(
        name=path.stem,
        instructions=read.instructions,
        questions=read.questions,
        eval_prompt=read.eval_prompt,
        digest=digest(identity),
    )
