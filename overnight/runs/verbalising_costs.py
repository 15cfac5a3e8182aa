"""The costs step of a best-of-K trial: tokens, seconds and joules, by its chunks."""

from collections import Counter

from overnight.planning.best_of_k_trials import BestOfKTrial
from overnight.records import Condition
from overnight.runs.chunks import whole_chunks
from overnight.runs.costing import costs_record, local_cost
from overnight.spec.pricing import PricingSpec
from overnight.store.files import write_json
from overnight.store.manifest import Energy
from overnight.store.run_folder import RunFolder

NOT_HOSTED = "no hosted service says activations in words"


def write_verbalising_costs(
    folder: RunFolder,
    trial: BestOfKTrial,
    pricing: PricingSpec,
    inference_s: float | None,
    *,
    energy: Energy | None = None,
) -> None:
    """Write ``costs.json`` of a trial; its prompt tokens are those that the encoder read.

    Args:
        folder: of the run.
        trial: whose chunks are counted.
        pricing: the local tariff; there is no hosted price.
        inference_s: seconds of drawing and encoding by the clock on the wall, over all stretches.
        energy: what the GPUs used meanwhile; None where nobody looked.
    """
    chunks = whole_chunks(folder, trial.slug, trial.n_draws)
    n_vectors = sum(chunk.n for chunk in chunks)
    drawn, encoded = (
        sum(chunk.tokens_drawn for chunk in chunks),
        sum(chunk.tokens_encoded for chunk in chunks),
    )
    n_draws = n_vectors * trial.n_draws
    sums = Counter(n_draws=n_draws, usage_records=n_draws, prompt_tokens=encoded, completion_tokens=drawn)
    record = costs_record({Condition.CONTROL.value: sums}, pricing, None)
    for part in (record, *record["by_condition"].values()):
        part["usd_if_hosted"] = None
    write_json(
        folder.trial(trial.slug).costs,
        record
        | {
            "usage_source": "engine" if chunks else None,
            "usd_if_hosted_undefined_because": NOT_HOSTED,
            "inference_s": inference_s,
            "local": local_cost(pricing.local, inference_s, energy, None),
            "verbalising": {
                "n_vectors": n_vectors,
                "n_draws": n_draws,
                "tokens_drawn": drawn,
                "tokens_encoded": encoded,
                # Of the processes together: where several drew at a time, more than by the clock on the wall.
                "seconds_drawing": round(sum(chunk.seconds_drawing for chunk in chunks), 3),
                "seconds_encoding": round(sum(chunk.seconds_encoding for chunk in chunks), 3),
                "smallest_generation_batch": min((chunk.rows for chunk in chunks), default=None),
                "smallest_encoder_batch": min((chunk.encoder_rows for chunk in chunks), default=None),
                "halvings": sum(chunk.halvings for chunk in chunks),
                "n_processes": len({chunk.rank for chunk in chunks}) or None,
            },
        },
    )
