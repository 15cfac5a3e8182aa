"""Reading YAML into a specification, and saying in one line what is wrong with it."""

import difflib
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from overnight.credentials import require_no_secret
from overnight.errors import UsageError
from overnight.spec.yaml_values import parse_yaml, require_writable_texts

M = TypeVar("M", bound=BaseModel)

# Texts that a model will read; a `$` or `~` in them means itself.
_VERBATIM_KEYS = frozenset({"stop", "description"})
_SHOWN_OF_MESSAGE = 300  # characters of either end


def read_text(path: Path, what: str) -> str:
    """Return a text file's content.

    Raises:
        UsageError: it is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; {what} was wanted there") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {what} was wanted there") from None


def read_mapping(path: Path, what: str, *, expand: bool = True) -> dict[str, Any]:
    """Return the mapping in a YAML file, with environment variables and ``~`` expanded in its strings.

    Raises:
        UsageError: the file is missing, not YAML, not a mapping, or asks for a secret.
    """
    text = read_text(path, what)
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise UsageError(f"{path}: found {found} at the top, wanted a mapping of keys ({what})")
    try:
        value = _expanded(value) if expand else value
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    require_writable_texts(value, str(path))
    return value


def expanded_text(text: str) -> str:
    """Return a text with its environment variables and a leading ``~`` replaced.

    Raises:
        UsageError: one of the variables is a secret.
    """
    require_no_secret(text)
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 - not only paths


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return expanded_text(value)
    if isinstance(value, list):
        return [_expanded(part) for part in value]
    if isinstance(value, dict):
        # An inline prompt set holds the prompts themselves, not the names of files.
        verbatim = _VERBATIM_KEYS | ({"control", "treatment"} if "control" in value else set())
        return {key: part if key in verbatim else _expanded(part) for key, part in value.items()}
    return value


def validate(model: type[M], value: dict[str, Any], path: Path | str) -> M:
    """Return ``value`` as a ``model``.

    Raises:
        UsageError: one line with the file, the first wrong key, what was found and what was wanted.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error, model)}") from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of a validation error in words, and how many more there are."""
    problems = error.errors(include_url=False)
    problems.sort(key=_rank)
    first = problems[0]
    location = _location(first)
    key = ".".join(str(part) for part in location) if location else "(top level)"
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        text = f"unknown key {key!r}; {hint}"
    elif first["type"] == "missing":
        text = f"{key}: missing; add it"
    elif first["type"] == "value_error":
        text = f"{key}: {first['ctx']['error']}"
    else:
        wanted = first["msg"].removeprefix("Input should be ")
        text = f"{key}: found {_short(first['input'])}, wanted {wanted[0].lower()}{wanted[1:]}"
    places = {tuple(_location(problem)) for problem in problems}
    text = _without_middle(text)
    # What is wrong inside a value makes the value wrong, which is no problem of its own.
    more = sum(not any(other[: len(place)] == place != other for other in places) for place in places) - 1
    return text + (f" (and {more} more)" if more else "")


def _rank(problem: ErrorDetails) -> int:
    """Return how little a problem says: an unknown key is often the cause of what else is missing.

    Where a name or a whole specification may stand, the branch that was not meant has the least to say.
    """
    if problem["type"] == "string_type" and isinstance(problem["input"], dict):
        return 3
    return {"extra_forbidden": 0, "string_pattern_mismatch": 2, "model_type": 3, "too_short": 3}.get(
        problem["type"], 1
    )


def _short(value: Any, limit: int = 60) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[:limit]}..."


def _without_middle(text: str) -> str:
    """Return a message that may repeat what was found; of a long one the beginning and the end."""
    if len(text) <= 2 * _SHOWN_OF_MESSAGE:
        return text
    return f"{text[:_SHOWN_OF_MESSAGE]} ... {text[-_SHOWN_OF_MESSAGE:]}"


def _location(problem: ErrorDetails) -> list[int | str]:
    """Return where in the file a problem is; an unknown key is a part of the file, whatever it looks like."""
    is_unknown_key = problem["type"] == "extra_forbidden"
    last = len(problem["loc"]) - 1
    return [
        part
        for place, part in enumerate(problem["loc"])
        if not _is_union_branch(part) or (is_unknown_key and place == last)
    ]


def _is_union_branch(part: int | str) -> bool:
    """True for the labels that pydantic adds for the members of a union, which no file contains."""
    return isinstance(part, str) and (part[:1].isupper() or part.startswith(("constrained-", "function-")))


def _known_keys(model: type[BaseModel], location: list[int | str]) -> list[str]:
    """Return the keys that the model allows at a place inside it; all of them where it cannot be told."""
    current: set[type[BaseModel]] = {model}
    for part in location:
        if isinstance(part, int):
            continue
        current = {
            inner
            for outer in current
            if part in outer.model_fields
            for inner in _models_in(outer.model_fields[part].annotation)
        }
    return sorted({key for found in current for key in found.model_fields})


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {inner for argument in getattr(annotation, "__args__", ()) or () for inner in _models_in(argument)}
