"""How one run of a sweep is started: its folder, whether it goes on, which steps."""

from pathlib import Path
from typing import Any

from pydantic import Field

from overnight.spec.base import Spec
from overnight.spec.steps import StepRange


class RunOptions(Spec):
    """What the command line, or the form of a deployment, adds to a sweep."""

    run_id: str | None = Field(default=None, description="name of the run; null makes one from the time")
    resume: bool = Field(default=False, description="go on with the run of that id")
    experiments_dir: Path = Field(default=Path("experiments"), description="where run folders are")
    config_dir: Path | None = Field(default=None, description="where models, prompts and datasets are found")
    steps: StepRange = StepRange()
    skip_prepare: bool = Field(default=False, description="take the frozen items of the run that goes on")
    skip_build: bool = Field(default=False, description="take the requests of the run that goes on")
    plan_only: bool = Field(default=False, description="make the run folder with its plan, and end")
    overrides: tuple[dict[str, Any], ...] = Field(default=(), description="what was changed in the config")
