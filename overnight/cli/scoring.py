"""Showing what a scoring did with every row."""

import json
from dataclasses import asdict
from pathlib import Path

from overnight.errors import UsageError
from overnight.runs.scoring_csv import ScoreSummary, score_csv
from overnight.scoring.support import UnsupportedRule


def score_table(
    predictions: Path,
    prepared: Path,
    out: Path,
    *,
    strategy: str,
    min_token_overlap: float,
    with_rouge: bool,
    as_json: bool,
) -> None:
    """Score a table of predictions and say what became of its rows.

    Raises:
        UsageError: the strategy or the overlap cannot be applied, or a file is not what it should be.
    """
    try:
        rule = UnsupportedRule(strategy=strategy, min_token_overlap=min_token_overlap)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error)) from None
    summary = score_csv(predictions, prepared, out, rule=rule, with_rouge=with_rouge)
    print(json.dumps(asdict(summary), indent=2) if as_json else _told(summary, out))  # noqa: T201


def _told(summary: ScoreSummary, out: Path) -> str:
    lines = [
        f"rows: {summary.rows_in} in, {summary.rows_scored} scored, {summary.rows_error} failed requests (not "
        f"scored), {summary.rows_unknown} of unknown items, {summary.rows_repeated} repeated, "
        f"{summary.rows_superseded} superseded",
        f"items: {summary.items} prepared, {summary.items_without_prediction} without a prediction, "
        f"{summary.items_without_gold} without a gold answer",
        f"scores: {summary.scores_written} rows in {out / 'per_item_scores.csv'}",
    ]
    if summary.unknown_examples:
        lines.append(f"unknown items: {summary.unknown_examples[0]} is the first; see score_summary.json")
    if not summary.last_line_is_ended:
        lines.append("the last line is not ended: if the table was cut, its last reply is not whole")
    return "\n".join(lines)
