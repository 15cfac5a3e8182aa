"""YAML as people write it, with nothing in it that is read as something else than it looks."""

import re
from typing import Any, Final

import yaml

from overnight.errors import UsageError
from overnight.texts import unwritable

_LARGEST_INTEGER = 2**63  # what tables and servers can hold; larger ones are typing errors
_MOST_VALUES = 100_000  # of one file, with what aliases repeat
_PLAIN_TAGS: Final = frozenset(
    {None, *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))}
)
# A whole number as it looks: 10:30 is a time of day and not 630, 017 is 17 and not 15.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class _PlainLoader(yaml.SafeLoader):
    """YAML of plain values in which a repeated key is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *base`, whose keys may be overridden
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _problem(f"key {key!r} is not a text; put it in quotes", key_node)
            if key in seen:
                raise _problem(f"key {key!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        if abs(value) >= _LARGEST_INTEGER:
            raise _problem(f"a number of {len(str(node.value))} digits is too large", node)
        return value


def _problem(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


# Dates, sets, pairs and bytes are no values of ours: what looks like a date is the text that stands there.
_PlainLoader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in _PLAIN_TAGS
}
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
_OTHERWISE_READ = ("timestamp", "int", "float")
_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in found
        if tag.removeprefix("tag:yaml.org,2002:") not in _OTHERWISE_READ
    ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"(?:{_FLOAT.pattern})$"), list("-+0123456789.")
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(f"(?:{_INTEGER.pattern})$"), list("-+0123456789")
)


def parse_yaml(text: str, source: str) -> Any:
    """Return the value that a YAML text is: null, true and false, numbers, texts, lists and mappings of texts.

    What only looks like a date or like a time of day is a text, and so is a number that begins with 0.

    Args:
        text: the YAML.
        source: what stands before a message: the file, or the option.

    Raises:
        UsageError: it is not YAML, holds another type or a key twice, an alias that holds itself, more values than a
            person writes, or a text that no file can hold.
    """
    try:
        # A subclass of SafeLoader: it builds plain values only.
        value = yaml.load(text, Loader=_PlainLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{source}{where}: {error.problem or 'not valid YAML'}; correct the YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a tag that promises another value than there is, such as !!int x.
        raise UsageError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from None
    _require_finite(value, source)
    return value


def require_writable_texts(value: Any, source: str, place: str = "") -> None:
    """Refuse texts that no file and no path can hold.

    Raises:
        UsageError: it names the key.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            require_writable_texts(key, source, place)
            require_writable_texts(part, source, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            require_writable_texts(part, source, f"{place}.{number}")
    elif isinstance(value, str) and (strange := unwritable(value)):
        shown = place.encode("ascii", "backslashreplace").decode() or "(top level)"
        raise UsageError(f"{source}: {shown}: the text holds {strange}, which no file can hold; take it out")


def _require_finite(value: Any, source: str) -> None:
    """Refuse aliases that hold themselves, or that come to more values than there is memory for."""
    _count(value, {}, source)


def _count(value: Any, known: dict[int, int | None], source: str) -> int:
    """Return how many values there are in one, each alias written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in known:
        counted = known[id(value)]
        if counted is None:
            raise UsageError(f"{source}: an alias stands inside of what it repeats; write the value out")
        return counted
    known[id(value)] = None  # under way
    parts = value.values() if isinstance(value, dict) else value
    counted = 1 + sum(_count(part, known, source) for part in parts)
    if counted > _MOST_VALUES:
        raise UsageError(
            f"{source}: {counted} values, aliases written out; {_MOST_VALUES} are the most there can be"
        )
    known[id(value)] = counted
    return counted
