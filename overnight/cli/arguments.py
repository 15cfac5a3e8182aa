"""Command lines as people have them in their scripts: underscores, lists by comma or by space."""

from collections.abc import Sequence

LIST_OPTIONS = frozenset({"--models", "--prompt-sets", "--temps", "--top-p", "--top-k", "--datasets"})
_CONFIG_SUFFIXES = (".yaml", ".yml")


def normalised(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--limit_items`` as ``--limit-items`` and ``--temps 0 0.7`` as ``--temps 0,0.7``.

    A config file that follows a list is not taken into it. A ``--resume`` without a run means the newest one.
    """
    words = [_dashed(word) for word in argv]
    result: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word in LIST_OPTIONS:
            values = []
            while index < len(words) and _is_value(words[index]):
                values.append(words[index])
                index += 1
            result += [word, ",".join(value.strip(",") for value in values)] if values else [word]
        elif word == "--resume" and (index == len(words) or not _is_value(words[index])):
            result += [word, "newest"]
        else:
            result.append(word)
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
