"""The rules that every specification keeps: frozen, no unknown keys, names that can be folders."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from overnight.ids import is_file_name


def _file_name(text: str) -> str:
    if not is_file_name(text):
        raise ValueError(
            f"found {text!r}, wanted a name that every system lets a file have; choose another one"
        )
    return text


# A name becomes part of a path, so it can hold nothing that leads out of a folder.
Name = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"), AfterValidator(_file_name)
]


def _clock_time(text: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError(f"found {text!r}, wanted a time of day like 07:00")
    return text


ClockTime = Annotated[str, AfterValidator(_clock_time)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Spec(BaseModel):
    """A frozen value that a person or a file wrote; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        validate_default=True,
        allow_inf_nan=False,
        # In a form, a field is called as it is in a file.
        field_title_generator=lambda name, _: name,
    )


def off_is_a_word(value: object) -> object:
    """Return what was meant by an unquoted ``off``, which YAML reads as false."""
    return "off" if value is False else value


def no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return values of a list, or say that one stands twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"a value stands twice in {list(values)!r}; take one out")
    return values


APART = "take one out, or give it a name that differs in more than capitals"


def are_apart(names: Iterable[str]) -> bool:
    """True where no two names are those of one file: Windows and macOS do not tell capitals from small letters."""
    folded = [name.casefold() for name in names]
    return len(set(folded)) == len(folded)
