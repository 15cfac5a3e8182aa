"""What a best-of-K sweep found, in sentences; an upper bound is called one."""

from collections.abc import Iterator

from overnight.best_of_k.baselines import Baseline
from overnight.best_of_k.definitions import Measure
from overnight.best_of_k.record import Estimate
from overnight.best_of_k.words import BASELINE_NAMES, SELECTOR_NAMES
from overnight.report.best_of_k.naming import gained_share, lead, share, takes
from overnight.report.best_of_k.results import HEADLINE, BestOfKReport, SweepTrial, gap_of
from overnight.report.wording import counted, percent, points

_MOST_NAMED = 6


def verdict(report: BestOfKReport) -> str:
    """Return the one thing to know: what the best texts recover, above what, and what a user gets of it."""
    one = report.leading
    if one is None or one.headline is None or one.measured is None:
        return "Nothing is measured: no trial has draws enough."
    counts = one.measured.vectors
    sentences = [
        f"The best of {one.largest_k} texts recovers {_recovered(one)} of the variance of "
        f"{counted(counts.n_measured, 'vector')} from {counted(counts.n_sources, 'text')} ({_bias_aware(one)}oracle: "
        f"an upper bound){_of_several(report, one)}.",
        *_baseline(one),
        *_blind(one),
        *_cost(one),
    ]
    return " ".join(sentences)


def findings(report: BestOfKReport) -> list[str]:
    """Return the findings, a sentence or two each."""
    found = [sentence for one in report.measured for sentence in _of_trial(report, one)]
    return [*found, *_differences(report), *_not_measured(report)]


def _recovered(one: SweepTrial) -> str:
    value = one.headline.value if one.headline else None
    return _share_in_words(one.headline) if value is not None and value > 0 else "nothing"


def _bias_aware(one: SweepTrial) -> str:
    value = one.headline.value if one.headline else None
    return (
        "bias-aware FVE, "
        if value is not None and value > 0
        else f"bias-aware FVE {_share_in_words(one.headline)}, "
    )


def _share_in_words(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return "n/a"
    low, high = percent(found.ci_lower), percent(found.ci_upper)
    return f"{percent(found.value)} %" + (f" ({low} to {high})" if low and high else "")


def _of_several(report: BestOfKReport, one: SweepTrial) -> str:
    n = len(report.measured)
    return f" with {one.label}, the highest of {n} trials and so a little flattered" if n > 1 else ""


def _baseline(one: SweepTrial) -> Iterator[str]:
    best = one.strongest_baseline
    if best is None:
        yield "There is no baseline to hold that against."
        return
    gap = gap_of(best.at(one.largest_k or 0))
    if gap is None or gap.gap.value is None:
        return
    value = percent(best.value(one.largest_k or 0, HEADLINE))
    chosen = "" if best.name is Baseline.MEAN_VECTOR else ", chosen in the same way"
    against = f"the strongest baseline, {BASELINE_NAMES[best.name]} ({value} %{chosen})"
    low = gap.gap.ci_lower
    if gap.gap.value <= 0:
        yield f"That is no more than {against}: the lens says nothing of these vectors."
    elif low is not None and low <= 0:
        yield f"That is {lead(gap.gap)} above {against}; the interval holds 0, so it may be chance."
    else:
        yield f"That is {lead(gap.gap)} above {against}."


def _blind(one: SweepTrial) -> Iterator[str]:
    best = one.best_blind
    gap = gap_of(best.at(one.largest_k or 0)) if best else None
    if best is None or gap is None:
        return
    value = best.value(one.largest_k or 0, HEADLINE)
    gained = (
        f", {gained_share(gap.share_of_gain)} % of what the oracle gains over one text"
        if gap.share_of_gain is not None
        else ""
    )
    yield f"Without seeing the vector {SELECTOR_NAMES[best.name]} gets {percent(value)} %{gained}."


def _cost(one: SweepTrial) -> Iterator[str]:
    if one.measured and one.measured.costs.tokens_per_draw is not None:
        yield f"A vector takes {takes(one.measured.costs, one.largest_k or 0).replace(', ', ' and ')}."


def _of_trial(report: BestOfKReport, one: SweepTrial) -> Iterator[str]:
    results = one.measured
    if results is None:
        return
    of = f"{one.label}: " if len(report.trials) > 1 else ""
    first, last = results.oracle.by_k[0], results.oracle.by_k[-1]
    if first.k != last.k:
        before, after = first.measures[HEADLINE], last.measures[HEADLINE]
        yield (
            f"{of}from K = {first.k} to K = {last.k} the oracle goes from {share(before)} to {share(after)} % "
            f"bias-aware FVE{_last_step(one)}."
        )
    fve, honest = last.measures[Measure.FVE].value, last.measures[HEADLINE].value
    if fve is not None and honest is not None:
        yield (
            f"{of}FVE at K = {last.k} is {share(last.measures[Measure.FVE])} %; {points(fve - honest).lstrip('+')} "
            "points of it are a constant error that FVE forgives."
        )
    worse = [
        SELECTOR_NAMES[curve.name]
        for curve in results.selectors
        if (gap := gap_of(curve.at(last.k))) and gap.share_of_gain is not None and gap.share_of_gain <= 0
    ]
    if worse:
        yield f"{of}no better than one text taken blindly at K = {last.k}: {', '.join(worse)}."
    yield from (f"{of}{note}" for note in results.notes)


def _last_step(one: SweepTrial) -> str:
    by_k = one.measured.oracle.by_k if one.measured else ()
    if len(by_k) < 3:  # noqa: PLR2004 - with two there is but one step
        return ""
    last, before = by_k[-1].measures[HEADLINE].value, by_k[-2].measures[HEADLINE].value
    if last is None or before is None:
        return ""
    return (
        f"; the last step, from {by_k[-2].k} to {by_k[-1].k}, adds {points(last - before).lstrip('+')} points"
    )


def _differences(report: BestOfKReport) -> Iterator[str]:
    for each in report.differences[:_MOST_NAMED]:
        low, high = each.gap.ci_lower, each.gap.ci_upper
        if low is None or high is None:
            continue
        clear = "clear" if low > 0 else "not told apart from chance"
        yield (
            f"{each.label} is {lead(each.gap)} ahead of {each.other} at K = {each.k} over the same vectors, which is "
            f"{clear}."
        )


def _not_measured(report: BestOfKReport) -> Iterator[str]:
    for one in report.trials:
        if one.measured is None:
            why = one.missing_because or (one.results.oracle.undefined_because if one.results else None)
            yield f"{one.label} is not measured: {why}."
