"""The measures and labels of one trial: from its journal and what other models said of its answers to one table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from overnight.planning.plan import Plan
from overnight.planning.uncertainty_trials import UncertaintyTrial, measures_of
from overnight.runs.answers import ItemAnswers, item_answers
from overnight.runs.judging import read_judgements
from overnight.runs.side_rows import read_side_rows
from overnight.runs.uncertainty_table import MeasuredItems, write_measured_items
from overnight.runs.weighting_study import weighting_record
from overnight.scoring.score import score_reply
from overnight.scoring.support import UnsupportedRule
from overnight.spec.uncertainty_sweep import UncertaintyExperiment
from overnight.store.files import write_json
from overnight.store.run_folder import TrialFolder
from overnight.uncertainty.answer import CountedAnswer
from overnight.uncertainty.clusters import cluster_by_words
from overnight.uncertainty.evidence import Evidence, Relevance, Sampled
from overnight.uncertainty.judging import Judgement
from overnight.uncertainty.labels import LABELS, ScoredAnswer, label_items
from overnight.uncertainty.measure import Need
from overnight.uncertainty.table import Cell, ItemTable, Unmeasured, measure_items
from overnight.uncertainty.weighting import WEIGHTINGS

_RULE = UnsupportedRule()
_Rows = dict[str, dict[str, Any]]


def write_measures(
    folder: TrialFolder, plan: Plan, trial: UncertaintyTrial, experiment: UncertaintyExperiment
) -> int:
    """Write ``uncertainty.csv`` and ``uncertainty_columns.json``; return the number of items.

    Raises:
        StoreError: the journal or what stands beside it is damaged.
    """
    relevance, clusters = map(read_side_rows, (folder.relevance, folder.clusters))
    judgements = read_judgements(folder.judgements)
    every = list(item_answers(folder, plan, trial))
    evidence = [_evidence(each, relevance.get(each.item.key), clusters.get(each.item.key)) for each in every]
    sources = {Need.RELEVANCE: _source(relevance), Need.ENTAILMENT: _source(clusters)}
    measures = measure_items(evidence, measures_of(experiment), sources)
    labels = label_items(
        [_scored(each, judgements.get(each.item.key)) for each in every],
        [LABELS[name] for name in experiment.labels],
    )
    write_measured_items(
        folder.results,
        MeasuredItems(
            dataset=trial.dataset,
            finish_reasons=tuple(each.greedy.finish_reason for each in every),
            n_tokens=tuple(_length(each.greedy.counted) for each in every),
            measures=measures,
            labels=_without_unanswered(labels, every),
        ),
    )
    if experiment.weighting_study:
        schemes = [
            each for each in WEIGHTINGS.values() if experiment.relevance or not each.needs & {Need.RELEVANCE}
        ]
        label = experiment.main_label
        right = {
            key: bool(cell.value)
            for key, cell in zip(labels.item_keys, labels.column(label).cells, strict=True)
            if cell.value is not None
        }
        found = weighting_record(
            measure_items(evidence, schemes, sources), right, label=label, seed=experiment.statistics.seed
        )
        write_json(folder.weighting_study, found.model_dump(mode="json"))
    return len(every)


def _evidence(
    answers: ItemAnswers, relevance: dict[str, Any] | None, clusters: dict[str, Any] | None
) -> Evidence | Unmeasured:
    key, greedy = answers.item.key, answers.greedy.counted
    if greedy is None:
        return Unmeasured(item_key=key, reason=answers.greedy.undefined_because or "there is no answer")
    counted = [sample.counted for sample in answers.samples if sample.counted is not None]
    sampled = Sampled(answers=tuple(counted)) if counted and len(counted) == len(answers.samples) else None
    texts = answers.sample_texts if sampled else None
    return Evidence(
        item_key=key,
        greedy=greedy,
        sampled=sampled,
        relevance=_relevance(relevance, "relevance", greedy),
        relevance_in_context=_relevance(relevance, "relevance_in_context", greedy),
        clusters=tuple(clusters["clusters"]) if clusters and texts else None,
        same_words=cluster_by_words(texts, answers.item.rule) if texts else None,
    )


def _relevance(row: dict[str, Any] | None, name: str, greedy: CountedAnswer) -> Relevance | None:
    """Return the relevance of the tokens of an answer; None where the file has it of another answer."""
    if row is None or row["text"] != greedy.text or len(row[name]) != len(greedy.tokens):
        return None
    return tuple(row[name])


def _scored(answers: ItemAnswers, judgement: Judgement | None) -> ScoredAnswer:
    return ScoredAnswer(
        item_key=answers.item.key,
        score=score_reply(answers.item, answers.greedy.text or "", _RULE, with_rouge=True),
        judgement=judgement,
    )


def _without_unanswered(labels: ItemTable, every: Sequence[ItemAnswers]) -> ItemTable:
    """Return labels without those of items that got no answer: nobody knows whether it would have been right."""
    missing = {
        place: Cell(value=None, undefined_because=each.greedy.undefined_because)
        for place, each in enumerate(every)
        if each.greedy.text is None
    }
    columns = (
        replace(column, cells=tuple(missing.get(place, cell) for place, cell in enumerate(column.cells)))
        for column in labels.columns
    )
    return replace(labels, columns=tuple(columns))


def _length(counted: CountedAnswer | None) -> int | None:
    return None if counted is None or counted.undefined_because else len(counted.tokens)


def _source(rows: _Rows) -> str:
    names: Sequence[str] = sorted({row["source"] for row in rows.values()})
    return ", ".join(names)
