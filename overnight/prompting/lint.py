"""Contradictions between a system prompt and the task instruction that follows it.

Few rules, in English, each about an order that cannot be kept together with the task's. A rule looks at one
sentence at a time, and an order that is negated or that holds only under a condition is none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from overnight.records import ReplyKind
from overnight.scoring.abstention import classify_reply

_FEWEST_WORDS_OF_A_LONG_REPLY = 15
_QUOTED_CHARS = 120
_VERB = r"\b(?:reply|respond|answer|say|write|output|return|state|print)"
_EXACTLY = r"(?:\s+(?:with|only|just|exactly|simply|by saying|the words?|the phrase))*"
# The phrase of an order such as: reply exactly: ...; say "..."; reply only with unknown.
_AFTER_COLON = re.compile(rf"{_VERB}{_EXACTLY}\s*:\s*(?P<phrase>[^\n.;!?]+)", re.IGNORECASE)
_IN_QUOTES = re.compile(
    rf"""{_VERB}{_EXACTLY}\s*:?\s*["'`](?P<phrase>[^"`\n]{{1,60}}?)["'`](?=[\s.,;:!?)]|$)""", re.IGNORECASE
)
_BARE = re.compile(
    rf"""{_VERB}(?=\s+\w+)(?:\s+(?:with|only|just|exactly|simply))+\s+(?P<phrase>[^\n.:;!?,"'`]{{1,40}})(?=[\n.;!?,]|$)""",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:if|when|where|whenever|unless)\b.{0,120}?(?:\bnot\b|n't\b|\bcannot\b|\bunsure\b|\buncertain\b|\bunknown\b"
    r"|\binsufficient\b|\blacks?\b|\bmissing\b|\bguessing\b|\bno answer\b)",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|avoid|without|no|nor|rather than|instead of)|n't)\b[^,.;:]{0,40}$", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not|never|avoid|without|no)\b|n't\b", re.IGNORECASE)
_CONDITIONAL = re.compile(r"\b(?:if|when|whenever|where|only for)\b", re.IGNORECASE)
_UNLESS = re.compile(r"\b(?:unless|except)\b", re.IGNORECASE)
_DO_NOT_KNOW = r"(?:(?:do not|don't|cannot|can not|can't) (?:know|answer|tell)|not sure|unsure)"
_NEVER_ABSTAINS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:never|do not|don't|must not)\s+(?:ever\s+)?(?:say|reply|answer|respond|admit|state|write)\b"
        rf".{{0,40}}?\b{_DO_NOT_KNOW}\b",
        r"\b(?:never|do not|don't|must not)\s+(?:ever\s+)?(?:abstain|refuse to answer|decline to answer"
        r"|leave (?:a|any|the) question unanswered)\b",
        r"(?<!not )(?<!n't )\b(?:always|must) (?:give|provide|offer|commit to|state|produce) "
        r"(?:an?|some|your best) (?:\w+ ){0,2}(?:answer|guess)\b",
        r"\b(?:take|make|give) (?:a|your) (?:best )?guess\b",
    )
)
_LANGUAGES = (
    "Arabic|Bengali|Chinese|Czech|Danish|Dutch|Finnish|French|German|Greek|Hebrew|Hindi|Hungarian|Indonesian|Italian"
    "|Japanese|Korean|Latin|Mandarin|Norwegian|Persian|Polish|Portuguese|Romanian|Russian|Spanish|Swedish|Thai|Turkish"
    "|Ukrainian|Urdu|Vietnamese"
)
_LANGUAGE = re.compile(
    rf"(?<!the )\b(?:answer|reply|respond|write|speak|output)\b[^.]{{0,30}}?\bin ({_LANGUAGES})\b"
    r"(?=\s*(?:[.,;:!?)]|$|please\b|only\b|and\b|language\b))",
    re.IGNORECASE,
)
_NUMBERS: Final = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "ten": 10,
    "twenty": 20,
    "fifty": 50,
    "hundred": 100,
}
_AT_LEAST = re.compile(
    rf"\b(?:at least|a minimum of|no fewer than|no less than) (?:a |one )?(?P<n>\d+|{'|'.join(_NUMBERS)}) "
    r"(?P<unit>words|sentences|paragraphs|lines|pages)\b",
    re.IGNORECASE,
)
_LONG = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:give|write|provide|produce|offer|answer|reply|respond)\b.{0,30}?\b(?:detailed|long|lengthy|comprehensive"
        r"|thorough|in-depth|elaborate|exhaustive)\b.{0,20}?\b(?:answers?|explanations?|responses?|repl(?:y|ies)|essays?)\b",
        r"\b(?:explain|show|describe|justify) your (?:reasoning|answers?|work|thinking|steps)\b",
        r"\bthink (?:out loud|aloud|step[ -]by[ -]step)\b",
        r"\b(?:in|with|as) (?:full|complete|whole) sentences?\b",
    )
)
_SILENTLY = re.compile(r"\b(?:silently|internally|to yourself|in your head|privately)\b", re.IGNORECASE)
_FORMAT = re.compile(
    r"\b(?:answer|reply|respond|output|return|write|format)\b[^.]{0,40}?\b(?:in|as|using|with) "
    r"(?:(?:an?|valid|strict|well-formed) )*"
    r"(JSON|XML|YAML|HTML|LaTeX|CSV|Markdown|bullet points|(?:bulleted|numbered) lists?|tables?)\b",
    re.IGNORECASE,
)
_SHORT_TASK = re.compile(r"\b(?:few words|brief(?:ly)?|short(?:est)?|one word)\b", re.IGNORECASE)
# A sentence ends at a line's end as well; a full stop inside quotes does not end it for our purpose.
_SENTENCE = re.compile(r"[^\n.!?]+(?:[.!?]+[\"'`)]*|\n|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Two orders that cannot both be kept."""

    rule: str  # abstention_phrase, never_abstains, language, length, format
    quote: str  # from the system prompt
    message: str


@dataclass(frozen=True, slots=True)
class AbstentionOrder:
    """An order to say a certain phrase when the answer is not known."""

    phrase: str
    sentence: str

    @property
    def is_recognised(self) -> bool:
        """True where the scorer reads the phrase as an abstention."""
        return classify_reply(self.phrase) is ReplyKind.ABSTENTION


def lint(system: str, instruction: str) -> list[Finding]:
    """Return what a system prompt orders against the task instruction, in the order of the rules."""
    sentences = list(_sentences(system))
    is_short = _SHORT_TASK.search(instruction) is not None
    findings = (
        [
            *_abstention_phrases(system, instruction),
            *_matching("never_abstains", _NEVER_ABSTAINS, sentences, "the task asks to abstain when unsure"),
        ]
        if abstention_orders(instruction)
        else []
    )
    findings += _languages(sentences)
    if is_short:
        findings += _minimum_lengths(sentences)
        task = "the task asks for a few words"
        findings += _matching("length", _LONG, [s for s in sentences if not _SILENTLY.search(s)], task)
        findings += _matching(
            "format", (_FORMAT,), sentences, "the task asks for a few words, which are compared as they stand"
        )
    return list(dict.fromkeys(findings))


def abstention_orders(text: str) -> list[AbstentionOrder]:
    """Return every phrase that a text orders to say when the answer is not known.

    A phrase counts if the scorer reads it as an abstention, or if its sentence sets the condition of not knowing.
    """
    orders: dict[str, AbstentionOrder] = {}
    for sentence in _sentences(text):
        is_condition = _UNSURE.search(sentence) is not None
        for pattern in (_IN_QUOTES, _AFTER_COLON, _BARE):
            for match in pattern.finditer(sentence):
                order = AbstentionOrder(match["phrase"].strip(" \"'`"), sentence)
                is_negated = _NEGATED.search(sentence[: match.start()].rsplit(",", 1)[-1]) is not None
                is_free = pattern is not _BARE and is_condition
                if order.phrase and not is_negated and (order.is_recognised or is_free):
                    orders.setdefault(_plain(order.phrase), order)
    return list(orders.values())


def _abstention_phrases(system: str, instruction: str) -> Iterator[Finding]:
    asked = {_plain(order.phrase): order.phrase for order in abstention_orders(instruction)}
    for order in abstention_orders(system):
        if _plain(order.phrase) not in asked:
            task = " or ".join(f'"{phrase}"' for phrase in asked.values())
            known = "reads" if order.is_recognised else "does not read"
            yield Finding(
                rule="abstention_phrase",
                quote=_excerpt(order.sentence),
                message=f'abstains by "{order.phrase}", the task by {task}; the scorer {known} it as an abstention',
            )


def _matching(
    rule: str, patterns: tuple[re.Pattern[str], ...], sentences: list[str], task: str
) -> Iterator[Finding]:
    for sentence in sentences:
        for pattern in patterns:
            match = pattern.search(sentence)
            is_order = match and (rule == "never_abstains" or not _NEGATION.search(match[0]))
            if match and is_order and not _is_void(sentence, match.start(), match.end()):
                yield Finding(rule=rule, quote=_excerpt(sentence), message=f'orders "{match[0]}", {task}')
                break


def _languages(sentences: list[str]) -> Iterator[Finding]:
    for sentence in sentences:
        match = _LANGUAGE.search(sentence)
        if match and not _is_void(sentence, match.start(), match.end()):
            yield Finding(
                rule="language",
                quote=_excerpt(sentence),
                message=f"orders {match[1]}, the task and its answers are in English",
            )


def _minimum_lengths(sentences: list[str]) -> Iterator[Finding]:
    for sentence in sentences:
        match = _AT_LEAST.search(sentence)
        if match is None or _is_void(sentence, match.start(), match.end()):
            continue
        number = _NUMBERS.get(match["n"].lower()) or int(match["n"])
        if match["unit"].lower() == "words" and number < _FEWEST_WORDS_OF_A_LONG_REPLY:
            continue
        yield Finding(
            rule="length",
            quote=_excerpt(sentence),
            message=f'orders "{match[0]}", the task asks for a few words',
        )


def _is_void(sentence: str, start: int, end: int) -> bool:
    """True where an order is negated, or holds only under a condition that stands in its sentence."""
    if _NEGATED.search(sentence[:start]):
        return True
    rest = sentence[:start] + sentence[end:]
    if _UNLESS.search(rest):
        return True
    condition = _CONDITIONAL.search(rest)
    return condition is not None and _UNSURE.search(sentence) is None


def _sentences(text: str) -> Iterator[str]:
    plain = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
    for match in _SENTENCE.finditer(plain):
        sentence = " ".join(match[0].split())
        if sentence:
            yield sentence


def _plain(phrase: str) -> str:
    return " ".join(re.sub(r"[^\w\s']", " ", phrase.lower()).split())


def _excerpt(sentence: str) -> str:
    return sentence if len(sentence) <= _QUOTED_CHARS else f"{sentence[:_QUOTED_CHARS]}..."
