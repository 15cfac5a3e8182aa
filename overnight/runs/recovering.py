"""What the best of K texts recovers of a trial's vectors: from its files alone, without a model.

The chunks are gone through once for every selector and baseline, so that no more is held than the sums of one of them
and a chunk. Vectors come in the order of their index and not in that in which they were worked on, so a trial that was
resumed, or that several processes shared, says what one process would have said.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overnight.best_of_k.candidates import candidate_row
from overnight.best_of_k.estimating import Resampling
from overnight.best_of_k.record import KSweepResults
from overnight.best_of_k.results import results_of
from overnight.best_of_k.saving import write_sums
from overnight.best_of_k.table import write_table
from overnight.runs.drawn import Drawn
from overnight.runs.recovery_curves import RecoveryCurves
from overnight.runs.scored_draws import ScoredDraws, Vectors
from overnight.spec.best_of_k import BestOfKExperiment
from overnight.store.files import atomic_writer, write_json
from overnight.store.run_folder import RunFolder
from overnight.vectors.floats import Kept


def write_recovery(
    folder: RunFolder,
    slug: str,
    vectors: Vectors,
    experiment: BestOfKExperiment,
    requested: Mapping[str, Any],
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> KSweepResults:
    """Write the candidates, the sums, the results and their table of a trial; return the results.

    Args:
        folder: of the run.
        slug: of the trial.
        vectors: of its model and layer, of all datasets.
        experiment: what is asked of the draws.
        requested: what the trial is, for ``eval_config``; ``dataset`` says which vectors are its own (without it, all).
        should_stop: asked between chunks.

    Raises:
        StoreError: a file of the trial is damaged.
        StopRequested: somebody asked for the run to stop; the results were not written.
    """
    trial, settings = folder.trial(slug), experiment.statistics
    drawn = Drawn.read(trial, len(vectors.vectors), experiment.n_draws, Kept(experiment.kept))
    scored = ScoredDraws.of(vectors, drawn, experiment, requested.get("dataset"), should_stop)
    _write_candidates(trial.candidates, scored)
    how = Resampling(
        n_resamples=settings.n_resamples if settings.bootstrap else 0,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    found = RecoveryCurves(scored, how, is_by_role=settings.by_role)
    best = found.measure()
    if best is None:
        trial.recovery_sums.unlink(missing_ok=True)
    else:
        write_sums(trial.recovery_sums, best)
    results = results_of(
        scored.counted,
        drawn.costs(scored.through),
        requested,
        settings=settings.model_dump(mode="json"),
        oracle=found.oracle,
        old=found.old,
        selectors=found.selectors,
        baselines=found.baselines,
        roles=found.roles,
        why_no_roles=found.why_no_roles,
        n_halvings=sum(chunk.halvings for chunk in drawn.chunks),
    )
    write_table(trial.k_sweep_table, results)
    write_json(trial.k_sweep, results.model_dump(mode="json"))
    return results


def _write_candidates(path: Path, scored: ScoredDraws) -> None:
    """Write the texts of every vector that is through, also of those with too few draws."""
    drawn, every_k = scored.drawn, scored.counted.every_k
    with atomic_writer(path) as file:
        for place, x in scored.each(scored.through):
            row = candidate_row(
                scored.vectors.vectors[place],
                x,
                drawn.reconstructions(place),
                texts=drawn.texts(place),
                n_tokens=drawn.n_tokens[place],
                logprobs=drawn.logprobs[place],
                ks=every_k,
            )
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
