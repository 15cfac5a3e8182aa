"""What is made once and found again: frozen items, weights, a loaded model."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from overnight.datasets.freezing import prepare_items
from overnight.engines.sources import fetch
from overnight.spec.experiment import Experiment
from overnight.spec.model import ModelSpec

# NO_CACHE throughout: Prefect's cache knows nothing of files that have gone or changed; the content store does,
# and says `Cached` as the state's name, so that the UI shows it.


@task(name="prepare-items", cache_policy=NO_CACHE, persist_result=False)
def prepare(experiment: Experiment, frozen: Path | None) -> "State[Path]":
    """Freeze the items of an experiment, or find them frozen: in the run that goes on, or in the cache."""
    if frozen is not None:
        return Completed(name="Cached", message=f"items found in {frozen}", data=frozen)
    entry = prepare_items(experiment)
    return Completed(
        name="Cached" if entry.was_cached else "Completed",
        message=f"items {entry.key[:12]} {'found' if entry.was_cached else 'frozen'}",
        data=entry.path,
    )


@task(name="fetch-weights", task_run_name="fetch {model.name}", cache_policy=NO_CACHE, persist_result=False)
def fetch_weights(model: ModelSpec) -> "State[Path]":
    """Have a model's weights on this machine, checked against their digest."""
    weights = fetch(model)
    return Completed(
        name="Cached" if weights.was_cached else "Completed",
        message=f"{weights.path.name} {'found' if weights.was_cached else 'downloaded'}, sha256 {weights.sha256[:12]}",
        data=weights.path,
    )
