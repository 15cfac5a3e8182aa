"""What ``overnight check`` prints."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from overnight.checking.dataset import DatasetCheck, DatasetFacts, check_dataset
from overnight.checking.model import QUESTION, ModelCheck, check_model
from overnight.checking.stages import Stage
from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.memory.fits import in_words
from overnight.records import Item
from overnight.report.text import visible
from overnight.spec.config_root import ConfigRoot

_SHOWN_CHARS = 200


def show_model_check(name: str, threads: int | None, *, as_json: bool) -> None:
    """Check a model, print what was found, and leave with 1 where it will not do.

    Args:
        name: of a model in ``config/models``, or the path of a GGUF file or of a folder.
        threads: of the engine; None for the physical cores.
        as_json: print JSON.

    Raises:
        UsageError: there is no such model.
    """
    found = check_model(find_model(name), threads=threads)
    if as_json:
        _print_json(_model_record(found))
    else:
        out = console()
        _print_stages(out, found.model.name, found.stages)
        for place, n_bytes in _peak(found).items():
            if n_bytes is not None:
                _say(out, f"  memory: {in_words(n_bytes)} at most on the {place}")
        _print_verdict(out, found.model.name, is_good=found.is_good)
    if not found.is_good:
        sys.exit(1)


def show_dataset_check(name: str, *, as_json: bool) -> None:
    """Check a dataset, print what was found, and leave with 1 where it will not do.

    Args:
        name: of a dataset in ``config/datasets``.
        as_json: print JSON.

    Raises:
        UsageError: there is no such dataset.
    """
    found = check_dataset(ConfigRoot(Path("config")).dataset(name))
    if as_json:
        _print_json(_dataset_record(found))
    else:
        out = console()
        _print_stages(out, found.dataset.name, found.stages)
        if found.facts is not None:
            _print_facts(out, found.facts)
        _print_verdict(out, found.dataset.name, is_good=found.is_good)
    if not found.is_good:
        sys.exit(1)


def _print_facts(out: Console, facts: DatasetFacts) -> None:
    tally = facts.tally
    _say(out, f"  fields: {', '.join(facts.fields)}")
    _say(out, f"  answerable: {facts.n_answerable:,}, unanswerable: {facts.n_unanswerable:,}")
    if facts.golds_per_item is not None:
        _say(out, f"  gold answers: {facts.golds_per_item:.2f} for an item that has any")
    _say(
        out,
        f"  repeated questions: {facts.n_duplicate_questions:,}; rows left out as the same: {tally.n_duplicates:,}; "
        f"blank answers left out: {tally.n_blank_answers:,}",
    )
    table = Table(box=None, pad_edge=False)
    for title in ("words of", "texts", "shortest", "median", "mean", "longest"):
        table.add_column(title, justify="left" if title == "words of" else "right")
    for one in facts.lengths:
        cells = (f"{one.n:,}", str(one.shortest), f"{one.median:g}", f"{one.mean:.1f}", f"{one.longest:,}")
        table.add_row(one.field, *cells)
    out.print(table, highlight=False)
    for item in facts.examples:
        _say(out, f"  {item.key}: {_short(item.question)}")
        if item.context is not None:
            _say(out, f"    passage: {_short(item.context)}")
        _say(out, f"    gold: {_short('; '.join(item.answers)) if item.answers else 'none'}")


def _print_stages(out: Console, name: str, stages: Sequence[Stage]) -> None:
    _say(out, name)
    for stage in stages:
        said = stage.found if stage.failed_because is None else f"FAILED: {stage.failed_because}"
        _say(out, f"  {stage.name}: {said} ({stage.took_s:.1f} s)")


def _print_verdict(out: Console, name: str, *, is_good: bool) -> None:
    _say(out, f"{name} can be used" if is_good else f"{name} cannot be used as it is")


def _model_record(found: ModelCheck) -> dict[str, Any]:
    answer = found.answer
    return {
        "schema_version": 1,
        "model": found.model.name,
        "engine": found.model.engine.value,
        "source": found.model.source,
        "is_good": found.is_good,
        "stages": [_stage(stage) for stage in found.stages],
        "peak_bytes": _peak(found),
        "answer": None
        if answer is None
        else {
            "question": QUESTION,
            "text": answer.text,
            "finish_reason": answer.finish_reason.value,
            "completion_tokens": answer.completion_tokens,
            "mean_logprob": answer.mean_logprob,
            "latency_s": answer.latency_s,
        },
    }


def _stage(stage: Stage) -> dict[str, Any]:
    return {**asdict(stage), "took_s": round(stage.took_s, 3)}


def _peak(found: ModelCheck) -> dict[str, int | None]:
    return {
        "host": found.peak.host_bytes if found.peak else None,
        "GPU": found.peak.device_bytes if found.peak else None,
    }


def _dataset_record(found: DatasetCheck) -> dict[str, Any]:
    facts = found.facts
    return {
        "schema_version": 1,
        "dataset": found.dataset.name,
        "source": found.dataset.source,
        "format": found.dataset.format.value,
        "type": found.dataset.type.value,
        "is_good": found.is_good,
        "stages": [_stage(stage) for stage in found.stages],
        "facts": None
        if facts is None
        else {
            **asdict(facts.tally),
            "n_items": facts.n_items,
            "n_answerable": facts.n_answerable,
            "n_unanswerable": facts.n_unanswerable,
            "n_with_context": facts.n_with_context,
            "fields": list(facts.fields),
            "golds_per_item": facts.golds_per_item,
            "n_duplicate_questions": facts.n_duplicate_questions,
            "lengths_in_words": {one.field: asdict(one) for one in facts.lengths},
            "examples": [_example(item) for item in facts.examples],
        },
    }


def _example(item: Item) -> dict[str, Any]:
    return {
        "item_key": item.key,
        "question": item.question,
        "context": item.context,
        "answers": list(item.answers),
    }


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}\u2026"


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output


def _say(out: Console, text: str) -> None:
    out.print(visible(text), highlight=False, markup=False, soft_wrap=True)
