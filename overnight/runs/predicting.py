"""What a run will take, by what this machine was measured to do; no model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.engines.holding import host_settings
from overnight.engines.identity import answer_identity
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.estimate import Estimate, Measurement, estimate, estimate_load, total
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.work import Work, plan_work
from overnight.runs.measuring import speed_settings
from overnight.spec.execution import Execution
from overnight.spec.model import EngineKind
from overnight.telemetry.environment import machine_identity
from overnight.telemetry.rates import Rate, compared, read_rates

OF_VECTORS = "what was measured of answers to prompts says nothing of texts that are drawn of vectors"
HOW_TO_MEASURE = "`overnight run CONFIG --limit-items 20` measures one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a run will take, in all, by block and by trial."""

    run: Estimate
    blocks: Mapping[str, Estimate]  # by the model's name; with its loading
    trials: Mapping[str, Estimate]  # by slug
    work: Mapping[str, Work]  # by slug
    notes: tuple[str, ...]

    def as_row(self) -> dict[str, Any]:
        """Return the prediction as it stands in ``plan.json``."""
        return {
            **self.run.as_row(),
            "n_requests_sent": sum(work.n_requests for work in self.work.values()),
            "n_requests_shared": sum(work.n_shared for work in self.work.values()),
            "blocks": {name: part.as_row() for name, part in self.blocks.items()},
            "trials": {slug: part.as_row() for slug, part in self.trials.items()},
            "notes": list(self.notes),
        }


def predict_run(plan: Plan, execution: Execution) -> Prediction:
    """Return what a plan will take on this machine, from what was measured here with its models.

    An arm that stands in two trials of a block is asked once where its answers are cached; what earlier runs have
    left in the cache is not looked for, and makes the run shorter than this.

    Args:
        plan: what is going to run.
        execution: how; settings that change the speed are matched.
    """
    sharing = {
        block.model.name
        for block in plan.blocks
        if execution.request_cache
        and block.model.weights_identity is not None
        and answer_identity(block.model, execution.engine) is not None
    }
    work = plan_work(plan, sharing=sharing)
    machine = machine_identity()
    trials: dict[str, Estimate] = {}
    blocks: dict[str, Estimate] = {}
    notes: list[str] = []
    for block in plan.blocks:
        measured, note = _measurements(block, execution, machine)
        if note:
            notes.append(note)
        unknown = f"no run of {block.model.name} was measured on this machine; {HOW_TO_MEASURE}"
        if block.model.engine is EngineKind.DRY_RUN:
            unknown = "a rehearsal takes no time worth predicting"
        own = {
            t.slug: Estimate(undefined_because=OF_VECTORS)
            if isinstance(t, BestOfKTrial)
            else estimate(work[t.slug], measured, unknown=unknown)
            for t in block.trials
        }
        trials |= own
        blocks[block.model.name] = total(list(own.values()), load_s=estimate_load(measured) or 0.0)
    return Prediction(
        run=total(list(blocks.values())), blocks=blocks, trials=trials, work=work, notes=tuple(notes)
    )


def _measurements(
    block: ModelBlock, execution: Execution, machine: Mapping[str, Any]
) -> tuple[list[Measurement], str | None]:
    """Return what was measured under the settings of a run; under others, with a note, where that is all."""
    rates = read_rates(block.model.weights_identity, block.model.engine.value, machine)
    settings = speed_settings(host_settings(block.model, Path(), block.context_tokens, execution))
    same = [rate.measurement for rate in rates if rate.has_settings(settings)]
    if same or not rates:
        return same, None
    # The newest alone: a single stretch has the wide interval that a change of settings deserves.
    newest = rates[-1]
    return [newest.measurement], (
        f"{block.model.name} was measured only with other settings ({_differences(newest, settings)}); "
        f"the interval is half to double"
    )


def _differences(rate: Rate, settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {rate.settings.get(name)} instead of {settings[name]}"
        for name in compared(settings)
        if rate.settings.get(name) != settings[name]
    )
