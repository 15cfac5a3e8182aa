"""Our measures in LM-Polygraph's terms, and how far the two are apart.

What differs by definition is made alike here, so that a difference that is left is one of the formulas:

- every generated token counts, the one that ends the answer and whitespace included (ours: those that wrote it);
- relevance is read behind the whole prompt (ours: behind the question, or the passage and the question), and the answer
  is all that was written (ours: without the whitespace around it);
- its Perplexity is our average NLL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from figures import NotMeasuredError
from polygraph import MeasuredByPolygraph

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.answer import CountedAnswer, GeneratedAnswer, TokenMask, count_tokens
from overnight.uncertainty.evidence import Evidence, Relevance
from overnight.uncertainty.measures.average_nll import average_nll
from overnight.uncertainty.measures.g_nll import g_nll
from overnight.uncertainty.measures.token_sar import token_sar

_RELEVANT = "TokenSAR"
Relevances = dict[str, Relevance]  # by custom id
OURS: dict[str, Callable[[Evidence], float]] = {
    "MaximumSequenceProbability": g_nll,
    "Perplexity": average_nll,
    _RELEVANT: token_sar,
}
_SMALLEST = 1e-9  # nats; a relative difference to 0 says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two sets of values of one measure are apart."""

    n_items: int  # answered with the same text, with a value on both sides
    n_left_out: int  # answered with the same text, but with a value on neither side, or with one token only
    largest: float  # relative difference
    where: str  # the item that has it


def in_their_terms(answer: GeneratedAnswer) -> CountedAnswer:
    """Return an answer as LM-Polygraph sees it: all that was written, all tokens counted."""
    written = b"".join(token.piece for token in answer.tokens if not token.ends)
    return count_tokens(replace(answer, text=written.decode("utf-8", "replace")), TokenMask.EVERY_TOKEN)


def equal_answers(
    ours: Mapping[str, GeneratedAnswer], theirs: Mapping[str, MeasuredByPolygraph]
) -> list[str]:
    """Return which items were answered with the same text, to the letter, and the same number of tokens.

    Raises:
        NotMeasuredError: they did not answer the same items.
    """
    if ours.keys() != theirs.keys() or not ours:
        raise NotMeasuredError(f"{len(ours)} and {len(theirs)} answers are not of the same items")
    return [
        name
        for name, answer in ours.items()
        if (in_their_terms(answer).text, len(answer.tokens)) == (theirs[name].text, theirs[name].n_tokens)
    ]


def agreements(
    answers: Mapping[str, GeneratedAnswer],
    relevances: Relevances,
    theirs: Mapping[str, MeasuredByPolygraph],
) -> dict[str, Agreement]:
    """Return by measure how far ours are from theirs, over the items that both answered alike.

    Args:
        answers: ours.
        relevances: of our answers in their terms, read behind the whole prompt.
        theirs: what LM-Polygraph says.

    Raises:
        NotMeasuredError: there is nothing to compare, or a value is on one side alone.
    """
    names = equal_answers(answers, theirs)
    found: dict[str, dict[str, float]] = {measure: {} for measure in OURS}
    for name in names:
        evidence = Evidence(item_key=name, greedy=in_their_terms(answers[name]), relevance=relevances[name])
        for measure, of in OURS.items():
            if measure == _RELEVANT and theirs[name].n_tokens == 1:
                continue  # LM-Polygraph asks no model about it: its relevance is 0.5
            own, other = _value(of, evidence), theirs[name].values[measure]
            if (own is None) != (other is None):
                raise NotMeasuredError(f"{name}: {measure} is {own} by us and {other} by LM-Polygraph")
            if own is not None and other is not None:
                found[measure][name] = abs(own - other) / max(abs(other), _SMALLEST)
    return {measure: _agreement(measure, apart, len(names)) for measure, apart in found.items()}


def _agreement(measure: str, apart: Mapping[str, float], n_items: int) -> Agreement:
    if not apart:
        raise NotMeasuredError(f"{measure}: no item was answered alike by both and has a value")
    where = max(apart, key=apart.__getitem__)
    return Agreement(n_items=len(apart), n_left_out=n_items - len(apart), largest=apart[where], where=where)


def _value(of: Callable[[Evidence], float], evidence: Evidence) -> float | None:
    try:
        return of(evidence)
    except UndefinedMetricError:
        return None
