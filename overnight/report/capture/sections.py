"""The sections of the reports, in their order."""

from overnight.report import wording as w
from overnight.report.capture.findings import captured_worths, findings
from overnight.report.capture.naming import cell_text, point_title, quantities, value_text, where_shown
from overnight.report.capture.results import CapturedModel, CaptureReport
from overnight.report.sheets.sheet import Row, Sheet, yes_no
from overnight.report.uncertainty.results import Section

_LONG = 160  # characters of a prompt in a table


def sections_of(report: CaptureReport) -> list[Section]:
    """Return what a capture says; sections without anything in them are left out."""
    found = [_findings(report), _worth(report), _groups(report), _alike(report), _prompts(report)]
    return [section for section in found if not section.is_empty]


def _findings(report: CaptureReport) -> Section:
    return Section(anchor="findings", heading="Findings", sheets=(), paragraphs=tuple(findings(report)))


def _worth(report: CaptureReport) -> Section:
    return Section(
        anchor="worth",
        heading="What the vectors are worth",
        sheets=tuple(_worth_sheet(report, model) for model in report.models),
    )


def _worth_sheet(report: CaptureReport, model: CapturedModel) -> Sheet:
    return Sheet(
        title=_title(report, "On texts that the vectors were not made from", model),
        head=(
            "trait",
            "method",
            "where",
            "better than chance",
            "held-out accuracy, %",
            "chance reaches, %",
            "p, permuted labels",
            "p, random directions",
            "Cohen's d",
            "AUROC",
            "texts",
            "folds",
        ),
        rows=tuple(
            (
                one.trait,
                one.method.replace("_", " "),
                point_title(one.chosen),
                yes_no(one.is_better_than_null) or w.NOT_AVAILABLE,
                w.percent(one.held_out.accuracy) or w.not_available(one.at_chosen.undefined_because),
                w.percent(one.at_chosen.null_p95) or w.NOT_AVAILABLE,
                w.probability(one.p_permuted) or w.NOT_AVAILABLE,
                w.probability(one.p_random) or w.NOT_AVAILABLE,
                w.decimal(one.held_out.cohens_d, 2) or w.NOT_AVAILABLE,
                w.decimal(one.held_out.auroc, 3) or w.NOT_AVAILABLE,
                w.count(one.n_positive + one.n_negative),
                w.count(one.n_folds),
            )
            for one in captured_worths(model)
        ),
        n_text=4,
        notes=(
            *(
                (
                    "Chance reaches: the accuracy at that layer which one draw in twenty of permuted labels or random "
                    "directions has, the higher of the two. Better than chance: both p below 0.05.",
                )
                if model.validity
                else ()
            ),
            *model.missing,
        ),
    )


def _groups(report: CaptureReport) -> Section:
    return Section(
        anchor="groups",
        heading="Groups and traits",
        sheets=tuple(_group_sheet(report, model) for model in report.models if model.traits),
    )


def _group_sheet(report: CaptureReport, model: CapturedModel) -> Sheet:
    def row(group: str) -> Row:
        asked = [one for one in report.prompts if (one.model, one.group) == (model.name, group)]
        n_captured = sum(one.error is None for one in asked)
        cells = (cell_text(report.cell(model.name, group, shown.trait)) for shown in model.traits)
        return (group, f"{n_captured} of {len(asked)}", *cells)

    return Sheet(
        title=_title(
            report, f"Mean {quantities(model)} over the tokens of replies, then over prompts", model
        ),
        head=("group", "prompts", *(shown.trait for shown in model.traits)),
        rows=tuple(row(group) for group in report.groups(model.name)),
        n_text=2,
        notes=(f"Taken at: {'; '.join(f'{shown.trait} {where_shown(shown)}' for shown in model.traits)}.",),
    )


def _alike(report: CaptureReport) -> Section:
    return Section(
        anchor="alike",
        heading="How alike the vectors are",
        sheets=tuple(
            Sheet(
                title=_title(report, "Cosines between the vectors", model),
                head=("trait", *model.superposition.traits),
                rows=tuple(
                    (trait, *(w.decimal(value, 2) or w.not_available("no length") for value in row))
                    for trait, row in zip(
                        model.superposition.traits, model.superposition.cosines, strict=True
                    )
                ),
                n_text=1,
                notes=("Two traits whose vectors are alike cannot be told apart by projections.",),
            )
            for model in report.models
            if model.superposition
        ),
    )


def _prompts(report: CaptureReport) -> Section:
    return Section(
        anchor="prompts",
        heading="Prompts",
        sheets=(
            Sheet(
                title="Prompts that failed",
                head=("prompt", "group", "model", "why"),
                rows=tuple((one.prompt_id, one.group, one.model, one.error or "") for one in report.failed),
                n_text=4,
            ),
            *(_prompt_sheet(report, model) for model in report.models if model.traits),
        ),
        n_open=1,
    )


def _prompt_sheet(report: CaptureReport, model: CapturedModel) -> Sheet:
    return Sheet(
        title=_title(report, f"Mean {quantities(model)} over the reply, by prompt", model),
        head=(
            "prompt",
            "group",
            "text",
            "tokens of prompt",
            "of reply",
            *(one.trait for one in model.traits),
        ),
        rows=tuple(
            (
                one.prompt_id,
                one.group,
                w.shortened(one.prompt, _LONG),
                w.count(one.n_prompt),
                f"{w.count(one.n_tokens - one.n_prompt)}{' (cut off)' if one.finish_reason == 'length' else ''}",
                *(
                    value_text(one.means.get(shown.trait)) or w.not_available("undefined")
                    for shown in model.traits
                ),
            )
            for one in report.prompts
            if one.model == model.name and one.error is None
        ),
        n_text=3,
    )


def _title(report: CaptureReport, title: str, model: CapturedModel) -> str:
    return f"{title}, {model.name}" if len(report.models) > 1 else title


def where(report: CaptureReport) -> list[list[str]]:
    """Return what lies where in the folder of a run."""
    run = report.run
    return [
        ["this run on one page, token by token", "report.html"],
        ["a row a token, point and trait; exact numbers", "TRIAL/results/projections.parquet"],
        ["a row a prompt, trait and point: means, peaks, dynamics", "TRIAL/results/summary.csv"],
        ["a line a prompt: text, reply, tokens, where its states are", "TRIAL/results/captures.jsonl"],
        ["which tensors the files of a trial hold", "TRIAL/results/index.json"],
        ["vectors, what they are worth, how alike they are", "vectors/MODEL/"],
        ["figures; those of single prompts in figures/prompts/", "figures/"],
        ["what ran, how far, with what", "manifest.json"],
        ["the configuration, which can be run again", "effective_config.yaml"],
        *([["what the machine did, sample by sample", "telemetry/"]] if run.telemetry else []),
        *([f"trial: {trial.label}", f"{trial.slug}/"] for trial in run.trials),
    ]
