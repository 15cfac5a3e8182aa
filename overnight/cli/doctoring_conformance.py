"""``overnight doctor --conformance MODEL``: whether two engines that hold the same weights answer the same."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from overnight.cli.console import console
from overnight.cli.fitting import find_model
from overnight.conformance.comparing import Agreement, Compared
from overnight.conformance.running import ANSWER_TOKENS, Pair, check_conformance, pair_of
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
        "tolerance": {"name": tolerance.name, "token": tolerance.token, "mean": tolerance.mean},
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
    _say(out, f"{pair.first.name}: {first} and {second}, greedy, up to {ANSWER_TOKENS} tokens an answer")
    _say(out, f"prompts with as many tokens for both: {found.n_same_count} of {n_prompts}")
    apart = n_prompts - found.n_identical
    ties = (
        f"; of the others, {found.n_ties} of {apart} part at a tie (within {tolerance.token:g} nats)"
        if apart
        else ""
    )
    _say(out, f"answers that are identical: {found.n_identical} of {n_prompts}{ties}")
    if worst is None or found.mean_absolute is None:
        _say(out, "G-NLL: not compared, since an engine gives no log-probabilities")
    else:
        _say(
            out,
            f"G-NLL over the {found.n_tokens} tokens before answers part: a token differs by {found.mean_absolute:.5f} "
            f"nats on average and {found.largest:.5f} at most; the worst answer by "
            f"{abs(worst.g_nll_difference_per_token or 0):.5f} a token over {worst.n_common} ({worst.prompt})",
        )
    for prompt, problems in found.problems.items():
        _say(out, f"  {prompt}: {'; '.join(problems)}")
    _say(
        out,
        f"tolerance '{tolerance.name}': {tolerance.mean:g} nats a token for an answer, {tolerance.token:g} for one "
        f"token; room for {tolerance.contains}",
    )
    verdict = "the engines agree" if found.agrees else "the engines do not agree"
    _say(out, f"{verdict}: {n_prompts - len(found.problems)} of {n_prompts} prompts within the tolerance")


def _say(out: Console, text: str) -> None:
    out.print(visible(text), highlight=False, markup=False, soft_wrap=True)
