"""What a transformers host says of the sequences that it computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing came of one sequence, while others stand."""

    kind: str  # of the error: OutOfMemory, ContextOverflow, UsageError, BadResponse
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceAnswer:
    """What became of one sequence."""

    id: str
    token_ids: tuple[int, ...]  # of prompt and reply, as far as they were computed
    pieces: tuple[dict[str, str], ...]
    """What each token writes, special tokens included: ``text``, or ``hex`` where its bytes are not UTF-8 alone;
    nothing where the states of some places are wanted."""
    n_prompt: int  # tokens before the reply; 0 of a plain text
    path: Path | None  # its file; None where it failed
    error: Failure | None

    @property
    def n_tokens(self) -> int:
        """Tokens of prompt and reply."""
        return len(self.token_ids)

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return {
            "id": self.id,
            "token_ids": list(self.token_ids),
            "pieces": list(self.pieces),
            "n_prompt": self.n_prompt,
            "path": None if self.path is None else str(self.path),
            "error": None if self.error is None else {"kind": self.error.kind, "message": self.error.message},
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        path, error = row["path"], row["error"]
        return cls(
            id=str(row["id"]),
            token_ids=tuple(map(int, row["token_ids"])),
            pieces=tuple(dict(piece) for piece in row["pieces"]),
            n_prompt=int(row["n_prompt"]),
            path=None if path is None else Path(path),
            error=None if error is None else Failure(str(error["kind"]), str(error["message"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationAnswer:
    """What became of all sequences of a request, in its order."""

    sequences: tuple[SequenceAnswer, ...]
    seconds: float  # of all passes, with their files
    n_batches: int
    halvings: int  # of batches that did not fit into memory
    largest_probe_difference: float | None
    """Between a sequence in the first batch of several and the same one alone: the largest absolute difference of any
    projection or pooled state, over the largest absolute one; None where there was no such batch or neither."""

    def to_json(self) -> dict[str, Any]:
        """Return what is answered."""
        return {
            "sequences": [each.to_json() for each in self.sequences],
            "seconds": self.seconds,
            "n_batches": self.n_batches,
            "halvings": self.halvings,
            "largest_probe_difference": self.largest_probe_difference,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what was answered.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        difference = body["largest_probe_difference"]
        return cls(
            sequences=tuple(map(SequenceAnswer.from_json, body["sequences"])),
            seconds=float(body["seconds"]),
            n_batches=int(body["n_batches"]),
            halvings=int(body["halvings"]),
            largest_probe_difference=None if difference is None else float(difference),
        )
