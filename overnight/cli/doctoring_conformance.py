"""``overnight doctor --conformance MODEL``: whether two engines that hold the same weights answer the same."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.conformance.comparing import Agreement, Compared
from overnight.conformance.pairing import Pair, pair_of
from overnight.conformance.running import ANSWER_TOKENS, check_conformance
from overnight.report.text import visible


def examine_conformance(name: str, against: Path | None, *, as_json: bool) -> None:
    """Print how two engines agree, and leave with 1 where they do not.

    Args:
        name: of a model in ``config/models``, or the path of a GGUF file or of a folder.
        against: GGUF file with the same weights, where the model is none itself.
        as_json: print JSON.

    Raises:
        UsageError: there is no such model, or nothing to compare it with.
        EngineError: an engine cannot hold it.
    """
    pair = pair_of(find_model(name), against)
    out = console()
    found = check_conformance(pair, on_stage=lambda stage: None if as_json else _say(out, stage))
    if as_json:
        print(json.dumps(record(pair, found), indent=2, allow_nan=False))  # noqa: T201 - the terminal is our output
    else:
        _print(out, pair, found)
    if not found.agrees:
        sys.exit(1)


def record(pair: Pair, found: Agreement) -> dict[str, Any]:
    """Return all that was found, for a file; differences are in nats."""
    tolerance = found.tolerance
    return {
        "schema_version": 1,
        "model": pair.first.name,
        "engines": [pair.first.engine.value, pair.second.engine.value],
        "agrees": found.agrees,
        "tolerance": {
            "name": tolerance.name,
            "odds": tolerance.odds,
            "tie": tolerance.tie,
            "mean": tolerance.mean,
        },
        "answer_tokens": ANSWER_TOKENS,
        "n_prompts": len(found.compared),
        "n_same_prompt_tokens": found.n_same_count,
        "n_identical": found.n_identical,
        "n_ties": found.n_ties,
        "n_common_tokens": found.n_tokens,
        "mean_absolute_difference": found.mean_absolute,
        "largest_difference": found.largest,
        "worst_g_nll_difference_per_token": None
        if found.worst is None
        else found.worst.g_nll_difference_per_token,
        "prompts": [_row(each, found) for each in found.compared],
    }


def _row(each: Compared, found: Agreement) -> dict[str, Any]:
    parting = each.parting
    return {
        "prompt": each.prompt,
        "prompt_tokens": list(each.prompt_tokens),
        "n_common": each.n_common,
        "g_nll_difference_per_token": each.g_nll_difference_per_token,
        "largest_difference": each.largest,
        "parting": None
        if parting is None
        else {"place": parting.place, "gaps": list(parting.gaps), "is_tie": parting.is_tie(found.tolerance)},
        "problems": list(each.problems(found.tolerance)),
    }


def _print(out: Console, pair: Pair, found: Agreement) -> None:
    n_prompts, tolerance, worst = len(found.compared), found.tolerance, found.worst
    first, second = pair.first.engine.value, pair.second.engine.value
    out.print(_table(found), highlight=False)
    _say(out, f"{pair.first.name}: {first} and {second}, greedy, up to {ANSWER_TOKENS} tokens an answer")
    ties = f", {found.n_ties} part at a tie" if found.n_ties else ""
    _say(out, f"answers: {found.n_identical} of {n_prompts} are identical{ties}")
    if worst is not None:
        _say(
            out,
            f"G-NLL: over the {found.n_tokens} tokens before answers part, a token differs by "
            f"{found.mean_absolute:.5f} nats on average and {found.largest:.5f} at most; the worst answer by "
            f"{abs(worst.g_nll_difference_per_token or 0):.5f} a token ({worst.prompt})",
        )
    _say(
        out,
        f"tolerance {tolerance.name!r}: {tolerance.mean:g} nats a token for an answer, {tolerance.odds:g} for the log "
        f"odds of a token and for a tie; room for {tolerance.contains}",
    )
    for prompt, problems in found.problems.items():
        _say(out, f"  {prompt}: {'; '.join(problems)}")
    verdict = "the engines agree" if found.agrees else "the engines do not agree"
    _say(out, f"{verdict}: {n_prompts - len(found.problems)} of {n_prompts} prompts within the tolerance")


def _table(found: Agreement) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("prompt", "answers", "tokens", "G-NLL a token", "largest", "within"):
        table.add_column(title, justify="left" if title in ("prompt", "answers", "within") else "right")
    for each in found.compared:
        mean = each.g_nll_difference_per_token
        table.add_row(
            each.prompt,
            _answers(each, found),
            str(each.n_common),
            "" if mean is None else f"{mean:+.5f}",
            "" if each.largest is None else f"{each.largest:.5f}",
            "no" if each.problems(found.tolerance) else "yes",
        )
    return table


def _answers(each: Compared, found: Agreement) -> str:
    if each.parting is None:
        return "identical"
    where = f"at token {each.parting.place + 1}"
    return f"tie {where}" if each.parting.is_tie(found.tolerance) else f"part {where}"


def _say(out: Console, text: str) -> None:
    out.print(visible(text), highlight=False, markup=False, soft_wrap=True)
