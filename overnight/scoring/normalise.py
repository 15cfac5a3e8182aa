"""What is left of a text when wording is compared and typing is not: one rule a dataset, as its authors have it."""

import re
import string

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
# The underscore is ASCII punctuation, so it needs no rule of its own here.
_SPACE_FOR_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\u2018\u2019\u00b4", " "))
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower the case, delete ASCII punctuation, drop articles, collapse whitespace, in this order.

    Punctuation leaves no space behind ("New-York" is "newyork"). Other punctuation, curly quotes among it,
    stays, but an article beside it goes.

    Source:
        ``normalize_answer`` of the official SQuAD 2.0 evaluator (Rajpurkar et al. 2018, arXiv:1806.03822).
    """
    return _without_articles(text.lower().translate(_WITHOUT_PUNCTUATION))


def normalise_triviaqa(text: str) -> str:
    """Lower the case, put a space for punctuation, drop articles, collapse whitespace, in this order.

    Unlike `normalise`, punctuation leaves a space behind ("New-York" is "new york", "it's" is "it s"), and the
    single curly quotes and the acute accent are punctuation too; double curly quotes stay.

    Source:
        ``normalize_answer`` of the official TriviaQA evaluator (Joshi et al. 2017, arXiv:1705.03551).
    """
    return _without_articles(text.lower().translate(_SPACE_FOR_PUNCTUATION))


def tokens(text: str) -> list[str]:
    """Return the words of the normalised text, in order and with repetitions."""
    return normalise(text).split()


def _without_articles(bare: str) -> str:
    return " ".join(_ARTICLE.sub(" ", bare).split())
