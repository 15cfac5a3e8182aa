"""Trials that were measured nowhere, made in a line."""

import numpy as np

from overnight.stats.model_cells import ModelFacts
from overnight.uncertainty.analysis import ItemText, MeasuredTrial
from overnight.uncertainty.table import Cell, Column, ItemTable


def model(name, family="A", parameters=1e9, quantization="none", bits=32.0, is_instruct=False) -> ModelFacts:
    return ModelFacts(
        name=name,
        family=family,
        parameters=parameters,
        is_instruct=is_instruct,
        quantization=quantization,
        bits_per_weight=bits,
    )


def table(keys, columns) -> ItemTable:
    """Return columns of values, None where there is none."""
    return ItemTable(
        item_keys=tuple(keys),
        columns=tuple(
            Column(
                name=name,
                version=1,
                cells=tuple(
                    Cell(value=None, undefined_because="made up without it")
                    if v is None
                    else Cell(value=float(v))
                    for v in values
                ),
            )
            for name, values in columns.items()
        ),
    )


def trial(facts, dataset, measures, labels, lengths=None, texts=False) -> MeasuredTrial:
    n = len(next(iter(measures.values())))
    keys = [f"{dataset}|{i:03}" for i in range(n)]
    return MeasuredTrial(
        slug=f"{facts.name}-{dataset}",
        model=facts,
        dataset=dataset,
        measures=table(keys, measures),
        labels=table(keys, labels),
        lengths=dict(zip(keys, lengths if lengths is not None else [3.0] * n, strict=True)),
        texts={k: ItemText(question=f"Q {k}?", answer="so", references=("no",)) for k in keys}
        if texts
        else {},
    )


def made_up(facts, dataset, *, seed, n=80, signal=1.0, accuracy=0.5, texts=False, **changes) -> MeasuredTrial:
    """Return n answers whose wrong ones lie ``signal`` standard deviations of G-NLL higher."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) > accuracy
    lengths = rng.integers(1, 12, n)
    average = np.exp(rng.normal(-1.0 + 0.6 * signal * wrong, 0.6))
    measures = {
        "g_nll": average * lengths,
        "average_nll": average,
        "perplexity": np.exp(average),
        "mean_token_probability": 1 - np.exp(-average * rng.uniform(0.8, 1.0, n)),
        "n_tokens": lengths,
    }
    measures = {name: values.tolist() for name, values in measures.items()} | changes
    labels = {
        "em": (~wrong & (rng.random(n) < 0.9)).astype(int).tolist(),
        "f1": (~wrong).astype(int).tolist(),
    }
    return trial(facts, dataset, measures, labels, lengths.tolist(), texts=texts)


def made_up_run(n=80) -> list[MeasuredTrial]:
    """Return 4 models on 2 data sets: two families, two sizes, an int8 twin; the last cell always right."""
    models = [
        model("small-a", "Alder", 1.35e8, bits=16.0, is_instruct=True),
        model("small-a-int8", "Alder", 1.35e8, "int8", 8.5, is_instruct=True),
        model("large-a", "Alder", 1.5e9, bits=16.0, is_instruct=True),
        model("large-b", "Birch", 1.5e9, bits=16.0, is_instruct=True),
    ]
    trials = [
        made_up(
            facts,
            dataset,
            seed=10 * row + column,
            n=n,
            signal=0.4 + 0.4 * row,
            accuracy=0.35 + 0.1 * row,
            texts=True,
        )
        for row, facts in enumerate(models)
        for column, dataset in enumerate(("squad", "trivia_qa"))
    ]
    return [*trials[:-1], made_up(models[-1], "trivia_qa", seed=99, n=n, accuracy=1.0, texts=True)]
