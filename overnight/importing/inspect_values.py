"""What a score of Inspect says, as a number."""

from collections.abc import Mapping
from typing import Any

from overnight.importing.logs import number

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}  # correct, partial, incorrect, no answer
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def graded(value: Any) -> float | None:
    """Return a score's value as a number, by Inspect's own table; None where it is not scored (NaN).

    Raises:
        ValueError: it is no number; Inspect warns here and counts 0.

    Source:
        ``inspect_ai.scorer.value_to_float``.
    """
    if not isinstance(value, str):
        return number(value)
    if value in _GRADES:
        return _GRADES[value]
    if (word := value.lower()) in _WORDS:
        return _WORDS[word]
    try:
        return number(float(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither a number nor C, P, I or N") from None


def flattened(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a sample's scores by metric: ``scorer``, or ``scorer.key`` of a score with several."""
    scores = sample.get("scores")
    if not isinstance(scores, dict):  # logs before 0.3.22 have one score, without a name
        scores = {"score": sample["score"]} if isinstance(sample.get("score"), dict) else {}
    values: dict[str, Any] = {}
    for scorer, score in scores.items():
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(value, dict):
            values |= {f"{scorer}.{key}": part for key, part in value.items()}
        elif isinstance(value, list):
            values |= {f"{scorer}.{index}": part for index, part in enumerate(value)}
        else:
            values[scorer] = value
    return values
