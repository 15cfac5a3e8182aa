"""From what a deployment says of a sweep, its name and what is to be different, to the sweep that runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from overnight.errors import UsageError
from overnight.runs.opening import override_rows
from overnight.spec.config_root import ConfigRoot
from overnight.spec.overrides import Overrides
from overnight.spec.run_options import RunOptions
from overnight.spec.sweep import SweepSpec, kind_of, validate_sweep

S = TypeVar("S", bound=SweepSpec)


def sweep_to_run(
    wanted: type[S], sweep: str | S, changes: Mapping[str, Any] | None, run: RunOptions
) -> tuple[S, RunOptions]:
    """Return a sweep with its changes made, and the options of the run with these remembered.

    Args:
        wanted: the kind of sweep that can be run here.
        sweep: or its name, a file in ``sweeps/`` of the configuration folder or of the shipped one.
        changes: values by dotted path, as ``--set`` takes them: ``{"experiment.limit_items": 250}``.
        run: how the run is started.

    Raises:
        UsageError: there is no such sweep, it is of another kind, or a key or a value of it is wrong.
    """
    if isinstance(sweep, str):
        path, value = ConfigRoot(run.config_dir or Path("config")).sweep(sweep)
    elif not changes:
        return sweep, run
    else:
        path, value = Path(f"sweep {sweep.name}"), sweep.model_dump(mode="json")
    kind = kind_of(value, path)
    if (here := wanted.model_fields["kind"].default) != kind:
        raise UsageError(f"{path}: found a {kind}, wanted a {here}; choose a deployment of {kind}")
    overrides = Overrides(value)
    for key, new in (changes or {}).items():
        overrides.set(key, new, "changes")
    spec = validate_sweep(overrides.value, path)
    if not isinstance(spec, wanted):
        raise TypeError(f"{path}: {kind} is not a {wanted.__name__}")
    rows = run.overrides + override_rows(overrides.made)
    return spec, run.model_copy(update={"overrides": rows})
