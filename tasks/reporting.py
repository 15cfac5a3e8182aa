"""What is said about a whole run: comparisons, reports, and where to find them in the UI."""

from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from overnight.runs.calculating import calculating
from overnight.runs.deadline import answered
from overnight.runs.opening import load_plan, load_prompt_sweep, load_spec
from overnight.store.run_folder import RunFolder

_ARTIFACT_LIMIT = 200_000  # characters; what is larger stays on disk and slows no database


@task(name="compare-arms", cache_policy=NO_CACHE, persist_result=False)
def compare_arms(run_dir: Path, slugs: list[str]) -> None:
    """Compare control and treatment in every trial and adjust over the whole run."""
    from overnight.runs.comparing import (  # noqa: PLC0415 - SciPy, at the end only
        compare_trial,
        write_significance,
    )

    folder = RunFolder(run_dir)
    spec = load_prompt_sweep(folder)
    settings = spec.experiment.statistics
    with calculating(spec.execution):
        comparisons = {slug: compare_trial(folder, slug, settings) for slug in slugs}
        write_significance(folder, comparisons, settings)


@task(name="analyse-trials", cache_policy=NO_CACHE, persist_result=False)
def analyse_trials(run_dir: Path, slugs: list[str]) -> None:
    """Look closer at every trial: confidence, subgroups, power, models, thresholds, prices."""
    from overnight.runs.analysing import analyse_trial  # noqa: PLC0415 - statsmodels, at the end only

    folder = RunFolder(run_dir)
    spec = load_prompt_sweep(folder)
    plan = load_plan(folder, spec)
    for slug in slugs:
        trial = next(each for each in plan.trials if each.slug == slug)
        # After a deadline the tables hold fewer items than the plan.
        tabled = answered(folder, plan, trial)
        with calculating(spec.execution):
            failed = analyse_trial(folder, tabled, slug, spec)
        for name, reason in failed.items():
            get_run_logger().warning("%s: %s could not be made: %s", slug, name, reason)


def report_key(kind: str) -> str:
    """Return the name of the artifact that the report of a run is: one history of reports a kind."""
    return f"{kind}-report"


@task(name="write-reports", cache_policy=NO_CACHE, persist_result=False)
def report(run_dir: Path) -> None:
    """Write the reports of a run from its files, and show the main one in the UI."""
    from overnight.report.writing import write_reports  # noqa: PLC0415 - matplotlib, at the end only

    folder = RunFolder(run_dir)
    spec = load_spec(folder)
    with calculating(spec.execution):
        write_reports(folder)
    text = folder.aggregate_report.read_text(encoding="utf-8")
    create_markdown_artifact(
        text if len(text) <= _ARTIFACT_LIMIT else f"The report is in `{folder.aggregate_report}`.",
        key=report_key(spec.kind),
        description=f"run {folder.run_id}",
    )
