"""What text models say of a trial's answers: how relevant each token is, and which samples mean the same."""

from collections.abc import Iterator
from typing import Any

from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial
from overnight.runs.answers import ItemAnswers, item_answers, question_of
from overnight.runs.side_rows import read_side_rows, write_side_rows
from overnight.store.run_folder import TrialFolder
from overnight.uncertainty.answer import CountedAnswer
from overnight.uncertainty.clusters import Entailment, clusters_of
from overnight.uncertainty.relevance import Progress, Similarity, relevance_of


def write_relevance(
    folder: TrialFolder,
    plan: Plan,
    trial: UncertaintyTrial,
    similarity: Similarity,
    progress: Progress | None = None,
) -> int:
    """Write ``relevance.jsonl``: of every token that counts, behind the question alone and behind the passage too.

    A trial that has them by this model already keeps them. Returns the number of items.
    """
    source = f"{similarity.name}@{similarity.revision[:8]}"
    measured = [(answers, counted) for answers, counted in _counted(folder, plan, trial)]
    known = read_side_rows(folder.relevance)
    if measured and all(_is_of(known.get(a.item.key), c, source) for a, c in measured):
        return len(measured)
    found = {}
    for name, with_context in (("relevance", False), ("relevance_in_context", True)):
        asked = [(question_of(a.item, with_context=with_context), counted) for a, counted in measured]
        found[name] = relevance_of(asked, similarity, progress=progress)
    return write_side_rows(
        folder.relevance,
        (
            {
                "item_key": answers.item.key,
                "source": source,
                "text": counted.text,
                "spans": [[token.span.start, token.span.end] for token in counted.tokens],
                **{name: list(values[place]) for name, values in found.items()},
            }
            for place, (answers, counted) in enumerate(measured)
        ),
    )


def write_clusters(
    folder: TrialFolder,
    plan: Plan,
    trial: UncertaintyTrial,
    entailment: Entailment,
    progress: Progress | None = None,
) -> int:
    """Write ``clusters.jsonl``: which samples of an item mean the same, behind its question; return how many items."""
    source = f"{entailment.name}@{entailment.revision[:8]}"
    sampled = [
        (answers.item, texts)
        for answers in item_answers(folder, plan, trial)
        if (texts := answers.sample_texts) is not None
    ]
    found = clusters_of([(item.question, texts) for item, texts in sampled], entailment, progress=progress)
    return write_side_rows(
        folder.clusters,
        (
            {"item_key": item.key, "source": source, "clusters": list(ids)}
            for (item, _), ids in zip(sampled, found, strict=True)
        ),
    )


def _counted(
    folder: TrialFolder, plan: Plan, trial: UncertaintyTrial
) -> Iterator[tuple[ItemAnswers, CountedAnswer]]:
    """Yield what has tokens that count."""
    for answers in item_answers(folder, plan, trial):
        counted = answers.greedy.counted
        if counted is not None and counted.tokens:
            yield answers, counted


def _is_of(row: dict[str, Any] | None, counted: CountedAnswer, source: str) -> bool:
    return (
        row is not None
        and row["source"] == source
        and row["text"] == counted.text
        and len(row["relevance"]) == len(counted.tokens)
    )
