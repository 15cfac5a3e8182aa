"""The sections of the reports, in their order."""

from collections.abc import Callable, Iterator, Sequence

from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import AtK, Curve, KSweepResults
from overnight.best_of_k.words import BASELINE_NAMES, MEASURE_NAMES, SELECTOR_NAMES
from overnight.report import wording as w
from overnight.report.best_of_k.figures import points_of
from overnight.report.best_of_k.findings import findings
from overnight.report.best_of_k.naming import ahead, gained_share, level, number, share, takes
from overnight.report.best_of_k.results import HEADLINE, BestOfKReport, SweepTrial, gap_of
from overnight.report.sheets.sheet import Row, Sheet, yes_no
from overnight.report.uncertainty.results import Section

SheetOf = Callable[[KSweepResults, str], Sheet | None]
_MOST_KS = 8  # columns of numbers of texts


def sections_of(report: BestOfKReport) -> list[Section]:
    """Return what a sweep says; sections without anything in them are left out."""
    found = [
        Section(anchor="findings", heading="Findings", sheets=(), paragraphs=tuple(findings(report))),
        _trials(report),
        _each(report, "recovery", "Recovery by K", _recovery),
        _each(report, "selectors", "Ways to choose", _selectors),
        _each(report, "baselines", "Baselines", _baselines),
        _each(report, "roles", "By role", _roles),
        _costs(report),
        _definitions(report),
    ]
    return [section for section in found if not section.is_empty]


def _each(report: BestOfKReport, anchor: str, heading: str, sheet_of: SheetOf) -> Section:
    several = len(report.trials) > 1
    sheets = []
    for one in report.measured:
        title = f"{heading}: {one.label}" if several else heading
        if one.measured and (sheet := sheet_of(one.measured, title)):
            sheets.append(sheet)
    return Section(anchor=anchor, heading=heading, sheets=tuple(sheets), n_open=2)


def _trials(report: BestOfKReport) -> Section:
    return Section(
        anchor="trials",
        heading="Trials",
        sheets=(
            Sheet(
                title="Trials",
                head=(
                    "trial",
                    "state",
                    "K",
                    "vectors",
                    "bias-aware FVE, %",
                    "strongest baseline, %",
                    "above it, points",
                    "best without the vector, %",
                    "a vector takes",
                ),
                rows=tuple(_trial_row(one) for one in report.trials),
                n_text=2,
                notes=(
                    f"At the largest K that is measured; in brackets {report.level} intervals over texts. The first "
                    "share is the oracle's, an upper bound.",
                ),
            ),
            *(
                (
                    Sheet(
                        title="Trials over the same vectors",
                        head=("trial", "less", "K", "difference in bias-aware FVE, points"),
                        rows=tuple(
                            (each.label, each.other, w.count(each.k), ahead(each.gap))
                            for each in report.differences
                        ),
                        notes=(
                            "Resampled as pairs. The first trial is the one that came out highest, so its lead is a "
                            "little flattered.",
                        ),
                    ),
                )
                if report.differences
                else ()
            ),
        ),
    )


def _trial_row(one: SweepTrial) -> Row:
    state = one.trial.state.value
    if one.measured is None or one.best is None:
        return (one.label, state, w.NOT_AVAILABLE, *[""] * 6)  # the findings say why
    results, k = one.measured, one.largest_k or 0
    baseline, blind = one.strongest_baseline, one.best_blind
    gap = gap_of(baseline.at(k)) if baseline else None
    costs = results.costs
    return (
        one.label,
        state if results.state == "complete" else f"{state}, {results.state}",
        w.count(k),
        f"{w.count(results.vectors.n_measured)} of {w.counted(results.vectors.n_sources, 'text')}",
        share(one.headline),
        f"{w.percent(baseline.value(k, HEADLINE))} {BASELINE_NAMES[baseline.name]}"
        if baseline
        else w.NOT_AVAILABLE,
        ahead(gap.gap) if gap else w.NOT_AVAILABLE,
        f"{w.percent(blind.value(k, HEADLINE))} {SELECTOR_NAMES[blind.name]}" if blind else w.NOT_AVAILABLE,
        takes(costs, k),
    )


