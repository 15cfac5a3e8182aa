"""How items were asked, which tokens count, and which other models had a say in what."""

from collections.abc import Iterator

from overnight.prompting.briefs import BRIEFS
from overnight.report import wording as w
from overnight.report.sheets.sheet import Row, Sheet, yes_no
from overnight.report.uncertainty.naming import label_title, measure_title
from overnight.report.uncertainty.results import Section, UncertaintyReport
from overnight.runs.uncertainty_columns import ColumnRecord
from overnight.spec.model import ModelSpec
from overnight.spec.text_model import TextModelSpec
from overnight.spec.uncertainty_sweep import UncertaintyExperiment
from overnight.uncertainty.answer import TokenMask

_MASKS = {
    TokenMask.CONTENT: "content: tokens that wrote at least one character of the scored text",
    TokenMask.WITH_END_TOKEN: "content, and the token that ended the answer",
    TokenMask.EVERY_TOKEN: "every token",
}
_MEASURED = TokenMask.CONTENT  # under which `item_answers` counts


def asking(report: UncertaintyReport) -> Section:
    """Return how every item was asked, which models had a say, and the versions of all columns."""
    experiment = report.experiment
    if experiment is None:
        return Section(anchor="asking", heading="How it was asked and measured", sheets=())
    return Section(
        anchor="asking",
        heading="How it was asked and measured",
        sheets=(
            Sheet(
                title="Prompt and answer",
                head=("what", "value"),
                rows=tuple(_asking_rows(report, experiment)),
            ),
            Sheet(
                title="Models that had a say in the measures and labels",
                head=("role", "model", "in the results", "kind", "source", "sha256"),
                rows=tuple(_models(report, experiment)),
                n_text=6,
            ),
            Sheet(
                title="Columns and their versions",
                head=("column", "name in files", "version", "unit", "by"),
                rows=tuple(_columns(report)),
                n_text=5,
                notes=("Higher is less certain in every measure. A label is 1 for right and 0 for wrong.",),
            ),
        ),
    )


def _asking_rows(report: UncertaintyReport, experiment: UncertaintyExperiment) -> Iterator[Row]:
    asked, drawn = experiment.asking, experiment.sampling
    stops = {tuple(trial.requested["stop"]) for trial in report.run.trials}
    fewer = {slug: n for slug, n in report.fewer_shots.items() if n}
    yield "style of the instruction", asked.style.value
    yield "instruction", BRIEFS[asked.style] or "none"
    yield "said before every question", yes_no(asked.repeat_brief)
    yield "shots", f"{asked.shots}, drawn with seed {asked.shot_seed}"
    yield (
        "prompts without room for all shots",
        "; ".join(f"{report.label(slug)}: {w.counted(n, 'item')}" for slug, n in fewer.items()) or "none",
    )
    yield "passages", "shown where an item has one" if asked.with_context else "not shown"
    yield (
        "items without an answer in their passage",
        "left out" if experiment.answerable_only else "asked too",
    )
    yield "an answer ends at", "; ".join(", ".join(map(repr, stop)) or "no string" for stop in sorted(stops))
    yield "longest answer, tokens", w.count(experiment.max_new_tokens)
    yield "greedy answers", "1 for each item; all measures of one answer, and all labels, are of it"
    samples = (
        f"{drawn.samples_per_item} for each item at temperature {drawn.temperature:g}, seed {drawn.seed}"
        if drawn.samples_per_item
        else "none"
    )
    yield "further answers", samples
    yield "tokens that count", _MASKS[_MEASURED]
    limits = experiment.statistics
    yield (
        "no AUROC where",
        f"fewer than {limits.fewest_of_a_class} answers are right, or wrong; more than "
        f"{w.percent(limits.largest_missing_share, 0)} % of the values are missing; more than "
        f"{w.percent(limits.largest_tie_share, 0)} % of the pairs are tied; all scores are one",
    )
    yield (
        "intervals",
        f"{w.percent(limits.confidence, 0)} %, {w.counted(limits.resamples, 'resample')}, seed {limits.seed}",
    )


def _models(report: UncertaintyReport, experiment: UncertaintyExperiment) -> Iterator[Row]:
    sources = _sources(report)
    used = {
        "relevance of tokens": experiment.relevance,
        "entailment between samples": experiment.entailment,
        "judge of answers": experiment.judge,
    }
    for role, model in used.items():
        if model is None:
            yield role, "none", "", "", "", ""
            continue
        if isinstance(model, str):
            yield role, model, w.not_available("not resolved"), "", "", ""
            continue
        written = ", ".join(name for name in sources if name.startswith(f"{model.name}@"))
        yield (
            role,
            model.name,
            written or w.not_available("in no column"),
            _kind(model),
            model.source,
            w.short_digest(model.sha256 or "") or w.NOT_AVAILABLE,
        )


def _kind(model: TextModelSpec | ModelSpec) -> str:
    return model.kind.value if isinstance(model, TextModelSpec) else f"language model, {model.engine.value}"


def _sources(report: UncertaintyReport) -> list[str]:
    """Return every model that stands behind a column, as the columns name it."""
    found = {
        part.strip()
        for record in report.columns.values()
        for column in (*record.measures, *record.labels)
        for part in (column.source or "").split(",")
    }
    return sorted(found - {""})


def _columns(report: UncertaintyReport) -> Iterator[Row]:
    """Yield every column once; where trials have other versions of it, each of them."""
    seen: dict[Row, None] = {}
    for record in report.columns.values():
        rows = [
            *(_column(measure_title(one.name), one) for one in record.measures),
            *(_column(label_title(one.name), one) for one in record.labels),
        ]
        seen |= dict.fromkeys(rows)
    yield from seen


def _column(title: str, one: ColumnRecord) -> Row:
    return title, one.name, str(one.version), one.unit or "", one.source or ""
