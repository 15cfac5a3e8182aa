"""From the rows of ``audit.jsonl`` to what they come to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from overnight.ids import split_custom_id
from overnight.invariance.parting import Kind, kind_of
from overnight.invariance.record import (
    ArmTally,
    AuditRecord,
    Mismatch,
    PromptTokens,
    Spread,
    Tally,
)
from overnight.records import Condition
from overnight.stats.exact_rate import exact_interval
from overnight.store.journal import Row, is_done

_MOST_EXAMPLES = 5


def tally(
    rows: Mapping[str, Row],
    *,
    state: Literal["complete", "incomplete", "skipped"],
    why: str | None,
    n_draws: int,
    n_chosen: int,
    confidence: float,
    tie_gap: float,
) -> AuditRecord:
    """Return the record of some rows.

    Args:
        rows: of ``audit.jsonl`` by their custom ids, the last one of each.
        state: of the audit.
        why: it is not complete.
        n_draws: that could be chosen.
        n_chosen: that were.
        confidence: of the intervals.
        tie_gap: nats.
    """
    done = [_judged_again(row, tie_gap) for row in rows.values() if is_done(row)]
    by_arm: dict[tuple[Condition, float], list[Row]] = {}
    for row in done:
        _, _, condition, temperature, _, _ = split_custom_id(row["custom_id"])
        by_arm.setdefault((Condition(condition), temperature), []).append(row)
    return AuditRecord(
        state=state,
        why=why,
        n_draws=n_draws,
        n_chosen=n_chosen,
        n_errors=len(rows) - len(done),
        confidence=confidence,
        tie_gap=tie_gap,
        all=Tally(**_counted(done, confidence)),
        arms=tuple(
            ArmTally(condition=condition, temperature=temperature, **_counted(found, confidence))
            for (condition, temperature), found in sorted(by_arm.items())
        ),
        prompt_tokens=_prompt_tokens(done),
        mean_logprobs=_spread(done),
    )


def _judged_again(row: Row, tie_gap: float) -> Row:
    """Return a row by the tolerance of now, which may be another one than when it was asked."""
    if row["kind"] in (Kind.TIE.value, Kind.REAL.value):
        return row | {"kind": kind_of(row["gap"], tie_gap).value}
    return row


def _counted(rows: Sequence[Row], confidence: float) -> dict[str, Any]:
    kinds = Counter(Kind(row["kind"]) for row in rows)
    n, n_identical = len(rows), kinds[Kind.IDENTICAL]
    return {
        "n": n,
        "n_identical": n_identical,
        "n_different": n - n_identical,
        "n_ties": kinds[Kind.TIE],
        "n_real": kinds[Kind.REAL],
        "n_not_known": kinds[Kind.NOT_KNOWN],
        "rate": (n - n_identical) / n if n else None,
        "interval": exact_interval(n - n_identical, n, confidence),
        "undefined_because": None if n else "no draw was asked again",
    }


def _prompt_tokens(rows: Sequence[Row]) -> PromptTokens:
    compared = [row for row in rows if row["counted_tokens"] is not None and row["prompt_tokens"] is not None]
    other = [row for row in compared if row["counted_tokens"] != row["prompt_tokens"]]
    return PromptTokens(
        n=len(compared),
        n_different=len(other),
        examples=tuple(
            Mismatch(
                custom_id=row["custom_id"], evaluated=row["prompt_tokens"], counted=row["counted_tokens"]
            )
            for row in other[:_MOST_EXAMPLES]
        ),
        undefined_because=None
        if compared
        else "the engine does not count tokens, or nothing was asked again",
    )


def _spread(rows: Sequence[Row]) -> Spread:
    apart = [
        abs(row["mean_logprob_alone"] - row["mean_logprob"])
        for row in rows
        if row["kind"] == Kind.IDENTICAL.value
        and row["mean_logprob_alone"] is not None
        and row["mean_logprob"] is not None
    ]
    return Spread(
        n=len(apart),
        largest=max(apart, default=None),
        undefined_because=None if apart else "no answer with log-probabilities came out the same",
    )
