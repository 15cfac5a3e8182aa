"""The SQuAD rule: what is left of a text when wording is compared and typing is not."""

import re
import string

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower the case, delete ASCII punctuation, drop articles, collapse whitespace, in this order.

    Punctuation leaves no space behind ("New-York" is "newyork"). Other punctuation, curly quotes among it,
    stays, but an article beside it goes.

    Source:
        ``normalize_answer`` of the official SQuAD 2.0 evaluator (Rajpurkar et al. 2018, arXiv:1806.03822).
    """
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def tokens(text: str) -> list[str]:
    """Return the words of the normalised text, in order and with repetitions."""
    return normalise(text).split()
