"""From the files of a best-of-K sweep to one value that every report of it is written from."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import ValidationError

from overnight.best_of_k.estimating import Resampling, estimate
from overnight.best_of_k.record import KSweepResults
from overnight.best_of_k.saving import read_sums
from overnight.best_of_k.sums import RecoverySums
from overnight.errors import OvernightError, StoreError, said_below
from overnight.report.best_of_k.results import (
    HEADLINE,
    BestOfKReport,
    Difference,
    ShownText,
    ShownVector,
    Spreads,
    SweepTrial,
)
from overnight.report.reading import read_run
from overnight.report.results import TrialReport
from overnight.store.files import read_json
from overnight.store.run_folder import RunFolder, TrialFolder

MOST_VECTORS: Final = 300  # that stand on the page, over all trials; the rest is in candidates.jsonl
_FEWEST_OF_TRIAL: Final = 6
_MOST_COMPARED: Final = 12  # trials whose sums are read again

T = TypeVar("T")


def read_best_of_k(folder: RunFolder) -> BestOfKReport:
    """Return what the files of a sweep say; what cannot be read is named with the reason.

    Raises:
        StoreError: the run has no manifest that can be read.
    """
    run = read_run(folder)
    n_shown = max(_FEWEST_OF_TRIAL, MOST_VECTORS // max(1, len(run.trials)))
    trials = tuple(_read_trial(folder.trial(trial.slug), trial, n_shown) for trial in run.trials)
    return BestOfKReport(run=run, trials=trials, differences=tuple(_differences(folder, trials)))


def read_results(path: Path) -> KSweepResults:
    """Return a results file.

    Raises:
        StoreError: it is missing, or no such file.
    """
    try:
        return KSweepResults.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise StoreError(f"{path}: not the results of a best-of-K trial ({where}: {first['msg']})") from None


def _read_trial(files: TrialFolder, trial: TrialReport, n_shown: int) -> SweepTrial:
    why: list[str] = []
    results = _attempt(lambda: read_results(files.k_sweep), files.k_sweep, trial, why)
    vectors: tuple[ShownVector, ...] = ()
    spreads: Spreads | None = None
    if results is not None and results.vectors.n_drawn:
        read = _attempt(
            lambda: read_candidates(files.candidates, results, n_shown), files.candidates, trial, why
        )
        vectors, spreads = read or ((), None)
    return SweepTrial(
        trial=trial,
        results=results,
        missing_because="; ".join(why) or None,
        vectors=vectors,
        spreads=spreads,
    )


def _attempt(read: Callable[[], T], path: Path, trial: TrialReport, why: list[str]) -> T | None:
    if not path.exists():
        why.append(trial.error or f"there is no {path.name}: the trial is {trial.state.value}")
        return None
    try:
        return read()
    except OvernightError as error:
        why.append(said_below(path.parent, error))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        why.append(f"{path.name} cannot be read ({type(error).__name__}: {error})")
    return None


def read_candidates(
    path: Path, results: KSweepResults, n_shown: int
) -> tuple[tuple[ShownVector, ...], Spreads]:
    """Return some vectors, evenly spaced over all, and the errors of all of them; a line in memory at a time.

    Raises:
        StoreError: a line is not that of a vector.
    """
    n = results.vectors.n_drawn
    wanted = set(np.unique(np.linspace(0, n - 1, min(n, n_shown)).round().astype(int)).tolist())
    ks = results.measured_ks
    shown: list[ShownVector] = []
    errors: dict[int, list[float]] = {k: [] for k in ks}
    norms: list[float] = []
    best_norms: list[float] = []
    for number, row in enumerate(_rows(path)):
        if number in wanted:
            shown.append(_shown(row))
        norms.append(row["norm"])
        if row["best"] is not None:
            best_norms.append(row["draws"][row["best"]]["norm"])
        for k in ks:
            if (error := row["mse_by_k"].get(str(k))) is not None:
                errors[k].append(error)
    spreads = Spreads(
        errors={k: np.array(found) for k, found in errors.items()},
        norms=np.array(norms),
        best_norms=np.array(best_norms),
    )
    return tuple(shown), spreads


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise StoreError(f"{path}:{number}: not the line of a vector; score the trial again")
            yield row


def _shown(row: Mapping[str, Any]) -> ShownVector:
    return ShownVector(
        source=f"{row['dataset']} {row['item_id']}",
        position=row["position"],
        before=row["before"],
        token=row["token"],
        after=row["after"],
        role=row["role"],
        norm=row["norm"],
        n_usable=row["n_usable"],
        best=_text(row, "best"),
        median=_text(row, "median"),
    )


def _text(row: Mapping[str, Any], which: str) -> ShownText | None:
    if row[which] is None:
        return None
    draw = row["draws"][row[which]]
    return ShownText(text=draw["text"], mse=draw["mse"], cosine=draw["cosine"], n_tokens=draw["n_tokens"])


def _differences(folder: RunFolder, trials: tuple[SweepTrial, ...]) -> Iterator[Difference]:
    """Yield how far the leading trial is ahead of the others over the same vectors, resampled alike."""
    measured = [one for one in trials if one.headline and one.headline.value is not None]
    if not 1 < len(measured) <= _MOST_COMPARED:
        return
    leading = max(measured, key=lambda one: one.headline.value or 0.0)  # type: ignore[union-attr]
    best = _sums(folder.trial(leading.slug))
    for other in measured:
        sums = None if other is leading else _sums(folder.trial(other.slug))
        if best is None or sums is None or not _are_alike(best, sums):
            continue
        k = max(set(best.ks) & set(sums.ks), default=None)
        how = _resampling(leading)
        if k is not None and how is not None:
            first, second = (how.numbers_at(each, k, HEADLINE) for each in (best, sums))
            gap = estimate(first.less(second), how.confidence)
            yield Difference(label=leading.label, other=other.label, k=k, gap=gap)


def _sums(files: TrialFolder) -> RecoverySums | None:
    try:
        return read_sums(files.recovery_sums)
    except OvernightError:
        return None  # the two are shown side by side all the same


def _are_alike(one: RecoverySums, other: RecoverySums) -> bool:
    """True where both are of the same vectors."""
    return (
        one.sources == other.sources
        and np.array_equal(one.n, other.n)
        and np.array_equal(one.origin, other.origin)
        and np.array_equal(one.x, other.x)
    )


def _resampling(one: SweepTrial) -> Resampling | None:
    settings = one.measured.eval_config.get("statistics", {}) if one.measured else {}
    try:
        return Resampling(
            n_resamples=int(settings["n_resamples"]) if settings["bootstrap"] else 0,
            confidence=float(settings["confidence"]),
            seed=int(settings["seed"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
