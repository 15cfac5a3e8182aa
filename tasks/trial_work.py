"""One trial of a run, as its steps see it."""

from pathlib import Path

from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.runs.deadline import answered
from overnight.runs.opening import load_plan, load_spec
from overnight.runs.stepping import on_its_rung
from overnight.spec.sweep import SweepSpec
from overnight.store.run_folder import RunFolder


class TrialWork:
    """One trial of a run, read from the run folder: what its steps need to know."""

    def __init__(self, run_dir: Path, slug: str) -> None:
        self.folder = RunFolder(run_dir)
        self.spec: SweepSpec = load_spec(self.folder)
        self.plan: Plan = load_plan(self.folder, self.spec)
        self.planned_block: ModelBlock = next(
            b for b in self.plan.blocks if any(t.slug == slug for t in b.trials)
        )
        self.trial: Trial = next(t for t in self.planned_block.trials if t.slug == slug)
        self.tabled: Plan = self.plan  # what the tables hold; less than the plan after a deadline

    @property
    def block(self) -> ModelBlock:
        """The trial's block, on the rung that it has come down to."""
        return on_its_rung(self.folder, self.planned_block)

    def keep_answered(self) -> None:
        """Make tables of the items that are complete, as after a deadline."""
        self.tabled = answered(self.folder, self.plan, self.trial)
