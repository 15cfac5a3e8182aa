"""The report of one trial, in Markdown."""

from collections.abc import Iterator
from itertools import chain

from overnight.ids import number_label
from overnight.records import Condition
from overnight.report.markdown import banner, items_table, missing, sheets_markdown, speed, table
from overnight.report.results import PromptText, RunReport, TrialReport
from overnight.report.sheets.collecting import analysis_sheets
from overnight.report.sheets.invariance import audit_of_trial
from overnight.report.sheets.ladder import steps_of_trial
from overnight.report.sheets.machine import HEADING as MACHINE
from overnight.report.sheets.machine import machine_sheets
from overnight.report.sheets.prices import local_costs
from overnight.report.text import cell
from overnight.report.trial_examples import examples
from overnight.report.trial_results import results, significance
from overnight.report.wording import (
    HOW_TO_READ,
    NOT_AVAILABLE,
    count,
    decimal,
    hypothetical,
    moment,
    not_available,
    percent,
    setting,
    short_digest,
    usd,
)
from overnight.store.manifest import TrialState


def trial_markdown(run: RunReport, trial: TrialReport) -> str:
    """Return ``report.md`` of a trial."""
    blocks = chain(
        [f"# {cell(trial.slug, limit=500)}"],
        banner(trial.is_dry_run),
        how_it_ended(trial),
        _trial_header(run, trial),
        settings_tables(trial),
        _prompts(trial),
        _data(run, trial),
        _counts(trial),
        results(trial),
        significance(trial),
        _analyses(trial),
        _costs(trial),
        machine_tables(run, trial),
        examples(trial),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def how_it_ended(trial: TrialReport) -> list[str]:
    """Return what stands above the report of a trial that did not come to its end."""
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


def settings_tables(trial: TrialReport) -> Iterator[str]:
    """Yield the section on what was asked for and what answered."""
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
    yield from sheets_markdown([steps_of_trial(trial)])


def _prompts(trial: TrialReport) -> Iterator[str]:
    yield "## Prompts"
    yield table(
        ["arm", "prompt set", "words", "sha256", "prompt tokens per request, mean"],
        [
            [
                prompt.condition.value,
                trial.prompt_set,
                count(prompt.n_words) or not_available("not in effective_config.yaml"),
                short_digest(prompt.sha256),
                decimal(_request_tokens(trial, prompt)) or NOT_AVAILABLE,
            ]
            for prompt in trial.prompts
        ],
    )


def _request_tokens(trial: TrialReport, prompt: PromptText) -> float | None:
    """Return how long the requests of an arm were: system prompt, task and passage, as the engine counted."""
    sums = trial.costs.by_condition.get(prompt.condition) if trial.costs else None
    return sums.prompt_tokens_per_draw if sums else None


def _data(run: RunReport, trial: TrialReport) -> Iterator[str]:
    yield "## Data balance"
    yield items_table(run)
    if trial.arms:
        kinds = sorted({arm.type for arm in trial.arms})
        answered = {(arm.type, arm.condition): arm.n_answered for arm in trial.arms}
        yield table(
            ["type", "answered, control", "answered, treatment", "treatment / control"],
            [
                [
                    kind.value,
                    *(count(answered.get((kind, arm))) or NOT_AVAILABLE for arm in Condition),
                    _ratio(*(answered.get((kind, arm)) for arm in (Condition.TREATMENT, Condition.CONTROL))),
                ]
                for kind in kinds
            ],
        )
    if trial.cells:
        rows = [(part, part.metric("em")) for part in trial.cells]
        yield table(
            ["temperature", "type", "pairs", "clusters", "unpaired", "pairing rate, %"],
            [
                [
                    number_label(part.temperature),
                    part.type.value,
                    count(row.n_pairs),
                    count(part.n_clusters) or NOT_AVAILABLE,
                    count(row.n_unpaired + row.n_half_defined),
                    percent(row.pairing_rate) or NOT_AVAILABLE,
                ]
                for part, row in rows
                if row
            ],
        )


def _ratio(above: int | None, below: int | None) -> str:
    return decimal(above / below, 3) if above is not None and below else NOT_AVAILABLE


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
    if cut := trial.truncated_too_often():
        arms = "; ".join(
            f"{percent(arm.truncated_share)} % of the {arm.type} replies of {arm.condition}" for arm in cut
        )
        yield f"**Warning: cut off at the token limit: {arms}.** A longer limit may change the result."
    if trial.arms:
        yield table(
            ["arm", "type", "draws", "errors", "truncated", "truncated, %", "empty", "empty, %"],
            [
                [
                    arm.condition.value,
                    arm.type.value,
                    count(arm.n_draws),
                    count(arm.n_errors),
                    count(arm.n_truncated),
                    percent(arm.truncated_share),
                    count(arm.n_empty),
                    percent(arm.empty_share),
                ]
                for arm in trial.arms
            ],
        )
    else:
        yield missing(trial, "predictions.csv")
    yield from sheets_markdown([audit_of_trial(trial)])


def _analyses(trial: TrialReport) -> Iterator[str]:
    for heading, sheets in analysis_sheets(trial):
        yield f"## {cell(heading)}"
        yield from sheets_markdown(sheets, under=heading)


def _costs(trial: TrialReport) -> Iterator[str]:
    yield "## Costs and time"
    if trial.costs is None:
        yield missing(trial, "costs.json")
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
        if here := local_costs((trial,)):
            yield from sheets_markdown((here,))
    yield table(["inference, s", "answers per minute", "completion tokens per second"], [speed(trial)])


def machine_tables(run: RunReport, trial: TrialReport) -> Iterator[str]:
    """Yield the section on what the machine did during a trial, where it was watched."""
    if sheets := machine_sheets(run, (trial,)):
        yield f"## {MACHINE}"
        yield from sheets_markdown(sheets)
