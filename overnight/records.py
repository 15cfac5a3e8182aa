"""The values that travel between stages: items in, generations out, predictions and scores read from them."""

from dataclasses import dataclass
from enum import StrEnum

from overnight.ids import item_key


class ItemType(StrEnum):
    """How a question is asked."""

    CLOSED = "closed"  # from memory
    OPEN = "open"  # from a passage that is given


class Condition(StrEnum):
    """The two sides of a paired comparison of system prompts."""

    CONTROL = "control"
    TREATMENT = "treatment"


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"  # the model ended it, or a stop string did
    LENGTH = "length"  # cut off at max_new_tokens
    ERROR = "error"  # there is no completion; the row says why


class ReplyKind(StrEnum):
    """What a reply is, before it is compared with any gold answer."""

    ANSWER = "answer"
    ABSTENTION = "abstention"
    EMPTY = "empty"  # neither an answer nor an abstention


class AnswerRule(StrEnum):
    """How a reply is compared with the gold answers: the official rule of the dataset it comes from."""

    SQUAD = "squad"  # also NQ-Open: right where it equals any of the golds
    TRIVIAQA = "triviaqa"  # TriviaQA's own normaliser over its aliases
    NUMERIC = "numeric"  # the number that the reply ends on


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question with its gold answers.

    Empty ``answers`` mean that the passage does not answer the question.
    """

    dataset: str
    item_id: str
    type: ItemType
    question: str
    answers: tuple[str, ...]
    context: str | None = None
    rule: AnswerRule = AnswerRule.SQUAD
    wrong_answers: tuple[str, ...] = ()  # known falsehoods, where the dataset has them (TruthfulQA)
    turns: tuple[tuple[str, str], ...] = ()  # role and text of each turn, where it is a conversation

    @property
    def key(self) -> str:
        """``dataset|item_id``: unique over all datasets of a run."""
        return item_key(self.dataset, self.item_id)

    @property
    def is_unanswerable(self) -> bool:
        """True where the right reply is to abstain."""
        return not self.answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One column of a paired comparison inside a trial."""

    condition: Condition
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What we read out of one generation; a row of ``predictions.csv``."""

    custom_id: str
    item: Item
    arm: Arm
    sample_index: int  # 0-based index among the draws of this item and arm
    text: str
    finish_reason: FinishReason | None = None  # None: whoever wrote the table did not say
    mean_logprob: float | None = None  # nats, over the generated tokens; None where the engine gave none


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one prediction compares with its item; a metric that is not defined for the item is None."""

    exact_match: float | None
    f1: float | None
    is_abstention: bool
    is_empty: bool
    false_answer: float | None  # unanswerable items only: 1 where an answer was given all the same
    unsupported: (
        float | None
    )  # open-book replies that claim something: 1 where the passage does not bear it out
    # As the official SQuAD 2.0 evaluator counts; open items under the SQuAD rule only.
    squad_exact: float | None = None
    squad_f1: float | None = None
    rouge_l: float | None = None  # F-measure in [0, 1]; only where it was asked for
    rouge_accuracy: float | None = None  # 1 where the reply is closer to a right answer than to any wrong one
