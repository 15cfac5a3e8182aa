"""How many draws a trial comes to: as planned, or as its vectors say once they are read."""

from pathlib import Path

from overnight.errors import StoreError
from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.planning.plan import ModelBlock, Plan
from overnight.planning.trial import Trial
from overnight.store.files import read_json, read_object, write_json
from overnight.store.inside import below
from overnight.store.run_folder import RunFolder
from overnight.vectors.vector_set import MARKER


def expected_draws(folder: RunFolder, plan: Plan, trial: Trial) -> int:
    """Return the draws of a trial; of one that says vectors in words, an upper bound until these are read.

    Raises:
        StoreError: what the trial says of its vectors is damaged.
    """
    path = folder.trial(trial.slug).vectors
    if not isinstance(trial, BestOfKTrial) or not path.is_file():
        return plan.requests_per_trial[trial.slug]
    try:
        return int(read_json(path)["n_vectors"]) * trial.n_draws
    except (KeyError, TypeError, ValueError):
        raise StoreError(f"{path}: says no number of vectors; delete it, and resume the run") from None


def has_vectors(folder: RunFolder, trial: BestOfKTrial) -> bool:
    """True where the vectors of a trial were read, and lie where it says.

    Raises:
        StoreError: what the trial says of its vectors is damaged.
    """
    path = folder.trial(trial.slug).vectors
    return path.is_file() and (below(folder.path, read_object(path).get("folder")) / MARKER).is_file()


def vectors_folder(folder: RunFolder, block: ModelBlock, trial: BestOfKTrial) -> Path:
    """Return where the vectors of a trial's model and layer lie, of all datasets: those of the model that is held."""
    return folder.vectors(f"{block.held.model.name}-l{trial.layer}")


def note_vectors(
    folder: RunFolder, trial: BestOfKTrial, vectors: str, n_vectors: int, n_left_out: int
) -> None:
    """Write down which vectors a trial says in words.

    Args:
        folder: of the run.
        trial: whose they are.
        vectors: their folder in the run, as a relative path.
        n_vectors: of the trial's dataset.
        n_left_out: texts of it that have no token to take.
    """
    write_json(
        folder.trial(trial.slug).vectors,
        {"folder": vectors, "n_vectors": n_vectors, "n_texts_left_out": n_left_out},
    )
