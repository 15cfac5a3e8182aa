"""The folder of a made-up best-of-K run: its trials share their vectors, and the lens gets worse as it gets warmer."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from overnight.runs.recovering import write_recovery
from overnight.store.manifest import RunManifest, TrialRecord, TrialState, seal, write_manifest
from overnight.store.run_folder import RunFolder
from tests.unit.best_of_k.made_up_trial import make_up

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_sweep_run(
    experiments: Path,
    *,
    temperatures: tuple[float, ...] = (0.8, 1.2),
    unmeasured: bool = False,
    **how: Any,
) -> RunFolder:
    """Write a run with a trial a temperature; ``how`` goes to `make_up`."""
    folder = RunFolder(experiments / "run_r1")
    trials = {}
    for number, temperature in enumerate(temperatures):
        slug = f"tiny-lens-texts-t{temperature:g}-k{how.get('n_draws', 4)}-{number:08d}"
        one = make_up(
            folder.path,
            slug=slug,
            noise=0.5 + 0.4 * number,
            requested={"temperature": temperature},
            **{"roles": ("user", "assistant"), "n_sources": 15, **how},
        )
        write_recovery(folder, slug, one.vectors, one.experiment, one.requested)
        trials[slug] = TrialRecord(
            fingerprint="a" * 64,
            requested=one.requested,
            state=TrialState.DONE,
            artifacts=dict(
                seal(folder.path, path) for path in sorted(one.trial.results.rglob("*")) if path.is_file()
            ),
        )
    if unmeasured:
        asked = {**one.requested, "temperature": 2.0}
        trials["tiny-lens-texts-t2-k4-ffffffff"] = TrialRecord(
            fingerprint="b" * 64, requested=asked, state=TrialState.FAILED, error="OutOfMemory: 9 GiB"
        )
    write_manifest(
        folder,
        RunManifest(
            run_id="r1",
            kind="best-of-k-sweep",
            name="texts of a tiny model",
            fingerprint="f" * 64,
            state=TrialState.DONE,
            created=NOW,
            updated=NOW,
            execution={},
            environment={"python": "3.11"},
            trials=trials,
        ),
    )
    return folder
