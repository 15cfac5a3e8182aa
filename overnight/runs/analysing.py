"""The analyses of the stats step: one file each, none of which can take another, or the run, down with it."""

import gc
from collections.abc import Callable, Mapping
from types import MappingProxyType

from overnight.planning.plan import Plan
from overnight.runs.analyses.cost_effectiveness import cost_effectiveness_record
from overnight.runs.analyses.models import models_record
from overnight.runs.analyses.power import power_record
from overnight.runs.analyses.selective_risk import selective_risk_record
from overnight.runs.analyses.source import AnalysisSource, Record
from overnight.runs.analyses.subgroups import subgroups_record
from overnight.runs.analyses.unsupported import unsupported_record
from overnight.runs.score_arrays import read_score_table
from overnight.spec.prompt_sweep import Analysis, PromptSweepSpec
from overnight.store.files import write_json
from overnight.store.run_folder import RunFolder

SCHEMA_VERSION = 1
RECORDS: Mapping[Analysis, Callable[[AnalysisSource], Record]] = MappingProxyType(
    {
        "selective_risk": selective_risk_record,
        "subgroups": subgroups_record,
        "power_analysis": power_record,
        "mixed_models": models_record,
        "unsupported_sensitivity": unsupported_record,
        "cost_effectiveness": cost_effectiveness_record,
    }
)


def analyse_trial(folder: RunFolder, plan: Plan, slug: str, spec: PromptSweepSpec) -> dict[str, str]:
    """Write the analyses of one trial that are wanted.

    An analysis that fails leaves a file that says so in ``undefined_because``.

    Returns:
        What went wrong, by analysis; empty where all went well.

    Raises:
        StoreError: the trial has no scores, or they are damaged.
    """
    trial = next(each for each in plan.trials if each.slug == slug)
    place = folder.trial(slug)
    settings = spec.experiment.statistics
    source = AnalysisSource(
        folder=place,
        plan=plan,
        trial=trial,
        table=read_score_table(place.scores),
        settings=settings,
        pricing=spec.execution.pricing,
    )
    failures: dict[str, str] = {}
    for name in settings.analyses:
        try:
            record = RECORDS[name](source) | {"undefined_because": None}
            write_json(place.analysis(name), {"schema_version": SCHEMA_VERSION} | record)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said and costs this file alone
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failures[name] = reason
            write_json(
                place.analysis(name),
                {"schema_version": SCHEMA_VERSION, "results": None, "undefined_because": reason},
            )
    gc.collect()  # models hold cycles, and a run has many trials
    return failures
