"""What every page has in common: its templates, one style, our scripts by their digests, and how a value is shown."""

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from overnight.report.text import visible

_TEMPLATES = Path(__file__).parent / "templates"
_MEANT_ELSEWHERE: Final = "<>&\u2028\u2029"  # in HTML, and as ends of lines in scripts


def page_environment() -> Environment:
    """Return the templates; every value that is put into one is escaped and made visible."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def ours(*names: str) -> Markup:
    """Return styles or a script of this project, one after another; they are not escaped."""
    return Markup("\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names))  # noqa: S704


def script_digest(script: str) -> str:
    """Return what a page's policy names a script by: its sha256 in base 64."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def json_script(value: Any) -> Markup:
    """Return JSON without a character that means something in HTML or ends a line; its escapes mean the same."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in _MEANT_ELSEWHERE:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing in it can begin a tag or an entity


def _shown(value: object) -> str:
    """Return what is printed for a value: nothing for None, a text with every character visible.

    Raises:
        ValueError: a number is not finite; no report shows one.
    """
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a report was to show {value}; a number that is not known is None")
    return visible(str(value))
