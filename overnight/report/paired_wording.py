"""The numbers and sentences of a comparison of systems."""

from overnight.report.paired import SHOWN_BELOW, PairedReport, PairedTable
from overnight.report.wording import MINUS, counted, decimal, percent, points, probability
from overnight.stats.systems import SystemPair

HOW_TO_READ = (
    "A difference is the second system minus the first over the items that both were scored on; its interval says "
    "how far chance in the choice of items can move it, and an interval that holds 0 leaves open which is better.",
    f"q is the p-value after allowing for every pair in this report (Benjamini-Hochberg): below {SHOWN_BELOW:g} the "
    "difference is called shown. A larger q does not say that two systems are equal.",
    "p is exact McNemar where every score is 0 or 1 or the metric is exact match, and the sign-flip test of the mean "
    "difference otherwise. Cochran's Q asks of all systems at once whether they are right equally often.",
)
_DIGITS = 4


def score(table: PairedTable, value: float | None) -> str:
    """Return a score: in percent where scores are shares, else with four digits."""
    return percent(value) if table.is_share else plain(value)


def difference(table: PairedTable, value: float | None) -> str:
    """Return a difference with its sign: in percentage points where scores are shares."""
    if table.is_share or value is None:
        return points(value)
    text = f"{value:+.{_DIGITS}g}"
    return "0" if float(text) == 0 else text.replace("-", MINUS)


def plain(value: float | None) -> str:
    """Return a number with at most four digits, or nothing where there is none."""
    return "" if value is None else f"{value:.{_DIGITS}g}".replace("-", MINUS)


def interval(table: PairedTable, low: float | None, high: float | None, *, signed: bool = True) -> str:
    """Return an interval, or nothing where there is none."""
    if low is None or high is None:
        return ""
    one = difference if signed else score
    return f"{one(table, low)} to {one(table, high)}"


def split(pair: SystemPair) -> str:
    """Return how many items only one of the two has right."""
    return "" if pair.mcnemar is None else f"{pair.mcnemar.c:,} / {pair.mcnemar.b:,}"


def unit(table: PairedTable) -> str:
    """Return the unit of scores and of differences."""
    return "percent and percentage points" if table.is_share else f"the unit of {table.comparison.metric}"


def cochran(table: PairedTable) -> str:
    """Return Cochran's Q in one sentence, or why there is none; nothing for two systems."""
    test = table.comparison.cochran
    if len(table.comparison.systems) < 3:  # noqa: PLR2004 - of two it is McNemar's test once more
        return ""
    if test.q is None:
        return f"Cochran's Q: n/a ({test.undefined_because})."
    return (
        f"Cochran's Q over {counted(test.n_items, 'item')}: {decimal(test.q)} on {test.df} degrees of freedom, "
        f"p {probability(test.p_value)}."
    )


def direction(table: PairedTable) -> str:
    """Return which way is better, where it is known."""
    better = {True: "Higher is better.", False: "Lower is better.", None: ""}
    return better[table.is_higher_better]


def verdict(report: PairedReport) -> str:
    """Return one paragraph: what was shown."""
    tables = [table for table in report.tables if not table.is_check]
    tested = [pair for table in tables for pair in table.comparison.pairs if pair.q_value is not None]
    if not tested:
        return "No comparison could be made: no item has a score in two systems."
    shown = [(table, pair) for table in tables for pair in table.shown]
    if not shown:
        return f"No difference could be shown: none of {counted(len(tested), 'pair')} has q below {SHOWN_BELOW:g}."
    table, pair = min(
        shown, key=lambda found: (found[1].q_value or 0.0, -abs(found[1].mean_difference or 0.0))
    )
    where = f" ({table.heading})" if len(tables) > 1 else f" in {table.comparison.metric}"
    return (
        f"{len(shown)} of {counted(len(tested), 'pair')} "
        f"{'differs' if len(shown) == 1 else 'differ'} with q below {SHOWN_BELOW:g}. The clearest difference"
        f"{where} is {pair.second} against {pair.first}: {score(table, pair.mean_treatment)} against "
        f"{score(table, pair.mean_control)}, a difference of {difference(table, pair.mean_difference)} "
        f"({100 * pair.confidence:g} % interval {interval(table, pair.ci_low, pair.ci_high) or 'n/a'}, "
        f"q {probability(pair.q_value)}, {counted(pair.n_pairs, 'item')})."
    )
