"""Valid values with something wrong in them: where most readers break, and noise seldom gets to."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 10**30, -(10**30), 0.0, 1.5, -0.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "5", "NaN", "x" * 300, "\0", "\ud800", "é\u2028"),
    *([], {}, [None], [[]], [1, 2], {"a": None}, [{}], {"content": {}}),
]
_PAGE = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every part of a JSON value but itself."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in parts for place in ((*path, key), *_places(part, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, valid: Any, most: int = 3) -> Any:
    """Draw a JSON value with up to ``most`` parts replaced, left out, renamed, or there twice."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, most))):
        places = _places(value)
        if not places:
            return draw(st.sampled_from(ODD))
        *way, last = draw(st.sampled_from(places))
        here = value
        for key in way:
            here = here[key]
        how = draw(st.sampled_from(["replace", "replace", "leave out", "rename", "twice"]))
        if how == "leave out":
            del here[last]
        elif how == "replace" or not isinstance(here, list):
            odd = copy.deepcopy(draw(st.sampled_from(ODD)))
            if how == "rename":
                here[draw(st.sampled_from(["", "x", str(last).upper()]))] = here.pop(last)
            else:
                here[last] = odd
        else:
            here.insert(last, copy.deepcopy(here[last]))
    return value


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw bytes that were cut, flipped, repeated, or written over, if at all."""
    how = draw(st.sampled_from(["as it is", "cut", "flip", "repeat", "insert", "leave out"]))
    if not whole or how == "as it is":
        return whole
    at = draw(st.integers(0, len(whole) - 1))
    if how == "cut":
        return whole[:at]
    if how == "flip":
        return whole[:at] + bytes([whole[at] ^ (1 << draw(st.integers(0, 7)))]) + whole[at + 1 :]
    end = draw(st.integers(at, min(len(whole), at + 200)))
    if how == "repeat":
        return whole[:end] + whole[at:]
    if how == "leave out":
        return whole[:at] + whole[end:]
    odd = [
        b"\0",
        b"\n",
        b"\r\n",
        b"\r",
        b"\xef\xbb\xbf",
        b"\xff",
        b'"',
        b"{",
        b"\xed\xa0\x80",
        b"\xc2\xa0",
        b",",
        b"\t",
    ]
    return whole[:at] + draw(st.sampled_from(odd)) + whole[at:]


@st.composite
def bodies(draw: st.DrawFn, valid: Any) -> bytes:
    """Draw what a server sends in place of a valid JSON answer."""
    other = [
        _PAGE,
        b"",
        b"null",
        b"[]",
        b"0",
        b'"ok"',
        b"data: [DONE]\n\n",
        b"[" * 3000,
        b"9" * 5000,
        b"\xff\xfe{\0",
    ]
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(other))
    whole = json.dumps(draw(mutated(valid))).encode()
    return draw(damaged(whole)) if draw(st.integers(0, 3)) == 0 else whole
