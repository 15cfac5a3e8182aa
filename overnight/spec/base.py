"""The rules that every specification keeps: frozen, no unknown keys, names that can be folders."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from overnight.file_names import is_kept_by_windows


def _on_every_system(name: str) -> str:
    if is_kept_by_windows(name):
        raise ValueError(f"found {name!r}, which Windows keeps for itself; wanted another name")
    return name


# A name becomes part of a path, so it can hold nothing that leads out of a folder.
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"),
    AfterValidator(_on_every_system),
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

    @model_validator(mode="before")
    @classmethod
    def _as_it_stands(cls, value: Any) -> Any:
        """Refuse what pydantic would take for something else: ``yes`` for 1, an empty path for this folder."""
        for name in cls.model_fields if isinstance(value, dict) else ():
            part = value.get(name)
            if isinstance(part, bool | list | tuple):
                if _flag_in(part) and _takes_numbers_only(cls, name):
                    raise _wrong(cls, name, part, "a number; YAML reads yes, no, on and off as true or false")
            elif isinstance(part, str) and not part.strip() and _takes_path(cls, name):
                raise _wrong(cls, name, part, "a path")
        return value


def _wrong(model: type[BaseModel], field: str, value: Any, wanted: str) -> ValidationError:
    problem = InitErrorDetails(type=PydanticCustomError("otherwise_read", wanted), loc=(field,), input=value)
    return ValidationError.from_exception_data(model.__name__, [problem])


@cache
def _takes_numbers_only(model: type[BaseModel], field: str) -> bool:
    found = _types_in(model.model_fields[field].annotation)
    has_words = any(get_origin(each) is Literal for each in found)  # whose own validator says what is wanted
    return bool(found & {int, float}) and not found & {bool, Any} and not has_words


@cache
def _takes_path(model: type[BaseModel], field: str) -> bool:
    return Path in _types_in(model.model_fields[field].annotation)


def _types_in(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of; what a specification inside it holds is its own affair."""
    arguments = getattr(annotation, "__args__", ()) or ()
    return {annotation, *(found for argument in arguments for found in _types_in(argument))}


def _flag_in(value: Any) -> bool:
    """True where a value is true or false, or a list that holds one of them."""
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_flag_in, value)))


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
