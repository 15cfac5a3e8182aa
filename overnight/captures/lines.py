"""``captures.jsonl``: a line a prompt, with where its states are or why there are none."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from overnight.errors import StoreError
from overnight.file_names import RelativePath

AGAIN: Final = (
    "take the trial's captures.jsonl away and go on with the run (`overnight resume`) to write it again"
)


class CaptureLine(BaseModel):
    """One prompt of a trial; it has a path, or it failed and says why.

    A key that this version does not know is no fault: later versions may say more of a prompt.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    prompt_id: str
    group: str
    prompt: str
    reply: str | None = None
    digest: str | None = None  # of the sequence
    path: RelativePath | None = None  # of the file of the sequence, in the folder of the run
    n_prompt: int | None = None  # tokens before the reply
    n_tokens: int | None = None  # prompt and reply
    pieces: list[dict[str, Any]] | None = None  # [n_tokens], each with ``text`` or ``hex``
    finish_reason: str | None = None
    error: str | None = None

    @field_validator("error", mode="before")
    @classmethod
    def _error_in_words(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return ": ".join(str(value[key]) for key in ("kind", "message") if value.get(key))
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> "CaptureLine":
        if (self.path is None) == (self.error is None):
            raise ValueError("wanted a path, or an error and no path")
        if self.path is None:
            return self
        if self.reply is None or self.n_prompt is None or self.n_tokens is None or self.pieces is None:
            raise ValueError("a prompt with a path has reply, n_prompt, n_tokens and pieces")
        if not 0 <= self.n_prompt <= self.n_tokens or len(self.pieces) != self.n_tokens:
            raise ValueError(
                f"n_prompt {self.n_prompt}, n_tokens {self.n_tokens}, {len(self.pieces)} pieces do not go together"
            )
        for place, piece in enumerate(self.pieces):
            if not is_piece(piece):
                raise ValueError(f"piece {place} is {piece!r}, wanted a text, or bytes in hex")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens as texts, as `piece_text` returns them."""
        return tuple(piece_text(piece) for piece in self.pieces or ())


def is_piece(piece: Mapping[str, Any]) -> bool:
    """Return whether a piece has a text, or bytes in hex, and not both."""
    if isinstance(piece.get("text"), str):
        return "hex" not in piece
    try:
        bytes.fromhex(piece.get("hex", ""))
    except (TypeError, ValueError):
        return False
    return isinstance(piece.get("hex"), str) and "text" not in piece


def piece_text(piece: Mapping[str, Any]) -> str:
    r"""Return a token as a text that UTF-8 can hold; bytes that are no text by themselves become ``\xNN``."""
    if "hex" in piece:
        return bytes.fromhex(piece["hex"]).decode("utf-8", "backslashreplace")
    return str(piece["text"]).encode("utf-8", "backslashreplace").decode("utf-8")


def read_lines(path: Path) -> Iterator[CaptureLine]:
    """Yield the prompts of a ``captures.jsonl`` in their order.

    Raises:
        StoreError: the file is missing, a line is cut or is none of a capture, or an id stands twice.
    """
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                line = _line(text, f"{path}:{number}")
                if line.prompt_id in seen:
                    raise StoreError(f"{path}:{number}: prompt {line.prompt_id!r} stands twice; {AGAIN}")
                seen.add(line.prompt_id)
                yield line
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; capture the trial first") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 ({error}); {AGAIN}") from None


def _line(text: str, where: str) -> CaptureLine:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(f"{where}: not JSON ({error}), the line is cut or was edited; {AGAIN}") from None
    try:
        return CaptureLine.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"{where}: {f'{key}: ' if key else ''}{problem['msg']}; {AGAIN}") from None