def _recovery(results: KSweepResults, title: str) -> Sheet:
    def row(at: AtK) -> Row:
        found = at.measures
        return (
            w.count(at.k),
            share(found[Measure.BIAS_AWARE_FVE]),
            share(found[Measure.FVE]),
            number(found[Measure.MSE], Measure.MSE),
            number(found[Measure.NORMALISED_MSE], Measure.NORMALISED_MSE),
            w.percent(at.r_squared_by_dimension) or w.NOT_AVAILABLE,
            number(found[Measure.R_SQUARED_GRAND], Measure.R_SQUARED_GRAND),
            number(found[Measure.COSINE], Measure.COSINE),
        )

    missing = [
        f"K = {old.k}: {old.undefined_because}."
        for old in results.results_by_k
        if old.k not in results.measured_ks
    ]
    return Sheet(
        title=title,
        head=(
            "K",
            "bias-aware FVE, %",
            "FVE, %",
            "MSE",
            "normalised MSE",
            "R\u00b2 a dimension, %",
            "grand R\u00b2, %",
            "cosine",
        ),
        rows=tuple(row(at) for at in results.oracle.by_k),
        n_text=0,
        notes=(
            f"Oracle: the text closest to the vector is kept, an upper bound. In brackets {level(results)} intervals "
            f"over {w.counted(results.vectors.n_sources, 'text')}.",
            *missing,
        ),
    )


def _selectors(results: KSweepResults, title: str) -> Sheet:
    ks, k = _some(results.measured_ks), max(results.measured_ks)

    def row(curve: Curve, name: str, *, sees: bool) -> Row:
        gap = gap_of(curve.at(k))
        if not curve.by_k:
            return (name, yes_no(sees), w.not_available(curve.undefined_because), *[""] * (len(ks) + 1))
        return (
            name,
            yes_no(sees),
            *_values(curve, ks),
            "" if sees else ahead(gap.gap if gap else None),
            ""
            if sees
            else w.not_available(gap.undefined_because if gap else None)
            if gap is None or gap.share_of_gain is None
            else gained_share(gap.share_of_gain),
        )

    return Sheet(
        title=title,
        head=(
            "kept is",
            "needs the vector",
            *(f"K = {each}, %" for each in ks),
            f"behind the oracle at K = {k}, points",
            "of its gain, %",
        ),
        rows=tuple(
            row(curve, SELECTOR_NAMES[curve.name], sees=curve.needs_vector)
            for curve in (results.oracle, *results.selectors)
        ),
        notes=(
            "Bias-aware FVE. Of its gain: the share of what the oracle gains over one text; below 0 the choice does "
            "harm. Of two texts neither agrees more, so self-consistency and the medoid begin to choose at three. "
            "Log-probability needs the decoder alone, these two have to encode all K texts.",
        ),
    )


def _baselines(results: KSweepResults, title: str) -> Sheet:
    ks, k = _some(results.measured_ks), max(results.measured_ks)

    def row(curve: Curve, name: str) -> Row:
        if not curve.by_k:
            return (name, w.not_available(curve.undefined_because), *[""] * len(ks))
        gap = gap_of(curve.at(k))
        return (name, *_values(curve, ks), ahead(gap.gap if gap else None))

    return Sheet(
        title=title,
        head=("baseline", *(f"K = {each}, %" for each in ks), f"oracle ahead at K = {k}, points"),
        rows=(
            *(row(curve, BASELINE_NAMES[curve.name]) for curve in results.baselines),
            ("the lens itself (oracle)", *_values(results.oracle, ks), ""),
        ),
        n_text=1,
        notes=("Bias-aware FVE; the best of the baseline's K is kept by the oracle, too.",),
    )


def _roles(results: KSweepResults, title: str) -> Sheet | None:
    if not results.by_role:
        return None
    ks = _some(results.measured_ks)
    return Sheet(
        title=title,
        head=("role", "vectors", *(f"K = {each}, %" for each in ks)),
        rows=tuple(
            (
                curve.role,
                w.count(curve.n_vectors),
                *(
                    _values(curve, ks)
                    if curve.by_k
                    else (w.not_available(curve.undefined_because), *[""] * (len(ks) - 1))
                ),
            )
            for curve in results.by_role
        ),
        n_text=1,
        notes=("Bias-aware FVE of the oracle about the mean of each role.",),
    )


