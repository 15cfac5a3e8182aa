"""Datasets: where the questions are, in which format, and how they are asked."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from overnight.records import AnswerRule, ItemType
from overnight.spec.base import Digest, Name, Spec
from overnight.spec.hub import KNOWN_REPOSITORIES, HubSource, dataset_of


class DatasetFormat(StrEnum):
    """How a file, or a row of the hub, holds its questions."""

    ITEMS = "items"  # our own: JSONL with id, question, answers and context
    SQUAD = "squad"
    TRIVIAQA = "triviaqa"
    TRIVIAQA_TSV = "triviaqa_tsv"
    NQ_OPEN = "nq_open"
    SVAMP = "svamp"
    TRUTHFULQA = "truthfulqa"
    CSV = "csv"
    JSONL = "jsonl"
    PROMPTS = "prompts"  # text, a prompt a line; there is no right answer to them
    TEXTS = "texts"  # paragraphs, or JSONL with a text a row; nothing is asked
    CHATS = "chats"  # JSONL, a conversation a row; nothing is asked

    @property
    def item_type(self) -> ItemType:
        """How its questions are asked where nobody says otherwise."""
        return ItemType.OPEN if self is DatasetFormat.SQUAD else ItemType.CLOSED

    @property
    def rule(self) -> AnswerRule:
        """The official rule of the dataset that the format comes from; SQuAD's where there is none."""
        return _RULES.get(self, AnswerRule.SQUAD)

    @property
    def has_golds(self) -> bool:
        """True where a reply can be right or wrong."""
        return self not in (DatasetFormat.PROMPTS, DatasetFormat.TEXTS, DatasetFormat.CHATS)

    @property
    def has_columns(self) -> bool:
        """True where the user says which column is which."""
        return bool(self.columns)

    @property
    def columns(self) -> frozenset[str]:
        """Which of ``Columns`` it has."""
        return _COLUMNS.get(self, frozenset())


_RULES = {
    DatasetFormat.TRIVIAQA: AnswerRule.TRIVIAQA,
    DatasetFormat.TRIVIAQA_TSV: AnswerRule.TRIVIAQA,
    DatasetFormat.SVAMP: AnswerRule.NUMERIC,
}
_OF_QUESTIONS = frozenset({"id", "question", "answers", "context", "wrong_answers", "separator", "delimiter"})
_COLUMNS = {
    DatasetFormat.CSV: _OF_QUESTIONS,
    DatasetFormat.JSONL: _OF_QUESTIONS,
    DatasetFormat.TEXTS: frozenset({"id", "text"}),
    DatasetFormat.CHATS: frozenset({"id", "messages"}),
}


def _delimiter(text: str) -> str:
    if text in '\r\n"':
        raise ValueError(f"found {text!r}, which CSV ends its lines or quotes its cells with; wanted another")
    return text


class Columns(Spec):
    """Which column of a CSV file, or key of a JSONL row, holds what."""

    id: str | None = Field(
        default=None, description="null: the column `id` where there is one, else an id made of the question"
    )
    question: str = Field(default="question", description="the column of the questions")
    text: str = Field(default="text", description="of format texts: the column of the texts")
    messages: str = Field(default="messages", description="of format chats: the column of the conversations")
    answers: str = Field(default="answers", description="the column of the right answers")
    context: str | None = Field(
        default=None, description="null: the column `context` where the dataset is open"
    )
    wrong_answers: str | None = Field(
        default=None, description="the column of answers that are wrong, where there is one"
    )
    separator: str | None = Field(
        default=None,
        min_length=1,
        description="between the answers of one cell; null: a cell is a JSON list or one answer",
    )
    delimiter: Annotated[str, AfterValidator(_delimiter)] = Field(
        default=",", min_length=1, max_length=1, description="between the cells of a CSV row"
    )


