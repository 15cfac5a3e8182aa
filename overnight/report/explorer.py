"""The items of a run as data that the page decodes when somebody looks at them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from overnight.records import FinishReason
from overnight.report.results import Example, Excerpt, Reply, RunReport, TrialReport
from overnight.report.templating import json_script
from overnight.report.text import visible
from overnight.report.wording import verdict_of

PAGE_CHARS = 12_000_000  # of replies and passages together; a page beyond that is slow to open
_LIMITS = (2000, 1000, 500, 250)  # characters of a text; the longest with which everything fits is taken
ABSTAINED, TRUNCATED, EMPTY = 1, 2, 4  # bits of a reply's flags, as `explorer.js` reads them


@dataclass(frozen=True, slots=True)
class Explorer:
    """Scripts of JSON that no text in them can end."""

    asked: Markup  # {"items": [[key, dataset, type, question, passage, [answer]]], "passages": [text]}
    trials: tuple[Markup, ...]  # {"verdicts": [text], "rows": [[item, T, outcome, differ, reply, reply]]}
    n_chars: int  # the longest excerpt


def explorer(run: RunReport) -> Explorer:
    """Return what the page knows of single items.

    A text is a string, or ``[its beginning, its length in characters]`` where it was cut; a reply is null or
    ``[text, finish reason, number of its verdict, flags]``. Question and passage stand there once for all
    trials, and texts are cut further where the page would grow beyond `PAGE_CHARS`.
    """
    limit = _limit(run)
    keys: dict[str, int] = {}
    items: list[Any] = []
    passages: dict[Excerpt, int] = {}
    for example in (example for trial in run.trials for example in trial.examples):
        if example.item_key not in keys:
            keys[example.item_key] = len(items)
            items.append(_item(example, passages, limit))
    asked = {"items": items, "passages": [_text(passage, limit) for passage in passages]}
    trials = tuple(json_script(_trial(trial, keys, limit)) for trial in run.trials)
    return Explorer(json_script(asked), trials, limit)


def _limit(run: RunReport) -> int:
    lengths = [len(text.text) for text in _texts(run)]
    fitting = (n for n in _LIMITS if sum(min(n, length) for length in lengths) <= PAGE_CHARS)
    return next(fitting, _LIMITS[-1])


def _texts(run: RunReport) -> Iterator[Excerpt]:
    """Yield every text as often as it will stand on the page."""
    seen: set[str] = set()
    passages: set[Excerpt] = set()
    for example in (example for trial in run.trials for example in trial.examples):
        yield from (reply.text for reply in (example.control, example.treatment) if reply)
        if example.item_key not in seen:
            seen.add(example.item_key)
            yield from (text for text in (example.question, *example.answers) if text)
            if example.context:
                passages.add(example.context)
    yield from passages


def _item(example: Example, passages: dict[Excerpt, int], limit: int) -> list[Any]:
    passage = None if example.context is None else passages.setdefault(example.context, len(passages))
    question = None if example.question is None else _text(example.question, limit)
    answers = [_text(answer, limit) for answer in example.answers]
    return [visible(example.item_key), visible(example.dataset), example.type, question, passage, answers]


def _trial(trial: TrialReport, keys: dict[str, int], limit: int) -> dict[str, Any]:
    verdicts: dict[str, int] = {}
    rows = [
        [
            keys[example.item_key],
            example.temperature,
            example.outcome,
            int(example.replies_differ),
            *(_reply(reply, verdicts, limit) for reply in (example.control, example.treatment)),
        ]
        for example in trial.examples
    ]
    return {"verdicts": list(verdicts), "rows": rows}


def _reply(reply: Reply | None, verdicts: dict[str, int], limit: int) -> list[Any] | None:
    if reply is None:
        return None
    flags = (
        ABSTAINED * bool(reply.abstain_rate)
        | TRUNCATED * (reply.finish_reason == FinishReason.LENGTH)
        | EMPTY * (reply.finish_reason != FinishReason.ERROR and not reply.text.text.strip())
    )
    number = verdicts.setdefault(verdict_of(reply), len(verdicts))
    return [_text(reply.text, limit), reply.finish_reason, number, flags]


def _text(excerpt: Excerpt, limit: int) -> Any:
    shown = visible(excerpt.text[:limit])
    return shown if excerpt.n_chars <= min(limit, len(excerpt.text)) else [shown, excerpt.n_chars]
