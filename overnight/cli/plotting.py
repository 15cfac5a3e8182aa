"""Drawing the curves of several best-of-K runs, or of results files, in one picture."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import Curve, KSweepResults
from overnight.errors import OvernightError, UsageError
from overnight.ids import RUN_PREFIX
from overnight.report.best_of_k.curves import Untitled, curves_of_several
from overnight.report.best_of_k.histograms import comparison_histogram
from overnight.report.best_of_k.naming import level
from overnight.report.best_of_k.old_results import curve_of_old
from overnight.report.best_of_k.reading import read_candidates, read_results
from overnight.report.best_of_k.results import Spreads
from overnight.report.drawing import save_figure
from overnight.report.reading import BEST_OF_K, trial_labels
from overnight.report.uncertainty.frame import STYLES
from overnight.store.manifest import read_manifest
from overnight.store.run_folder import find_run

_SUFFIXES = (".png", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A curve that is to be drawn."""

    label: str
    run: str  # what tells it from one of the same label
    path: Path
    oracle: Curve
    results: KSweepResults | None  # None: a file of an older sweep


def plot_k_sweeps(
    words: Sequence[str], out: Path, measure: str, experiments: Path, *, with_histograms: bool
) -> None:
    """Write a figure as PNG and PDF and print where it is.

    Raises:
        UsageError: there is no such measure, no such run, or nothing to draw.
        StoreError: a file is damaged.
    """
    shown = _measure(measure)
    found = [each for word in words for each in _found(word, experiments)]
    drawn = [each for each in _told_apart(found) if _has(each.oracle, shown)]
    if not drawn:
        raise UsageError(
            f"nothing to draw: {len(found)} trials in {', '.join(words)}, none has {shown.value}"
        )
    if len(drawn) > len(STYLES):
        raise UsageError(f"found {len(drawn)} trials; at most {len(STYLES)} lines can be told apart")
    folder, stem = out.parent, out.name.removesuffix(out.suffix if out.suffix in _SUFFIXES else "")
    levels = {level(each.results) for each in drawn if each.results}
    frame = curves_of_several(
        Untitled(),
        {each.label: (each.oracle, each.results) for each in drawn},
        " or ".join(sorted(levels)) or "confidence",
        shown,
    )
    save_figure(folder, stem, frame.figure)
    names = [stem]
    if with_histograms:
        spreads = {each.label: spread for each in drawn if (spread := _spreads(each)) is not None}
        histogram = comparison_histogram(Untitled(), spreads)
        if histogram is None:
            raise UsageError("--hist: none of these results has a candidates.jsonl beside it")
        save_figure(folder, f"{stem}-hist", histogram.figure)
        names.append(f"{stem}-hist")
    for name in names:
        for suffix in _SUFFIXES:
            print(folder / f"{name}{suffix}")  # noqa: T201


def _measure(name: str) -> Measure:
    try:
        return Measure(name)
    except ValueError:
        known = ", ".join(each.value for each in Measure)
        raise UsageError(f"--measure {name!r}: wanted one of {known}") from None


def _found(word: str, experiments: Path) -> Iterator[Found]:
    path = Path(word).expanduser()
    if path.is_file():
        yield _of_file(path)
        return
    folder = find_run(experiments, word)
    manifest = read_manifest(folder)
    if manifest.kind != BEST_OF_K:
        raise UsageError(f"run {folder.run_id} is a {manifest.kind}; wanted a {BEST_OF_K}")
    labels = trial_labels({slug: record.requested for slug, record in manifest.trials.items()})
    for slug in manifest.trials:
        path = folder.trial(slug).k_sweep
        if path.is_file():
            results = read_results(path)
            yield Found(
                label=labels[slug], run=folder.run_id, path=path, oracle=results.oracle, results=results
            )


def _of_file(path: Path) -> Found:
    try:
        held = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not JSON ({' '.join(str(error).split())})") from None
    rows = held.get("results_by_k") if isinstance(held, dict) else None
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{path}: has no results_by_k; name a run, or a k_sweep_results.json")
    if "schema_version" in held:
        results = read_results(path)
        run = _run_of(path)
        return Found(label=results.label, run=run, path=path, oracle=results.oracle, results=results)
    try:
        return Found(
            label=path.stem, run=path.parent.name, path=path, oracle=curve_of_old(rows), results=None
        )
    except OvernightError as error:
        raise UsageError(f"{path}: {error}") from None


def _run_of(path: Path) -> str:
    """Return the run that a results file lies in, else the file's own name."""
    folders = path.resolve().parents
    is_of_run = len(folders) > 2 and folders[0].name == "results" and (folders[2] / "manifest.json").is_file()  # noqa: PLR2004
    return folders[2].name.removeprefix(RUN_PREFIX) if is_of_run else path.stem


def _told_apart(found: Sequence[Found]) -> list[Found]:
    """Return them with labels of their own: the run's where two are alike, a number where that is not enough."""
    counts = Counter(each.label for each in found)
    named = [
        replace(each, label=f"{each.label} ({each.run})") if counts[each.label] > 1 else each
        for each in found
    ]
    counts = Counter(each.label for each in named)
    seen: Counter[str] = Counter()
    apart = []
    for each in named:
        seen[each.label] += 1
        number = f" #{seen[each.label]}" if counts[each.label] > 1 else ""
        apart.append(replace(each, label=f"{each.label}{number}"))
    return apart


def _has(curve: Curve, measure: Measure) -> bool:
    return any(curve.value(at.k, measure) is not None for at in curve.by_k)


def _spreads(each: Found) -> Spreads | None:
    path = each.path.parent / "candidates.jsonl"
    if each.results is None or not path.is_file():
        return None
    return read_candidates(path, each.results, 0)[1]
