"""Reports in Markdown: one a trial, one for the run."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from overnight.ids import number_label
from overnight.records import Condition, FinishReason, ItemType
from overnight.report.results import (
    Cell,
    Example,
    Excerpt,
    McNemarRow,
    MetricRow,
    Reply,
    RunReport,
    TrialReport,
)
from overnight.report.text import CELL_CHARS, cell
from overnight.report.verdict import verdict
from overnight.report.wording import (
    ARROW,
    DRY_RUN,
    HOW_TO_READ,
    NOT_AVAILABLE,
    TRUNCATED_TOO_OFTEN,
    change,
    confidence,
    count,
    decimal,
    environment_rows,
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
_OPEN_ONLY = ("abstain_rate", "false_answer_rate", "unsupported_rate")
_COMPARED = tuple((kind, metric) for metric in ("em", "f1") for kind in ItemType)


def trial_markdown(run: RunReport, trial: TrialReport) -> str:
    """Return ``report.md`` of a trial."""
    blocks = chain(
        [f"# {cell(trial.slug, limit=500)}"],
        _banner(trial.is_dry_run),
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


def run_markdown(run: RunReport) -> str:
    """Return ``aggregate_report.md``."""
    blocks = chain(
        [f"# {cell(run.name)}, run {cell(run.run_id)}"],
        _banner(run.is_dry_run),
        [cell(verdict(run), limit=5000)],
        [cell(run.description, limit=2000)] if run.description else [],
        [f"- {cell(note)}" for note in run.notes],
        _all_trials(run),
        _reliability(run),
        _unfinished(run),
        _how_it_was_run(run),
        _where(run),
        ["## How to read this", *HOW_TO_READ],
    )
    return "\n\n".join(blocks) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str | Excerpt]], *, limit: int = CELL_CHARS) -> str:
    """Return a Markdown table; the texts are escaped here."""

    def escaped(text: str | Excerpt) -> str:
        if isinstance(text, Excerpt):
            return cell(text.text, limit=limit, n_chars=text.n_chars)
        return cell(text, limit=limit)

    lines = [head, ["---"] * len(head), *(list(map(escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _banner(is_dry_run: bool) -> list[str]:
    return [f"> **{DRY_RUN}**"] if is_dry_run else []


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
    yield _items_table(run)
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


def _items_table(run: RunReport) -> str:
    return table(
        ["dataset", "type", "items", "answerable", "unanswerable"],
        [
            [
                d.dataset,
                d.type.value,
                count(d.n_items),
                count(d.n_items - d.n_unanswerable),
                count(d.n_unanswerable),
            ]
            for d in run.items
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
            f"**Warning: {percent(trial.truncated_share)} % of the replies were cut off at the token limit.** "
            "A longer limit may change the result."
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
    yield table(["inference, s", "answers per minute", "completion tokens per second"], [_speed(trial)])


def _speed(trial: TrialReport) -> list[str]:
    return [
        decimal(trial.inference_s) or NOT_AVAILABLE,
        decimal(trial.answers_per_minute) or NOT_AVAILABLE,
        decimal(trial.tokens_per_second) or NOT_AVAILABLE,
    ]


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
        "temperatures, those first on which one arm is right and the other wrong; right is the share of draws "
        "in percent. `report.html` shows more."
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


def _all_trials(run: RunReport) -> Iterator[str]:
    yield "## All trials"
    if not any(trial.cells for trial in run.trials):
        yield "No trial has been compared yet."
        return
    yield table(
        [trial_heading(run), "model", "T", *(f"{metric_name(m)}, {kind.value}" for kind, m in _COMPARED)],
        [
            [
                trial.label,
                trial.model,
                number_label(temperature),
                *(change(_comparison(trial, temperature, kind, metric)) for kind, metric in _COMPARED),
            ]
            for trial, temperature in _arms(run)
        ],
    )
    yield _note_on_changes(run)
    yield "## Abstention and false answers on open items"
    yield table(
        ["trial", "T", *map(metric_name, _OPEN_ONLY)],
        [
            [
                trial.label,
                number_label(temperature),
                *(change(_comparison(trial, temperature, ItemType.OPEN, metric)) for metric in _OPEN_ONLY),
            ]
            for trial, temperature in _arms(run)
        ],
    )


def _note_on_changes(run: RunReport) -> str:
    return (
        f"Control {ARROW} treatment in percent; in parentheses the difference in percentage points, its "
        f"{confidence(run.trials)} interval, and q over all comparisons of the run."
    )


def _arms(run: RunReport) -> list[tuple[TrialReport, float]]:
    return [(trial, t) for trial in run.trials for t in sorted({part.temperature for part in trial.cells})]


def _comparison(trial: TrialReport, temperature: float, kind: ItemType, metric: str) -> MetricRow | None:
    cells = (part for part in trial.cells if (part.temperature, part.type) == (temperature, kind))
    return next((part.metric(metric) for part in cells), None)


def _reliability(run: RunReport) -> Iterator[str]:
    yield "## Draws and truncation"
    yield table(
        [
            "trial",
            "state",
            "expected",
            "done",
            "errors",
            "truncated, %",
            *(f"{c.value}, %" for c in Condition),
        ],
        [
            [
                trial.label,
                trial.state.value,
                count(trial.counts.expected),
                count(trial.counts.done),
                count(trial.counts.errors),
                percent(trial.truncated_share) or NOT_AVAILABLE,
                *(percent(truncated_share(trial, condition)) or NOT_AVAILABLE for condition in Condition),
            ]
            for trial in run.trials
        ],
    )
    if worst := [t for t in run.trials if (t.truncated_share or 0) > TRUNCATED_TOO_OFTEN]:
        names = ", ".join(cell(trial.label) for trial in worst)
        yield f"**Warning: more than 10 % of the replies were cut off at the token limit in {names}.**"


def _unfinished(run: RunReport) -> Iterator[str]:
    if not run.unfinished and run.error is None:
        return
    yield "## Not ended well"
    if run.error:
        yield f"The run is {run.state.value}: {cell(run.error, limit=1000)}"
    if run.unfinished:
        yield table(
            ["trial", "state", "reason"],
            [
                [trial.slug, trial.state.value, trial.error or why_unfinished(trial)]
                for trial in run.unfinished
            ],
            limit=1000,
        )


def _how_it_was_run(run: RunReport) -> Iterator[str]:
    yield "## How it was run"
    yield table(
        ["model", "loads", "restarts", "last load, s"],
        [
            [b.model, count(b.loads), count(b.restarts), decimal(b.load_s) or NOT_AVAILABLE]
            for b in run.blocks
        ],
    )
    yield table(
        ["trial", "inference, s", "answers per minute", "completion tokens per second"],
        [[trial.label, *_speed(trial)] for trial in run.trials],
    )
    yield _items_table(run)
    yield table(
        ["what", "value"],
        [
            ["run", run.run_id],
            ["state", run.state.value],
            ["created", moment(run.created)],
            ["last change", moment(run.updated)],
            ["requests at once", setting("concurrency", run.execution.get("max_concurrent_requests"))],
            *environment_rows(run),
        ],
        limit=1000,
    )


def _where(run: RunReport) -> Iterator[str]:
    yield "## Where the files are"
    yield "All names are relative to the folder of the run."
    yield table(["what", "file"], where_rows(run), limit=1000)


def where_rows(run: RunReport) -> list[list[str]]:
    """Return what lies where in the folder of a run."""
    return [
        ["this run on one page, with examples", "report.html"],
        ["every comparison as numbers", "summary.csv"],
        ["figures", "figures/"],
        ["what ran, how far, with what", "manifest.json"],
        ["the configuration, which can be run again", "effective_config.yaml"],
        ["the questions as they were asked", "items/"],
        *([f"report of {trial.label}", f"{trial.slug}/reports/report.md"] for trial in run.trials),
    ]


def trial_heading(run: RunReport) -> str:
    """Return what the labels of a run's trials are."""
    return "prompt set" if all(trial.label == trial.prompt_set for trial in run.trials) else "trial"


def truncated_share(trial: TrialReport, condition: Condition) -> float | None:
    """Return the share of an arm's answered draws that were cut off, over both types."""
    arms = [arm for arm in trial.arms if arm.condition is condition]
    answered = sum(arm.n_draws - arm.n_errors for arm in arms)
    return sum(arm.n_truncated for arm in arms) / answered if answered else None


def why_unfinished(trial: TrialReport) -> str:
    """Return what the state of a trial means."""
    return {
        TrialState.PLANNED: "never begun",
        TrialState.RUNNING: "still running, or its process was killed",
        TrialState.PARTIAL: "only some of its steps were asked for",
        TrialState.STOPPED: "somebody asked it to stop",
    }.get(trial.state, NOT_AVAILABLE)
