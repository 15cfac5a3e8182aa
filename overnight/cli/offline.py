"""Commands that need no run: scores, statistics, costs and prompts from files that somebody has."""

from pathlib import Path
from typing import Annotated

import typer

from overnight.cli.app import EXPERIMENTS, AsJson, ExperimentsDir, Run, app
from overnight.errors import UsageError

Seed = Annotated[int, typer.Option(help="Of every resampling.")]
Resamples = Annotated[int, typer.Option(min=1, help="Of each bootstrap and each sign-flip test.")]


@app.command()
def costs(
    pred_csv: Annotated[Path | None, typer.Option(help="A predictions.csv.")] = None,
    usage_json: Annotated[
        Path | None, typer.Option(help="A JSON file with token counts; wins over --pred_csv.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="A sweep whose execution.pricing is taken.")] = None,
    model: Annotated[str | None, typer.Option(help="Whose row of the config's price table counts.")] = None,
    input_per_million: Annotated[
        float | None, typer.Option(help="USD per million prompt tokens; 0.15 without a config.")
    ] = None,
    output_per_million: Annotated[
        float | None, typer.Option(help="USD per million completion tokens; 0.60 without a config.")
    ] = None,
    batch_discount: Annotated[
        float | None, typer.Option(help="Multiplier of both prices; 1 without a config.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Take its arm's mean for an answer without token counts.")
    ] = False,
    out_path: Annotated[Path | None, typer.Option(help="Write the JSON there as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the tokens of a file would cost at a hosted service."""
    from overnight.cli.costing import price_files, show_costs  # noqa: PLC0415

    prices = {
        "input_per_million": input_per_million,
        "output_per_million": output_per_million,
        "batch_discount": batch_discount,
    }
    record = price_files(pred_csv, usage_json, config=config, model=model, prices=prices, estimate=estimate)
    show_costs(record, out_path, as_json=as_json)


@app.command(name="audit-prompts")
def audit_prompts(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG|PROMPT_SET]...", help="Sweeps or prompt sets; all sets by default."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose tokens to count, if it was measured; the sweep's first.")
    ] = None,
    input_per_million: Annotated[
        float | None, typer.Option(help="USD per million prompt tokens; the sweep's, or 0.15.")
    ] = None,
    out_json: Annotated[Path | None, typer.Option(help="Write the JSON there as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how long system prompts are, what they cost, and what in them contradicts the task."""
    from overnight.cli.auditing import audit_named, show_audit  # noqa: PLC0415

    record = audit_named(names or [], model=model, input_per_million=input_per_million)
    show_audit(record, out_json, as_json=as_json)


@app.command()
def score(
    pred_csv: Annotated[Path, typer.Option(help="Predictions: custom_id and response_text at least.")],
    prepared_dir: Annotated[Path, typer.Option(help="A run folder, or a folder of prepared items.")],
    out_dir: Annotated[Path, typer.Option(help="Where per_item_scores.csv goes, and squad.json.")],
    rouge_l: Annotated[bool, typer.Option("--rouge-l", help="Compute ROUGE-L too.")] = False,
    strategy: Annotated[
        str, typer.Option(help="When a passage bears a claim out: overlap, baseline.")
    ] = "overlap",
    min_token_overlap: Annotated[
        float, typer.Option(help="Share of a reply's words that its passage must have.")
    ] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Score a table of predictions, in whatever order it is, without its run."""
    from overnight.cli.scoring import score_table  # noqa: PLC0415

    score_table(
        pred_csv,
        prepared_dir,
        out_dir,
        strategy=strategy,
        min_token_overlap=min_token_overlap,
        with_rouge=rouge_l,
        as_json=as_json,
    )


@app.command(name="import")
def import_(
    tool: Annotated[
        str,
        typer.Argument(
            metavar="lm-eval|inspect|generations",
            help="Whose logs they are; generations is validation_generations.pkl of semantic-uncertainty scripts.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Logs, or folders of logs.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Which metric to compare; needed where the logs have several.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Which task, where the logs are of several; of generations: the dataset's name."),
    ] = None,
    filter_name: Annotated[
        str | None,
        typer.Option("--filter", help="Which filter of lm-evaluation-harness, where there are several."),
    ] = None,
    identify_by: Annotated[
        str, typer.Option(metavar="content|id", help="What makes two rows the same item.")
    ] = "content",
    common_items: Annotated[
        bool, typer.Option("--common-items", help="Compare on the items that every log has.")
    ] = False,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Take evaluations that did not end well, as far as they came."),
    ] = False,
    seed: Seed = 1337,
    resamples: Resamples = 5000,
    as_json: AsJson = False,
) -> None:
    """Compare systems from per-item logs of other tools, or measure the uncertainty of answers with their tokens."""
    from overnight.cli.importing import import_command, import_options  # noqa: PLC0415

    options = import_options(
        metric=metric,
        task=task,
        filter_name=filter_name,
        identify_by=identify_by,
        is_common_only=common_items,
        is_partial_allowed=unfinished,
        seed=seed,
        n_resamples=resamples,
    )
    import_command(tool, paths or [], out, options, as_json=as_json)


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="A B [C ...]", help="Runs by id or path, or trials as RUN/SLUG.")
    ],
    across_models: Annotated[
        bool, typer.Option("--across-models", help="Compare trials that different models answered.")
    ] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Compare trials that are not done, as far as they are.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report and its numbers to this folder.")] = None,
    seed: Seed = 1337,
    resamples: Resamples = 5000,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Compare runs or trials over the same items, item by item, arm by arm."""
    from overnight.cli.comparing import compare_command  # noqa: PLC0415
    from overnight.runs.side_by_side import CompareOptions  # noqa: PLC0415

    options = CompareOptions(
        is_across_models=across_models, is_partial_allowed=unfinished, seed=seed, n_resamples=resamples
    )
    compare_command(experiments_dir, runs, out, options, as_json=as_json)


@app.command()
def stats(
    per_item_csv: Annotated[
        Path,
        typer.Option(help="A per_item_scores.csv, or a table of one line an item and one column a system."),
    ],
    out_path: Annotated[
        Path, typer.Option(help="A .json file, or a folder for significance.json or comparisons.json.")
    ],
    metric: Annotated[str | None, typer.Option(help="Which metric of a table of systems.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of each bootstrap and each sign-flip test.")] = 5000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of every random stream.")] = 1337,
) -> None:
    """Compare the arms, or the systems, of a table of scores item by item."""
    from overnight.cli.statistics import show_statistics  # noqa: PLC0415

    show_statistics(
        per_item_csv, out_path, metric=metric, resamples=resamples, confidence=confidence, seed=seed
    )


@app.command()
def doctor(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run's id or folder; without one, this machine is examined."),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Of the machine: ask the Hugging Face hub as well.")
    ] = False,
    conformance: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hold this model with two engines, one after the other, and say whether they answer the same.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --conformance: the GGUF file of a model that is served or is a folder."
        ),
    ] = None,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a run, by measured values, and which setting to change; or examine this machine."""
    if conformance is not None or against is not None:
        from overnight.cli.doctoring_conformance import examine_conformance  # noqa: PLC0415

        if conformance is None:
            raise UsageError("--against FILE: found without a model; name it with --conformance MODEL")
        if run is not None or online:
            raise UsageError("--conformance MODEL [--against FILE] stands alone; take RUN and --online out")
        examine_conformance(conformance, against, as_json=as_json)
        return
    if run is not None:
        from overnight.cli.doctoring import examine_run  # noqa: PLC0415

        examine_run(run, experiments_dir, as_json=as_json)
        return
    from overnight.cli.doctoring_machine import examine_machine  # noqa: PLC0415

    examine_machine(experiments_dir, is_online=online, as_json=as_json)


@app.command()
def reproject(
    run: Run,
    traits: Annotated[
        str, typer.Option(metavar="A,B", help="Names in config/traits, or folders of contrastive texts.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the folder in the run; made of the traits' names by default.")
    ] = None,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
) -> None:
    """Project the states that a capture kept on the vectors of other traits; no model is loaded."""
    from overnight.cli.reprojecting import show_reprojection  # noqa: PLC0415

    show_reprojection(experiments_dir, run, traits, name)


@app.command()
def verify(run: Run, experiments_dir: ExperimentsDir = EXPERIMENTS, as_json: AsJson = False) -> None:
    """Check every file of a run against its digest, and those of captures against their schemas; 1 if one differs."""
    from overnight.cli.verifying import show_verification  # noqa: PLC0415

    show_verification(experiments_dir, run, as_json=as_json)


@app.command()
def fit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name in config/models, a GGUF file, or a folder with safetensors."
        ),
    ],
    slots: Annotated[int | None, typer.Option(min=1, help="Only with so many requests at once.")] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="Only with a context of so many tokens for each of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what memory a model needs, what is free, and with which settings it would be held; nothing is loaded."""
    from overnight.cli.fitting import show_fit  # noqa: PLC0415

    show_fit(model, slots, context, as_json=as_json)


@app.command(name="fit-lens")
def fit_lens(
    lens: Annotated[
        str, typer.Argument(metavar="LENS", help="A name in config/lenses, or the YAML file of a lens.")
    ],
    model: Annotated[
        str, typer.Option(help="A name in config/models, or a folder with safetensors.")
    ] = "smollm2-135m-instruct-fp32",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the lens, or execution.KEY."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a lens to a model, or go on with a fit that was interrupted; one that is fitted is found."""
    from overnight.cli.fitting_lenses import fit_lens_command  # noqa: PLC0415

    fit_lens_command(lens, model, assignments or (), as_json=as_json)


@app.command()
def tune(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name in config/models, a GGUF file, or a folder with safetensors."
        ),
    ],
    minutes: Annotated[float, typer.Option(min=0.1, help="That measuring may take, loads included.")] = 5,
    preset_name: Annotated[
        str | None, typer.Option(help="Of the preset that is written; tuned-MODEL by default.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="The longest answer that is asked for, as your sweep has it.")
    ] = 64,
    memory_limit_gib: Annotated[
        float | None, typer.Option(min=0.001, help="That the model's process may take for itself.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would be measured; load nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a few settings of a model on this machine, and write the fastest that fits as a preset."""
    from overnight.cli.tuning import tune_command  # noqa: PLC0415

    tune_command(
        model,
        minutes=minutes,
        preset_name=preset_name,
        max_new_tokens=max_new_tokens,
        memory_limit_gib=memory_limit_gib,
        is_dry=dry,
        as_json=as_json,
    )
