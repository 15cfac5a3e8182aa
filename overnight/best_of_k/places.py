"""What a transformers host is asked of texts before their states are: which tokens are taken, and what stands there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from overnight.activations.request import SequenceInput
from overnight.spec.positions import VectorPositions


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesRequest:
    """Texts and conversations, named by the digests of what they say, and the rule by which tokens are chosen."""

    sequences: tuple[SequenceInput, ...]
    rule: VectorPositions

    def to_json(self) -> dict[str, Any]:
        """Return what is posted."""
        return {
            "sequences": [each.to_json() for each in self.sequences],
            "rule": self.rule.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was posted.

        Raises:
            UsageError: a sequence contradicts itself.
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            sequences=tuple(map(SequenceInput.from_json, body["sequences"])),
            rule=VectorPositions.model_validate(body["rule"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPlace:
    """A token in its text."""

    position: int  # among the tokens of its text, from 0
    token: str  # what it writes
    before: str  # the end of what stands before it
    after: str  # the beginning of what follows it
    role: str | None  # user, assistant, system, special; None where the text is no conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlaces:
    """The tokens that are taken of a text."""

    id: str
    n_tokens: int
    places: tuple[TokenPlace, ...]
    why: str | None  # nothing is taken of it; None where something is


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesAnswer:
    """The tokens that are taken of each text, in the order of the request."""

    texts: tuple[TextPlaces, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            texts=tuple(
                TextPlaces(**{**row, "places": tuple(TokenPlace(**place) for place in row["places"])})
                for row in body["texts"]
            )
        )
