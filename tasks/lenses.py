"""A lens that is fitted, or found fitted, with its progress in the UI."""

import contextlib
from pathlib import Path
from typing import Any

from httpx import HTTPError
from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.states import Completed

from overnight.runs.lens_fits import fit_lens
from overnight.spec.execution import Execution
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from overnight.telemetry.progress import BOARD

_WHOLE = 100.0
_BEFORE_THE_STEPS = 20.0  # of a bar, for what comes before and is not counted in steps


# NO_CACHE: Prefect's cache knows nothing of files that have gone or changed; the content store does, and the state's
# name says `Cached`. No retries: a fit that died goes on from its own folder when it is asked for again.
@task(
    name="fit-lens",
    task_run_name="fit-lens {lens.name} to {model.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fit(lens: LensSpec, model: ModelSpec, execution: Execution, stop: Path | None = None) -> "State[Path]":
    """Fit a lens to a model, or find it fitted.

    Args:
        lens: resolved.
        model: with its digest.
        execution: how.
        stop: a file that is there once somebody has asked the run to stop.
    """
    bar = _Bar(f"{lens.name} of {model.name}", 1 if lens.fit is None else lens.fit.steps)
    try:
        found = fit_lens(
            lens,
            model,
            execution,
            should_stop=lambda: stop is not None and stop.exists(),
            on_progress=bar.tell,
        )
    finally:
        BOARD.say(None)
    bar.move(_WHOLE)
    return Completed(
        name="Cached" if found.was_cached else "Completed",
        message=f"lens {found.folder.name[:12]} {'found' if found.was_cached else 'fitted'}",
        data=found.folder,
    )


class _Bar:
    """A progress artifact; an API that cannot be reached costs the bar, not the fit."""

    def __init__(self, description: str, n_steps: int) -> None:
        self._description = description
        self._n_steps = n_steps
        self._stage = ""
        self._artifact: Any = None
        with contextlib.suppress(PrefectException, HTTPError):
            self._artifact = create_progress_artifact(0.0, key="lens-progress", description=description)

    def tell(self, message: dict[str, Any]) -> None:
        """Show how far it is: what it prepares in the terminal, its steps there and in the UI."""
        if "step" not in message:
            if "stage" in message and message["stage"] != self._stage:
                self._stage = message["stage"]
                BOARD.say(f"fitting lens {self._description}: {self._stage}")
            return
        BOARD.say(
            f"fitting lens {self._description}: step {message['step']} of {self._n_steps} at most, "
            f"held out {message['held_out_loss']:.3f} nats a token"
        )
        get_run_logger().info(
            "step %d: loss %s, held out %.4f nats a token, %.0f s",
            message["step"],
            "-" if message["loss"] is None else f"{message['loss']:.4f}",
            message["held_out_loss"],
            message["seconds"],
        )
        self.move(_BEFORE_THE_STEPS + (_WHOLE - _BEFORE_THE_STEPS) * message["step"] / self._n_steps)

    def move(self, percent: float) -> None:
        """Move the bar."""
        if self._artifact is not None:
            with contextlib.suppress(PrefectException, HTTPError):
                update_progress_artifact(self._artifact, progress=percent, description=self._description)
