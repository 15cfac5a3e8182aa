"""Command lines as people have them in their scripts: underscores, lists by comma or by space."""

from collections.abc import Sequence

LIST_OPTIONS = frozenset({"--models", "--prompt-sets", "--temps", "--top-p", "--top-k", "--datasets"})
_CONFIG_SUFFIXES = (".yaml", ".yml")


def normalised(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--limit_items`` as ``--limit-items`` and ``--temps 0 0.7`` as ``--temps 0,0.7``.

    A config file that follows a list is not taken into it. A ``--resume`` without a run means the newest one.
    """
    tokens = [_dashed(token) for token in argv]
    result: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token in LIST_OPTIONS:
            values = []
            while index < len(tokens) and _is_value(tokens[index]):
                values.append(tokens[index])
                index += 1
            result += [token, ",".join(value.strip(",") for value in values)] if values else [token]
        elif token == "--resume" and (index == len(tokens) or not _is_value(tokens[index])):
            result += [token, "newest"]
        else:
            result.append(token)
    return result


def split_list(text: str | None) -> list[str] | None:
    """Return the members of a comma list, or None where there is no list."""
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def _dashed(token: str) -> str:
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def _is_value(token: str) -> bool:
    return not token.startswith("-") and not token.endswith(_CONFIG_SUFFIXES)