def _costs(report: BestOfKReport) -> Section:
    points = points_of(report)
    halved = [
        f"{one.label}: batches were halved {w.counted(one.measured.costs.n_halvings, 'time')}, since memory ran out."
        for one in report.measured
        if one.measured and one.measured.costs.n_halvings
    ]
    return Section(
        anchor="costs",
        heading="What it costs",
        sheets=(
            Sheet(
                title="What it costs",
                head=(
                    "trial",
                    "K",
                    "tokens a vector",
                    "seconds a vector",
                    "bias-aware FVE, %",
                    "points per 1,000 tokens",
                    "of the last step",
                    "efficient in tokens",
                    "in seconds",
                ),
                rows=tuple(
                    (
                        point.label,
                        w.count(point.k),
                        w.decimal(point.tokens_per_vector, 1),
                        w.significant(point.seconds_per_vector) or w.NOT_AVAILABLE,
                        w.percent(point.recovery) or w.NOT_AVAILABLE,
                        _hundredfold(point.recovery_per_1k_tokens) or w.NOT_AVAILABLE,
                        _hundredfold(point.gained_per_1k_tokens),
                        yes_no(point.is_efficient_in_tokens),
                        yes_no(point.is_efficient_in_seconds),
                    )
                    for point in points
                ),
                n_text=1,
                notes=(
                    "Efficient: no other point of the run recovers as much for less. Seconds are of devices, drawing "
                    "and encoding; the sweep itself drew the largest K once and has every smaller one for nothing.",
                    *halved,
                ),
            ),
        ),
    )


def _hundredfold(value: float | None) -> str:
    return "" if value is None else w.significant(100.0 * value)


def _definitions(report: BestOfKReport) -> Section:
    first = next((one.measured for one in report.measured if one.measured), None)
    if first is None:
        return Section(anchor="definitions", heading="Definitions", sheets=())
    measures = tuple(
        (MEASURE_NAMES[measure], each.formula, "higher" if each.is_higher_better else "lower")
        for measure, each in first.definitions.items()
    )
    words = tuple((_word_title(name), text) for name, text in first.words.items())
    return Section(
        anchor="definitions",
        heading="Definitions",
        sheets=(
            Sheet(
                title="Measures of N vectors x with residuals r = x \u2212 reconstruction",
                head=("measure", "formula", "better"),
                rows=measures,
                n_text=3,
            ),
            Sheet(title="Words", head=("word", "meaning"), rows=words),
        ),
        n_open=2,
    )


def _word_title(name: str) -> str:
    named = {
        **{k.value: v for k, v in SELECTOR_NAMES.items()},
        **{k.value: v for k, v in BASELINE_NAMES.items()},
    }
    return named.get(name, name)


def _values(curve: Curve, ks: Sequence[int]) -> Iterator[str]:
    for k in ks:
        at = curve.at(k)
        yield number(at.measures[HEADLINE] if at else None, HEADLINE)


def _some(ks: Sequence[int]) -> Sequence[int]:
    """Return at most eight of them, the first and the last among these."""
    if len(ks) <= _MOST_KS:
        return ks
    places = [round(place * (len(ks) - 1) / (_MOST_KS - 1)) for place in range(_MOST_KS)]
    return [ks[place] for place in places]


def where(report: BestOfKReport) -> list[list[str]]:
    """Return what lies where in the folder of a run."""
    run = report.run
    return [
        ["this run on one page, with vectors and their texts", "report.html"],
        ["a row a trial", "summary.csv"],
        ["a row a trial and K", "k_sweep_summary.csv"],
        ["all numbers of a trial, with intervals and definitions", "TRIAL/results/k_sweep_results.json"],
        ["the same, a row a number", "TRIAL/results/k_sweep.csv"],
        ["a line a vector: all its texts, how far each is from it", "TRIAL/results/candidates.jsonl"],
        ["a line a text, with its tokens", "TRIAL/results/generations.jsonl"],
        ["what the encoder made of the texts", "TRIAL/results/reconstructions/"],
        ["the sums that all measures of the oracle are made of", "TRIAL/results/recovery/oracle.npz"],
        ["vectors, and which texts have none", "vectors/"],
        ["figures", "figures/"],
        ["what ran, how far, with what", "manifest.json"],
        ["the configuration, which can be run again", "effective_config.yaml"],
        *([["what the machine did, sample by sample", "telemetry/"]] if run.telemetry else []),
        *([f"trial: {trial.label}", f"{trial.slug}/"] for trial in run.trials),
    ]
