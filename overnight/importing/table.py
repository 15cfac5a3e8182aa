"""Several logs as one table: system x item, one metric."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from overnight.errors import UsageError
from overnight.importing.choosing import listed, nearest
from overnight.importing.logs import LoggedItem, SystemLog

_NAMED = 3  # items that an error lists
_TWO = 2  # systems that a comparison takes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """The scores of several systems on the same items."""

    metric: str
    task: str | None
    identified_by: str  # in words
    sources: Mapping[str, str]  # system -> file
    items: Mapping[str, LoggedItem]  # by key, in the order of the first log
    scores: Mapping[str, Mapping[str, float | None]]  # by system, by key of `items`
    is_higher_better: bool | None  # None: the logs do not say
    notes: tuple[str, ...]


def score_table(logs: Sequence[SystemLog], metric: str | None, *, is_common_only: bool = False) -> ScoreTable:
    """Return the table of one metric.

    Args:
        logs: of one task, two or more.
        metric: which; None takes the only one there is.
        is_common_only: leave out items that some log has not, instead of refusing.

    Raises:
        UsageError: the logs are fewer than two, of several tasks, over different items, or lack the metric.
    """
    if len(logs) < _TWO:
        found = f"1 log ({logs[0].source})" if logs else "no log"
        raise UsageError(f"{found}: a comparison takes two or more; name the logs of another system too")
    _require_one_task(logs)
    named = _with_own_names(logs)
    chosen = _chosen_metric(named, metric)
    keys, notes = _items(named, is_common_only=is_common_only)
    first = named[0]
    better = {log.is_higher_better.get(chosen) for log in named} - {None}
    return ScoreTable(
        metric=chosen,
        task=first.task,
        identified_by=first.identified_by,
        sources={log.system: str(log.source) for log in named},
        items={key: first.items[key] for key in keys},
        scores={log.system: {key: log.scores[chosen][key] for key in keys} for log in named},
        is_higher_better=better.pop() if len(better) == 1 else None,
        notes=(*notes, *(note for log in named for note in log.notes)),
    )


def _require_one_task(logs: Sequence[SystemLog]) -> None:
    tasks = sorted({log.task for log in logs if log.task is not None})
    if len(tasks) > 1:
        raise UsageError(f"the logs are of {len(tasks)} tasks ({listed(tasks)}); choose one with --task")
    ways = sorted({log.identified_by for log in logs})
    if len(ways) > 1:
        one = next(log for log in logs if log.identified_by == ways[0])
        other = next(log for log in logs if log.identified_by == ways[1])
        raise UsageError(
            f"{one.source} identifies items by {ways[0]}, {other.source} by {ways[1]}; "
            "compare both by id with --identify-by id"
        )


def _with_own_names(logs: Sequence[SystemLog]) -> list[SystemLog]:
    """Tell several logs of one system apart: by when they were made, or else by their files."""
    names = Counter(log.system for log in logs)
    dated = [
        replace(log, system=f"{log.system}@{log.made or log.source.stem}") if names[log.system] > 1 else log
        for log in logs
    ]
    again = Counter(log.system for log in dated)
    return [
        replace(log, system=f"{log.system} ({log.source})") if again[log.system] > 1 else log for log in dated
    ]


def _chosen_metric(logs: Sequence[SystemLog], metric: str | None) -> str:
    common = [name for name in logs[0].scores if all(name in log.scores for log in logs)]
    if metric is None:
        if len(common) == 1:
            return common[0]
        found = (
            f"metrics {listed(common)}; choose one" if common else "no metric that all of them have; name one"
        )
        raise UsageError(f"the logs have {found} with --metric")
    for log in logs:
        if metric in log.not_numeric:
            raise UsageError(
                f"{log.source}: --metric {metric}: {log.not_numeric[metric]}; {_choose_from(common)}"
            )
        if metric not in log.scores:
            raise UsageError(
                f"{log.source}: --metric {metric}: {nearest(metric, list(log.scores), 'metric')}"
            )
    return metric


def _choose_from(common: Sequence[str]) -> str:
    return f"choose from {listed(common)}" if common else "no metric has one number an item"


def _items(logs: Sequence[SystemLog], *, is_common_only: bool) -> tuple[list[str], list[str]]:
    """Return the keys to compare on, in the order of the first log, and what was left out."""
    first = logs[0]
    common = set(first.items)
    for log in logs[1:]:
        common &= log.items.keys()
    everything = {key for log in logs for key in log.items}
    if common == everything:
        return list(first.items), []
    if not common or not is_common_only:
        raise UsageError(_why_different(logs, common))
    left_out = len(everything) - len(common)
    note = f"{left_out} of {len(everything)} items are left out: not every log has them"
    return [key for key in first.items if key in common], [note]


def _why_different(logs: Sequence[SystemLog], common: set[str]) -> str:
    first = logs[0]
    other = next(log for log in logs if log.items.keys() != first.items.keys())
    parts = [
        f"{len(only)} only in {log.system} ({_names(log, only)})"
        for log, only in (
            (first, first.items.keys() - other.items.keys()),
            (other, other.items.keys() - first.items.keys()),
        )
        if only
    ]
    ids = [{item.item_id for item in log.items.values()} for log in logs]
    if first.identified_by not in {"doc_id and target", "id and target"} and all(i == ids[0] for i in ids):
        advice = "their ids are the same: if the questions are too, use --identify-by id"
    elif common:
        advice = f"compare the {len(common)} that all have with --common-items"
    else:
        advice = "name logs of one dataset"
    return f"the logs hold different items by {first.identified_by}: {', '.join(parts)}; {advice}"


def _names(log: SystemLog, keys: set[str]) -> str:
    ids = [item.item_id for key, item in log.items.items() if key in keys]
    return "id " + ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
