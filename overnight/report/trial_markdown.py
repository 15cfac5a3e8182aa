"""The report of one trial, in Markdown."""

from collections.abc import Iterator
from itertools import chain

from overnight.ids import number_label
from overnight.records import FinishReason
from overnight.report.comparisons import Cell, McNemarRow, MetricRow
from overnight.report.markdown import banner, items_table, speed, table
from overnight.report.results import TRUNCATED_TOO_OFTEN, Example, Excerpt, Reply, RunReport, TrialReport
from overnight.report.text import cell
from overnight.report.wording import (
    HOW_TO_READ,
    NOT_AVAILABLE,
    confidence,
    count,
    hypothetical,
    interval,
    metric_name,
    moment,
    not_available,
    odds_ratio,
    percent,
    points,
    probability,
    setting,
    short_digest,
    usd,
)
from overnight.store.manifest import TrialState

N_EXAMPLES = 5


def trial_markdown(run: RunReport, trial: TrialReport) -> str:
    """Return ``report.md`` of a trial."""
    blocks = chain(
        [f"# {cell(trial.slug, limit=500)}"],
        banner(trial.is_dry_run),
        _state(trial),
        _trial_header(run, trial),
        _settings(trial),
        _prompts(trial),
        _data(run, trial),
        _counts(trial),
        _results(trial),
        _costs(trial),
        _examples(trial),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def _state(trial: TrialReport) -> list[str]:
    if trial.state is TrialState.DONE:
        return []
    why = f": {cell(trial.error, limit=1000)}" if trial.error else ""
    return [f"> **This trial is {trial.state.value}**{why}. What follows is what there is so far."]


def _trial_header(run: RunReport, trial: TrialReport) -> Iterator[str]:
    asked = trial.requested
    yield table(
        ["what", "value"],
        [
            ["model", trial.model],
            ["quantization", setting("quantization", asked.get("quantization"))],
            ["engine", setting("engine", asked.get("engine"))],
            ["run", run.run_id],
            ["state", trial.state.value],
            ["begun", moment(trial.started) or NOT_AVAILABLE],
            ["ended", moment(trial.ended) or NOT_AVAILABLE],
            ["temperatures", ", ".join(map(number_label, asked["temps"]))],
            ["draws per item", f"{asked['samples_per_item']} (1 at temperature 0)"],
            ["seed", str(asked["seed"])],
        ],
    )


def _settings(trial: TrialReport) -> Iterator[str]:
    yield "## Settings"
    effective = trial.effective
    shown = [
        key for key in trial.requested if key not in ("prompt_digests", "temps", "samples_per_item", "seed")
    ]
    shown += [key for key in effective or {} if key not in trial.requested]
    yield table(
        ["setting", "requested", "effective"],
        [
            [
                key,
                setting(key, trial.requested[key]) if key in trial.requested else "",
                setting(key, effective[key]) if effective and key in effective else "",
            ]
            for key in shown
        ],
    )
    if effective is None:
        yield "Effective settings: n/a (no answer was generated yet)."
    elif differing := trial.differing_settings():
        yield f"**Not as requested: {cell(', '.join(differing))}.**"
    else:
        yield "What was requested and what answered agree in every setting that both name."


def _prompts(trial: TrialReport) -> Iterator[str]:
    yield "## Prompts"
    yield table(
        ["arm", "prompt set", "words", "sha256"],
        [
            [
                prompt.condition.value,
                trial.prompt_set,
                count(prompt.n_words) or not_available("not in effective_config.yaml"),
                short_digest(prompt.sha256),
            ]
            for prompt in trial.prompts
        ],
    )


def _data(run: RunReport, trial: TrialReport) -> Iterator[str]:
    yield "## Data"
    yield items_table(run)
    if trial.cells:
        rows = [(part, part.metric("em")) for part in trial.cells]
        yield table(
            ["temperature", "type", "pairs", "unpaired", "pairing rate, %"],
            [
                [
                    number_label(part.temperature),
                    part.type.value,
                    count(row.n_pairs),
                    count(row.n_unpaired + row.n_half_defined),
                    percent(row.pairing_rate) or NOT_AVAILABLE,
                ]
                for part, row in rows
                if row
            ],
        )


def _counts(trial: TrialReport) -> Iterator[str]:
    yield "## Draws"
    counts = trial.counts
    yield table(
        ["expected", "done", "errors", "truncated", "truncated, %"],
        [
            [
                count(counts.expected),
                count(counts.done),
                count(counts.errors),
                count(counts.truncated),
                percent(trial.truncated_share) or NOT_AVAILABLE,
            ]
        ],
    )
    if (trial.truncated_share or 0) > TRUNCATED_TOO_OFTEN:
        yield (
            f"**Warning: {percent(trial.truncated_share)} % of the replies were cut off at the token "
            "limit.** A longer limit may change the result."
        )
    if trial.arms:
        yield table(
            ["arm", "type", "draws", "errors", "truncated", "truncated, %"],
            [
                [
                    arm.condition.value,
                    arm.type.value,
                    count(arm.n_draws),
                    count(arm.n_errors),
                    count(arm.n_truncated),
                    percent(arm.truncated_share),
                ]
                for arm in trial.arms
            ],
        )
    else:
        yield _missing(trial, "predictions.csv")


def _results(trial: TrialReport) -> Iterator[str]:
    yield "## Results"
    if not trial.cells:
        yield _missing(trial, "significance.json")
    for part in trial.cells:
        yield from _cell_results(trial, part)


def _cell_results(trial: TrialReport, part: Cell) -> Iterator[str]:
    yield f"### Temperature {number_label(part.temperature)}, {part.type.value} items"
    yield table(
        [
            "metric",
            "control, %",
            "treatment, %",
            "difference, points",
            f"{confidence((trial,))} interval",
            "p",
            "q",
            "pairs",
        ],
        [_metric_cells(row) for row in part.metrics],
    )
    if part.mcnemar:
        yield _mcnemar_table(trial, part.mcnemar)


def _metric_cells(row: MetricRow) -> list[str]:
    reason = not_available(row.undefined_because)
    return [
        metric_name(row.metric),
        percent(row.mean_control),
        percent(row.mean_treatment),
        points(row.delta) or reason,
        interval(row) or (reason if row.delta is not None else ""),
        probability(row.p_value),
        probability(row.q_value),
        count(row.n_pairs),
    ]


def _mcnemar_table(trial: TrialReport, row: McNemarRow) -> str:
    return table(
        [
            "McNemar: only treatment right (b)",
            "only control right (c)",
            f"odds ratio ({confidence((trial,))} interval)",
            "exact p",
            "q",
        ],
        [[count(row.b), count(row.c), odds_ratio(row), probability(row.p_exact), probability(row.q_value)]],
    )


def _costs(trial: TrialReport) -> Iterator[str]:
    yield "## Costs and time"
    if trial.costs is None:
        yield _missing(trial, "costs.json")
    else:
        sums = [(arm.value, tokens) for arm, tokens in trial.costs.by_condition.items()]
        unknown = not_available("the engine counts no tokens")
        yield table(
            ["arm", "draws", "prompt tokens", "completion tokens", "hypothetical hosted price"],
            [
                [
                    arm,
                    count(tokens.n_draws),
                    count(tokens.prompt_tokens) or unknown,
                    count(tokens.completion_tokens) or unknown,
                    usd(tokens.usd_if_hosted) or unknown,
                ]
                for arm, tokens in [*sums, ("all", trial.costs.total)]
            ],
        )
        yield cell(hypothetical(trial.costs.pricing))
    yield table(["inference, s", "answers per minute", "completion tokens per second"], [speed(trial)])


def _examples(trial: TrialReport) -> Iterator[str]:
    yield "## Items on which the arms differ"
    if "predictions.csv" in trial.missing:
        yield _missing(trial, "predictions.csv")
        return
    differing = [e for e in trial.examples if e.outcome.differs]
    differing += [e for e in trial.examples if not e.outcome.differs and e.replies_differ]
    if not differing:
        yield "Both arms gave the same reply to every item that was looked at."
        return
    yield table(
        ["item", "T", "question", "gold", "control", "right", "treatment", "right"],
        [_example_cells(example) for example in differing[:N_EXAMPLES]],
    )
    yield (
        f"A sample of {min(N_EXAMPLES, len(differing))} out of {count(trial.n_examples_in_all)} items and "
        "temperatures, those first on which one arm is right and the other wrong; right is the share of "
        "draws in percent. `report.html` shows more."
    )


def _example_cells(example: Example) -> list[str | Excerpt]:
    gold = "; ".join(answer.text for answer in example.answers) or "none: the passage does not answer it"
    return [
        example.item_key,
        number_label(example.temperature),
        example.question or not_available("not among the frozen items"),
        gold if example.question else NOT_AVAILABLE,
        *_reply_cells(example.control),
        *_reply_cells(example.treatment),
    ]


def _reply_cells(reply: Reply | None) -> tuple[str | Excerpt, str]:
    if reply is None:
        return not_available("this arm was not run"), ""
    if reply.finish_reason == FinishReason.ERROR:
        return not_available("the request failed"), ""
    return reply.text, percent(reply.em, 0)


def _missing(trial: TrialReport, name: str) -> str:
    return f"{NOT_AVAILABLE}: {cell(trial.missing.get(name, f'nothing in {name}'), limit=1000)}"
