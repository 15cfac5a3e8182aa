"""How long system prompts are, what they cost, what in them contradicts the task, and what should be equally long."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overnight.ids import text_digest
from overnight.prompting.lint import lint
from overnight.prompting.messages import CLOSED_INSTRUCTION, OPEN_INSTRUCTION
from overnight.records import Condition, ItemType
from overnight.spec.pricing import Rates
from overnight.spec.prompt_set import PromptSet

LENGTH_TOLERANCE = 0.10
_ROUNDING = 1e-9  # 110 words over 100 are 10 % more
_BYTES_PER_TOKEN = 4.0  # of English, where no model was measured
_PRICED_REQUESTS = 1000
_INSTRUCTIONS = {ItemType.CLOSED: CLOSED_INSTRUCTION, ItemType.OPEN: OPEN_INSTRUCTION}
_CLAIMS_LENGTH = re.compile(r"length[-_ ]?match", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRatio:
    """How many tokens a byte of prompt is, and how that is known; always an estimate of one prompt's tokens."""

    tokens_per_byte: float = 1 / _BYTES_PER_TOKEN
    basis: str = "assumed: four bytes a token; no run has measured the model"

    def tokens(self, text: str) -> int:
        """Return about how many tokens a text is."""
        return math.ceil(self.tokens_per_byte * len(text.encode("utf-8", "replace")))


def audit(
    sets: Sequence[PromptSet],
    others: Mapping[str, PromptSet],
    *,
    types: Iterable[ItemType],
    ratio: TokenRatio,
    rates: Rates,
) -> dict[str, Any]:
    """Return what can be said of some prompt sets without asking a model.

    Args:
        sets: to look at.
        others: sets by name that a length may be compared with, besides these.
        types: of the items that are asked; their instructions are what a prompt may contradict.
        ratio: from bytes to tokens.
        rates: prices of the hosted estimate.
    """
    known = {**others, **{each.name: each for each in sets}}
    return {
        "token_basis": ratio.basis,
        "tokens_are_estimated": True,
        "pricing": {
            "hosted_estimate": True,
            "input_per_million": rates.input_per_million,
            "batch_discount": rates.batch_discount,
        },
        "length_tolerance": LENGTH_TOLERANCE,
        "prompt_sets": [_audit_set(each, known, list(types), ratio, rates) for each in sets],
    }


def _audit_set(
    prompts: PromptSet,
    known: Mapping[str, PromptSet],
    types: Sequence[ItemType],
    ratio: TokenRatio,
    rates: Rates,
) -> dict[str, Any]:
    return {
        "name": prompts.name,
        "description": prompts.description,
        "arms": {arm.value: _size(prompts.text(arm), ratio, rates) for arm in Condition},
        "arms_are_the_same": prompts.control == prompts.treatment,
        "treatment_to_control_words": _ratio(_words(prompts.treatment), _words(prompts.control)),
        "length": _length(prompts, known),
        "findings": _findings(prompts, types),
    }


def _size(text: str, ratio: TokenRatio, rates: Rates) -> dict[str, Any]:
    tokens = ratio.tokens(text)
    return {
        "words": _words(text),
        "characters": len(text),
        "tokens_estimated": tokens,
        "sha256": text_digest(text),
        "usd_per_1000_requests_if_hosted": round(rates.usd(_PRICED_REQUESTS * tokens, 0), 6),
    }


def _findings(prompts: PromptSet, types: Sequence[ItemType]) -> list[dict[str, Any]]:
    found: dict[Any, list[str]] = {}
    for arm in Condition:
        for kind in types:
            for finding in lint(prompts.text(arm), _INSTRUCTIONS[kind]):
                found.setdefault((arm.value, finding), []).append(kind.value)
    return [{"arm": arm, "types": kinds, **asdict(finding)} for (arm, finding), kinds in found.items()]


def _length(prompts: PromptSet, known: Mapping[str, PromptSet]) -> dict[str, Any] | None:
    """Return whether a treatment is as long as the arm that it should match; None where nothing claims it.

    A set claims it by ``matches_length_of``, or by its name; a name does not say which arm is meant, so the
    nearest one is taken and it is said that nobody stated it.
    """
    stated = prompts.matches_length_of
    if stated is None and not _CLAIMS_LENGTH.search(prompts.name):
        return None
    if stated is not None:
        targets = {f"{stated} treatment": known[stated].treatment} if stated in known else {}
        reason = None if targets else f"there is no prompt set {stated!r}"
    else:
        targets = {f"{n} treatment": other.treatment for n, other in known.items() if n != prompts.name}
        targets["its own control"] = prompts.control
        reason = "the name claims a matched length and nothing says which; add matches_length_of"
    if not targets:
        return {"is_stated": True, "matches": None, "is_matched": None, "undefined_because": reason}
    compared = {name: _ratios(prompts.treatment, text) for name, text in targets.items()}
    nearest = min(compared, key=lambda name: abs(math.log(max(compared[name][0], 1e-9))))
    words, characters = compared[nearest]
    return {
        "is_stated": stated is not None,
        "matches": nearest,
        "words_ratio": round(words, 4),
        "characters_ratio": round(characters, 4),
        "is_matched": all(abs(each - 1) <= LENGTH_TOLERANCE + _ROUNDING for each in (words, characters)),
        "undefined_because": reason,
    }


def _ratios(text: str, target: str) -> tuple[float, float]:
    return _words(text) / max(1, _words(target)), len(text) / max(1, len(target))


def _ratio(first: int, second: int) -> float | None:
    return round(first / second, 4) if second else None


def _words(text: str) -> int:
    return len(text.split())
