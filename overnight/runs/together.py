"""Models that are held at the same time: what the manifest says of it, and how they divide the machine."""

from collections.abc import Sequence

from overnight.spec.execution import Execution
from overnight.store.manifest import RunManifest, read_manifest, update_manifest
from overnight.store.run_folder import RunFolder
from overnight.telemetry.cores import physical_cores


def note_together(folder: RunFolder, models: Sequence[str]) -> None:
    """Say in the manifest, of each of some models, beside which others it is held."""

    def change(manifest: RunManifest) -> RunManifest:
        changed = {
            name: manifest.blocks[name].model_copy(
                update={"beside": tuple(other for other in models if other != name)}
            )
            for name in models
        }
        return manifest.model_copy(update={"blocks": {**manifest.blocks, **changed}})

    blocks = read_manifest(folder).blocks
    if len(models) > 1 or any(blocks[name].beside for name in models):
        update_manifest(folder, change)


def models_beside(folder: RunFolder, slug: str) -> tuple[str, ...]:
    """Return the models that are held at the same time as that of a trial."""
    manifest = read_manifest(folder)
    block = manifest.blocks.get(str(manifest.trials[slug].requested["model"]))
    return block.beside if block else ()


def sharing_cores(execution: Execution, n_models: int) -> Execution:
    """Return how each of some models is held at the same time: with its part of the cores, if nobody says how many.

    Threads of several models on the same cores wait for each other, and lose more than the cores they lack.
    """
    if n_models == 1 or execution.engine.threads is not None:
        return execution
    engine = execution.engine.model_copy(update={"threads": max(1, physical_cores() // n_models)})
    return execution.model_copy(update={"engine": engine})
