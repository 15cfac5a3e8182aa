"""The commands. Each imports what it needs when it is called: ``overnight --help`` is there at once."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="overnight",
    help="Run language-model experiments overnight: complete, comparable, statistically honest by morning.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[str, typer.Argument(help="A sweep's YAML file, or the name of one that is shipped.")]
Run = Annotated[str, typer.Argument(help="A run's id, with or without run_, or the path of its folder.")]
ExperimentsDir = Annotated[Path, typer.Option(help="Where run folders are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Ask everything anew, and keep no answer for other runs.")
]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="A file in presets/, for what the config leaves open."),
]

EXPERIMENTS = Path("experiments")


@app.command()
def run(
    config: Config,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run; made from the time by default.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN]", help="Go on with a run; without a name, the newest of this experiment."
        ),
    ] = None,
    models: Annotated[str | None, typer.Option(metavar="A,B", help="Replace the config's models.")] = None,
    model_id: Annotated[str | None, typer.Option(help="One model in place of the config's.")] = None,
    prompt_sets: Annotated[str | None, typer.Option(metavar="A,B", help="Replace its prompt sets.")] = None,
    temps: Annotated[str | None, typer.Option(metavar="0,0.7", help="Replace its temperatures.")] = None,
    top_p: Annotated[str | None, typer.Option(metavar="1,0.9", help="Replace its top_p values.")] = None,
    top_k: Annotated[str | None, typer.Option(metavar="50,20", help="Replace its top_k values.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="A,B", help="Replace its datasets.")] = None,
    limit_items: Annotated[
        int | None, typer.Option(min=0, help="A seeded, stratified sample of so many items.")
    ] = None,
    no_sweep: Annotated[
        bool, typer.Option("--no-sweep", help="Leave out the config's sweep and trials; run its defaults.")
    ] = False,
    parts_per_dataset: Annotated[int | None, typer.Option(min=1, help="Slices of each dataset.")] = None,
    lines_per_part: Annotated[int | None, typer.Option(min=1, help="Items in a slice.")] = None,
    max_concurrent_jobs: Annotated[
        int | None, typer.Option(min=1, help="Requests under way at once.")
    ] = None,
    condition: Annotated[str | None, typer.Option(help="control, treatment or both.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM", help="Ask of every trial in turn, and have a report by then; the rest is left."
        ),
    ] = None,
    only_step: Annotated[str | None, typer.Option(help="Run one step.")] = None,
    from_step: Annotated[
        str | None,
        typer.Option(help="First step: prepare, build, submit, poll, parse, score, stats, costs, report."),
    ] = None,
    to_step: Annotated[str | None, typer.Option(help="Last step.")] = None,
    skip_prepare: Annotated[
        bool, typer.Option("--skip-prepare", help="Take the run's frozen items.")
    ] = False,
    skip_build: Annotated[bool, typer.Option("--skip-build", help="Take the run's built requests.")] = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Make the run folder with its plan, print it, and end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Rehearse with synthetic answers; no model is loaded.")
    ] = False,
    no_cache: NoCache = False,
    preset: PresetName = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the config.")
    ] = None,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
) -> None:
    """Run a sweep, or go on with one."""
    from overnight.cli.running import run_sweep  # noqa: PLC0415
    from overnight.cli.sweep_options import load_sweep  # noqa: PLC0415
    from overnight.spec.steps import StepRange  # noqa: PLC0415

    steps = StepRange.choose(only_step, from_step, to_step)
    sweep = load_sweep(
        config,
        no_sweep=no_sweep,
        preset=preset,
        assignments=assignments,
        changes={
            "models": models,
            "model_id": model_id,
            "prompt_sets": prompt_sets,
            "temps": temps,
            "top_p": top_p,
            "top_k": top_k,
            "datasets": datasets,
            "limit_items": limit_items,
            "parts_per_dataset": parts_per_dataset,
            "lines_per_part": lines_per_part,
            "max_concurrent_jobs": max_concurrent_jobs,
            "condition": condition,
            "deadline": deadline,
            "dry_run": True if dry_run else None,
            "no_cache": no_cache,
        },
    )
    run_sweep(
        sweep,
        run_id=run_id,
        resume=resume,
        experiments_dir=experiments_dir,
        steps=steps,
        skip_prepare=skip_prepare,
        skip_build=skip_build,
        plan_only=plan_only,
    )


@app.command()
def resume(
    run: Run,
    only_step: Annotated[str | None, typer.Option(help="Run one step.")] = None,
    from_step: Annotated[str | None, typer.Option(help="First step.")] = None,
    to_step: Annotated[str | None, typer.Option(help="Last step.")] = None,
    max_concurrent_jobs: Annotated[
        int | None, typer.Option(min=1, help="Requests under way at once.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Another deadline, or `none` to go on to the end.")
    ] = None,
    no_cache: NoCache = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of execution.")
    ] = None,
    experiments_dir: ExperimentsDir = EXPERIMENTS,
) -> None:
    """Go on with a run: what is finished is not done again."""
    from overnight.cli.running import resume_run  # noqa: PLC0415
    from overnight.spec.steps import StepRange  # noqa: PLC0415

    resume_run(
        run,
        experiments_dir=experiments_dir,
        steps=StepRange.choose(only_step, from_step, to_step),
        max_concurrent_jobs=max_concurrent_jobs,
        deadline=deadline,
        no_cache=no_cache,
        assignments=assignments,
    )


@app.command()
def plan(
    config: Config,
    limit_items: Annotated[int | None, typer.Option(min=0, help="A sample of so many items.")] = None,
    preset: PresetName = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the config.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a sweep would do: trials, requests, disk, the smallest difference it can show."""
    from overnight.cli.planning import show_plan  # noqa: PLC0415
    from overnight.cli.sweep_options import load_sweep  # noqa: PLC0415

    sweep = load_sweep(config, changes={"limit_items": limit_items}, assignments=assignments, preset=preset)
    show_plan(sweep.spec, as_json=as_json)


@app.command()
def validate(config: Config, preset: PresetName = None) -> None:
    """Check that a sweep and every file, model, prompt and dataset it names exist and can be read."""
    from overnight.cli.planning import show_valid  # noqa: PLC0415
    from overnight.cli.sweep_options import load_sweep  # noqa: PLC0415

    show_valid(load_sweep(config, changes={}, preset=preset))


@app.command(name="list")
def list_command(experiments_dir: ExperimentsDir = EXPERIMENTS, as_json: AsJson = False) -> None:
    """List the runs."""
    from overnight.cli.views import show_runs  # noqa: PLC0415

    show_runs(experiments_dir, as_json=as_json)


@app.command()
def show(run: Run, experiments_dir: ExperimentsDir = EXPERIMENTS, as_json: AsJson = False) -> None:
    """Show one run: its trials, how far they are, what they found."""
    from overnight.cli.views import show_run  # noqa: PLC0415

    show_run(experiments_dir, run, as_json=as_json)


@app.command()
def stop(run: Run, experiments_dir: ExperimentsDir = EXPERIMENTS) -> None:
    """Ask a run to stop: requests under way are finished, no new ones are sent."""
    from overnight.cli.views import stop_run  # noqa: PLC0415

    stop_run(experiments_dir, run)


@app.command()
def report(run: Run, experiments_dir: ExperimentsDir = EXPERIMENTS) -> None:
    """Write a run's reports again, from its files alone."""
    from overnight.cli.views import rebuild_report  # noqa: PLC0415

    rebuild_report(experiments_dir, run)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that sweeps can name."""
    from overnight.cli.views import show_models  # noqa: PLC0415

    show_models(as_json=as_json)
