"""Telling an abstention from an answer, by how the reply begins.

A reply is put into one plain form, the politeness in front is cut off, and what is left must *begin* with one
of the patterns of `phrases`. A phrase further in decides nothing: "Paris. I am not sure about the date."
answers.
"""

import re
import string
import unicodedata
from typing import Final

from overnight.records import ReplyKind
from overnight.scoring import phrases

_PUNCTUATION: Final = string.punctuation + string.whitespace
_LONG_WORD = 4  # letters; a title capitalises these and may not capitalise "of"

_STRAIGHT = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'") | {"\u2026": "."})
_MARKS = str.maketrans(
    "", "", '"\u201c\u201d\u201e\u00ab\u00bb*_#[]{}<>'
)  # double quotes, Markdown, brackets
_LABEL = re.compile(
    r"^\W*(?:(?:final|short) )?(?:answer|response|reply|assistant|output|a)\W*:", re.IGNORECASE
)
_REWRITES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b(?:can't|cannot|cant)\b", "can not"),
        (r"\b(do|does|did|could|is|are|was|were|has|have)(?:n't|nt)\b", r"\1 not"),
        (r"\bi'?m\b", "i am"),
        (r"\b(it|that|there)'s\b", r"\1 is"),
        (r"\b(i|you|we)'ve\b", r"\1 have"),
        (r"\b(i|we)'d\b", r"\1 would"),
        (r"[^\S\n]+", " "),
        (r"\s*\n\s*", "\n"),
    )
)


def classify_reply(text: str) -> ReplyKind:
    """Return whether a reply answers, abstains or is empty.

    EMPTY: nothing but whitespace, punctuation and unprintable characters, with or without an "Answer:" label.
    ABSTENTION: the reply opens by saying that it does not know, that the source does not say, that there is
    no answer, or by asking for more to go on. A refusal ("I can't help with that") counts: it claims nothing.
    ANSWER: everything else; also an abstention that goes on to answer ("I'm not sure, but I think it was
    1066", "I don't know the day, but he was born in 1820") and a title ("I Don't Know How to Love Him").

    English only. The labelled set in the tests states precision and recall, and the cases known to fail.
    """
    if _is_blank(_LABEL.sub("", text)):
        return ReplyKind.EMPTY
    reply = _without_filler(_plain(text))
    if found := phrases.PERSONAL.match(reply):
        rest = reply[found.end() :]
        is_answer = bool(
            phrases.QUOTATION.match(rest)
            or phrases.CLAIM.match(rest)
            or phrases.GUESS.search(rest)
            or (rest.strip(_PUNCTUATION) and _is_title(text))
        )
    elif found := phrases.IMPERSONAL.match(reply):
        is_answer = bool(phrases.GUESS.search(reply, found.end()))
    else:
        is_answer = True
    return ReplyKind.ANSWER if is_answer else ReplyKind.ABSTENTION


def _is_blank(text: str) -> bool:
    return all(c in string.punctuation or unicodedata.category(c)[0] in "PZC" for c in text)


def _plain(text: str) -> str:
    """Straighten quotes, fold case, drop marks, write contractions out; line breaks stay."""
    plain = text.translate(_STRAIGHT).translate(_MARKS).casefold()
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    return plain.strip()


def _without_filler(reply: str) -> str:
    """Cut the filler off the front, as long as something is left."""
    while (found := phrases.FILLER.match(reply)) and reply[found.end() :].strip(_PUNCTUATION):
        reply = reply[found.end() :]
    return reply


def _is_title(text: str) -> bool:
    """Return True for one sentence of several words in which every long word is capitalised."""
    words = re.findall(r"[^\W\d_][\w'\u2019]*", text)
    long_words = [word for word in words if len(word) >= _LONG_WORD]
    is_one_sentence = not re.search(r"[.!?\n]\s*\S", text.strip(_PUNCTUATION))
    return (
        is_one_sentence and len(words) > 1 and not text.isupper() and all(w[0].isupper() for w in long_words)
    )