class DatasetSpec(Spec):
    """One set of questions: a file, or a split of a repository on the hub."""

    name: Name = Field(description="short name, used in files and on the command line")
    format: DatasetFormat = DatasetFormat.ITEMS
    type: ItemType = Field(
        default=ItemType.CLOSED,
        description="closed: from memory; open: from the passage that is given. Default: squad open, others closed",
    )
    path: Path | None = Field(default=None, description="a file; this or `hub`")
    hub: HubSource | None = Field(
        default=None, description="hf:REPO[/CONFIG][:SPLIT][@REVISION]; this or `path`"
    )
    columns: Columns | None = Field(
        default=None, description="for csv, jsonl, texts and chats; null: the default names"
    )
    rule: AnswerRule | None = Field(
        default=None,
        description="how replies are compared with the golds; null: as the format's official script",
    )
    max_items: NonNegativeInt | None = Field(
        default=None, description="a seeded sample of this many; 0 is none of it, null is all"
    )
    sha256: Digest | None = Field(
        default=None,
        description="digest of the file, or of the rows of a hub dataset; filled in when it is read",
    )
    license: str | None = Field(default=None, description="of the data")
    description: str = Field(default="", description="for people")

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, value: Any) -> Any:
        """Make a mapping of a hub address; give what follows from the source and from the format."""
        if isinstance(value, str) and value.startswith("hf:"):
            value = {"hub": value}
        if not isinstance(value, dict):
            return value
        filled = dict(value)
        hub = filled.get("hub")
        if isinstance(hub, str):
            hub = filled["hub"] = _hub_source(hub)
        repo = hub.repo if isinstance(hub, HubSource) else hub.get("repo") if isinstance(hub, dict) else None
        if isinstance(repo, str):
            filled.setdefault("name", repo.rsplit("/", 1)[-1])
            known = KNOWN_REPOSITORIES.get(dataset_of(repo))
            if known and filled.get("format") is None:
                filled["format"] = known.format
        if filled.get("type") is None:
            filled.pop("type", None)
            if filled.get("format") == DatasetFormat.SQUAD:
                filled["type"] = ItemType.OPEN
        return filled

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.hub is None):
            found = "neither" if self.path is None else "both"
            raise ValueError(f"dataset {self.name!r}: found {found} of path and hub, wanted one of them")
        if self.columns is not None and not self.format.has_columns:
            raise ValueError(
                f"dataset {self.name!r}: columns belong to format csv, jsonl, texts or chats, this is "
                f"{self.format.value}; take them out, or set the format"
            )
        if strange := self._columns_of_other_formats():
            raise ValueError(
                f"dataset {self.name!r}: columns: format {self.format.value} has no {strange[0]!r}; "
                f"it has {', '.join(sorted(self.format.columns))}"
            )
        if self.hub is not None and self.format in _FILES_ONLY:
            raise ValueError(
                f"dataset {self.name!r}: {self.hub.address} cannot be read as format {self.format.value}; "
                "set format: jsonl with columns, or the format of the dataset"
            )
        return self

    def _columns_of_other_formats(self) -> list[str]:
        """Return the columns that somebody has named and that the format does not have."""
        given, defaults = self.columns or Columns(), Columns()
        named = (name for name in Columns.model_fields if getattr(given, name) != getattr(defaults, name))
        return [name for name in named if name not in self.format.columns]

    @property
    def answer_rule(self) -> AnswerRule:
        """How replies are compared with the golds."""
        return self.rule or self.format.rule

    @property
    def source(self) -> str:
        """What stands before the place in a message: the file, or the address on the hub."""
        return self.hub.address if self.hub is not None else str(self.path)

    @property
    def is_switched_off(self) -> bool:
        """True where none of its items is wanted; it is not even read then."""
        return self.max_items == 0


def _hub_source(address: str) -> HubSource:
    try:
        return HubSource.parse(address)
    except ValueError as error:
        raise ValueError(f"hub: {error}") from None


_FILES_ONLY = (DatasetFormat.ITEMS, DatasetFormat.TRIVIAQA_TSV, DatasetFormat.CSV, DatasetFormat.PROMPTS)
