"""What a transformers host is asked to compute of some sequences."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from overnight.activations.points import Point, labels
from overnight.activations.positions import Positions
from overnight.errors import UsageError
from overnight.prompting.messages import Message

RawDtype = Literal["float32", "bfloat16", "float16"]
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a file, on any system
_LONGEST_NAME: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceInput:
    """One sequence of tokens: a prompt with the reply that it got, a conversation, or a plain text.

    Raises:
        UsageError: it has both or neither, what is not to be answered has a reply, or its name is none for a file.
    """

    id: str
    messages: tuple[Message, ...] | None = None
    text: str | None = None
    reply_ids: tuple[int, ...] = ()  # of the tokens that the model answered with; not those of the prompt
    is_whole: bool = (
        False  # the messages are a conversation: nothing is put behind them that asks for a reply
    )
    places: tuple[int, ...] = ()  # of the tokens whose states are wanted as they are

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.id) or len(self.id) > _LONGEST_NAME:
            raise UsageError(
                f"sequence {self.id!r}: a file is named after it; wanted up to {_LONGEST_NAME} letters, digits, "
                "dots, dashes and underscores"
            )
        if (self.messages is None) == (self.text is None):
            raise UsageError(f"sequence {self.id}: wanted either messages or a text")
        if self.text is not None and self.reply_ids:
            raise UsageError(f"sequence {self.id}: a plain text has no reply; write the prompt as messages")
        if self.is_whole and (self.messages is None or self.reply_ids):
            raise UsageError(f"sequence {self.id}: a conversation that is whole has messages and no reply")
        if any(place < 0 for place in self.places):
            raise UsageError(f"sequence {self.id}: place {min(self.places)}: wanted 0 or more")

    def to_json(self) -> dict[str, Any]:
        """Return what is posted."""
        return {
            "id": self.id,
            "messages": None if self.messages is None else list(self.messages),
            "text": self.text,
            "reply_ids": list(self.reply_ids),
            "is_whole": self.is_whole,
            "places": list(self.places),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Return what was posted.

        Raises:
            UsageError: it contradicts itself.
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            id=str(row["id"]),
            messages=None if row["messages"] is None else tuple(row["messages"]),
            text=row["text"],
            reply_ids=tuple(map(int, row["reply_ids"])),
            is_whole=bool(row["is_whole"]),
            places=tuple(map(int, row["places"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRequest:
    """What is wanted of all sequences; each becomes a file ``<out>/<id>.safetensors``.

    Raises:
        UsageError: it contradicts itself.
    """

    sequences: tuple[SequenceInput, ...]
    out: Path  # a folder that the host can write to
    directions: Path | None = None  # a safetensors file, whose ``points`` are ``projected``
    projected: tuple[Point, ...] = ()  # on the directions, at every token
    pooled: tuple[Point, ...] = ()  # averaged over ``positions``
    positions: Positions | None = None
    placed: tuple[Point, ...] = ()  # states as they are, float32, at the places of each sequence; alone
    raw: tuple[Point, ...] = ()  # states as they are, at every token
    raw_dtype: RawDtype = "bfloat16"
    internals: tuple[Point, ...] = ()  # the same, of whatever width
    internals_of: int | None = None  # a block of which everything is wanted that it has, beside these
    attention_layer: int | None = None  # whose weights are wanted, of each head
    attention_summary: bool = False  # of every layer
    batch_tokens: int | None = (
        None  # most tokens of a batch, padding counted; None: as many as of completions
    )

    def __post_init__(self) -> None:
        doubled = [name for name, times in Counter(each.id for each in self.sequences).items() if times > 1]
        if doubled:
            raise UsageError(f"sequence {doubled[0]}: named twice; one file would replace the other")
        if (self.directions is None) == bool(self.projected):
            raise UsageError(
                "directions and the points that are projected on them come together, or not at all"
            )
        if (self.positions is None) == bool(self.pooled):
            raise UsageError(
                "positions and the points that are averaged over them come together, or not at all"
            )
        self._require_places()
        for name in ("projected", "pooled", "placed", "raw", "internals"):
            again = [point.label for point, times in Counter(getattr(self, name)).items() if times > 1]
            if again:
                raise UsageError(f"{name}: {again[0]} is named twice")
        if self.raw_dtype not in get_args(RawDtype):
            raise UsageError(f"raw_dtype: {self.raw_dtype!r}; wanted one of {', '.join(get_args(RawDtype))}")

    @property
    def points(self) -> tuple[Point, ...]:
        """All points that are looked at, in the order in which a model comes to them, each once."""
        return tuple(sorted({*self.projected, *self.pooled, *self.placed, *self.raw, *self.internals}))

    def _require_places(self) -> None:
        without = [each.id for each in self.sequences if bool(each.places) != bool(self.placed)]
        if without:
            raise UsageError(
                f"sequence {without[0]}: places and the points that are wanted at them come together, or not at all"
            )
        is_more = self.projected or self.pooled or self.raw or self.internals or self.attention_summary
        if self.placed and (is_more or self.internals_of is not None or self.attention_layer is not None):
            raise UsageError(
                "placed: nothing behind the last place is computed; ask for other things by themselves"
            )

    def path_of(self, sequence_id: str) -> Path:
        """Return the file of a sequence."""
        return self.out / f"{sequence_id}.safetensors"

    def to_json(self) -> dict[str, Any]:
        """Return what is posted."""
        return {
            "sequences": [each.to_json() for each in self.sequences],
            "out": str(self.out.resolve()),
            "directions": None if self.directions is None else str(self.directions.resolve()),
            "projected": labels(self.projected),
            "pooled": labels(self.pooled),
            "positions": None if self.positions is None else str(self.positions),
            "placed": labels(self.placed),
            "raw": labels(self.raw),
            "raw_dtype": self.raw_dtype,
            "internals": labels(self.internals),
            "internals_of": self.internals_of,
            "attention_layer": self.attention_layer,
            "attention_summary": self.attention_summary,
            "batch_tokens": self.batch_tokens,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was posted.

        Raises:
            UsageError: it contradicts itself.
            KeyError, TypeError, ValueError: it is something else.
        """
        layer, tokens = body["attention_layer"], body["batch_tokens"]
        block = body["internals_of"]
        return cls(
            sequences=tuple(map(SequenceInput.from_json, body["sequences"])),
            out=Path(body["out"]),
            directions=None if body["directions"] is None else Path(body["directions"]),
            projected=_points(body["projected"]),
            pooled=_points(body["pooled"]),
            positions=None if body["positions"] is None else Positions.parse(body["positions"]),
            placed=_points(body["placed"]),
            raw=_points(body["raw"]),
            raw_dtype=body["raw_dtype"],
            internals=_points(body["internals"]),
            internals_of=None if block is None else int(block),
            attention_layer=None if layer is None else int(layer),
            attention_summary=bool(body["attention_summary"]),
            batch_tokens=None if tokens is None else int(tokens),
        )


def _points(values: list[str]) -> tuple[Point, ...]:
    return tuple(map(Point.parse, values))
