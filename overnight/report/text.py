"""Text that a model or a person wrote, made safe to show: every character visible, none with a meaning."""

import re

CELL_CHARS = 300

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and newline
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # marks that turn or hide what is around them
    "\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff"
    "\U000e0000-\U000e007f"
    "]"
)
_LAST_LATIN_1, _LAST_OF_PLANE_0 = 0xFF, 0xFFFF
_RETURN = "\u21b5"

# What can begin or end something in GitHub's Markdown when it stands inside a line. Parentheses and
# exclamation marks mean something only next to a bracket; an underscore between letters means itself.
_SYNTAX = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: str) -> str:
    r"""Return a text in which every character can be seen, and which UTF-8 can hold.

    Control characters, lone surrogates, and characters that reorder or hide their neighbours become escapes
    such as ``\x1b`` and ``\ud800``; few fonts have the pictures of U+2400. Tabs and newlines stay.
    """
    return _HIDDEN.sub(lambda match: _escape(ord(match[0])), text)


def cell(text: str, *, limit: int = CELL_CHARS, n_chars: int | None = None) -> str:
    """Return a text as one line of Markdown that renders as that text and as nothing else.

    Args:
        text: any text; no HTML, link, image, code span or table border in it survives as such.
        limit: the longest text, in characters, that is shown whole.
        n_chars: the length of the whole text, where ``text`` is its beginning only.
    """
    n_all = len(text) if n_chars is None else n_chars
    shown = visible(text[:limit]).replace("\t", " ").replace("\n", f" {_RETURN} ")
    escaped = _SYNTAX.sub(lambda match: "\\" + match[0], shown)
    for character, entity in _ENTITIES.items():
        escaped = escaped.replace(character, entity)
    rest = f" \u2026 ({n_all:,} characters in all)" if n_all > min(limit, len(text)) else ""
    return escaped.strip() + rest


def _escape(code: int) -> str:
    if code <= _LAST_LATIN_1:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_OF_PLANE_0 else f"\\U{code:08x}"
