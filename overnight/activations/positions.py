"""Which tokens of a sequence are looked at."""

import re
from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

from overnight.errors import UsageError

Frame = Literal["prompt", "response", "all"]
_FORM: Final = re.compile(r"(?P<frame>[a-z]+)\[(?P<chosen>[-0-9:\s]+)\]")
_NAMED: Final = {"mean": "response[:]", "last": "all[-1]"}
_WANTED: Final = (
    "wanted response[:5], response[-1], prompt[-1], all[2:], mean (of response[:]) or last (all[-1])"
)


@dataclass(frozen=True, slots=True)
class Positions:
    """Tokens of a sequence, whose states are averaged.

    ``response[:5]`` reads as in Python: a frame, and an index or a slice of its tokens. ``prompt`` is everything before
    the reply, with what the chat template adds; ``response`` the reply; ``all`` both. A plain text has no prompt, and
    all of it is the response.
    """

    frame: Frame
    chosen: int | slice
    text: str  # as it was written

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the positions that are written so.

        Raises:
            UsageError: it is not the name of any.
        """
        written = text.strip()
        found = _FORM.fullmatch(_NAMED.get(written, written))
        frame = found["frame"] if found else None
        if found is None or frame not in get_args(Frame):
            raise UsageError(f"positions {text!r}: {_WANTED}")
        parts = found["chosen"].split(":")
        try:
            numbers = [int(part) if part.strip() else None for part in parts]
        except ValueError:
            raise UsageError(f"positions {text!r}: {_WANTED}") from None
        if len(numbers) == 1 and numbers[0] is not None:
            return cls(frame, numbers[0], written)  # type: ignore[arg-type]  # it is one of them
        step = numbers[2] if len(numbers) == 3 else None  # noqa: PLR2004 - start, stop and step
        if len(numbers) not in (2, 3) or (step is not None and step < 1):
            raise UsageError(f"positions {text!r}: {_WANTED}")
        return cls(frame, slice(*numbers), written)  # type: ignore[arg-type]

    def places(self, n_prompt: int, n_tokens: int, sequence: str = "the sequence") -> range:
        """Return the places of the chosen tokens among all tokens of a sequence, first to last.

        Args:
            n_prompt: tokens of its prompt; 0 where it is a plain text.
            n_tokens: of all of it.
            sequence: what it is called in an error.

        Raises:
            UsageError: it has no such token.
        """
        frame = {
            "prompt": range(n_prompt),
            "response": range(n_prompt, n_tokens),
            "all": range(n_tokens),
        }[self.frame]
        if isinstance(self.chosen, slice):
            chosen = frame[self.chosen]
        else:
            there = -len(frame) <= self.chosen < len(frame)
            chosen = range(frame[self.chosen], frame[self.chosen] + 1) if there else range(0)
        if not chosen:
            raise UsageError(
                f"{sequence}: no token at {self.text}, its {self.frame} has {len(frame)} tokens; "
                "choose other positions or leave it out"
            )
        return chosen

    def __str__(self) -> str:
        return self.text
