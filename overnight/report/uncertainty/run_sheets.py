"""How a sweep went: the draws of its trials, and where its files are."""

from overnight.records import Condition
from overnight.report import wording as w
from overnight.report.results import TRUNCATED_TOO_OFTEN, RunReport, TrialReport
from overnight.report.sheets.invariance import audit_of_run
from overnight.report.sheets.sheet import Row, Sheet
from overnight.report.uncertainty.results import Section

HOW_TO_READ = (
    "AUROC is how often a wrong answer is less certain than a right one, over all pairs of the two: 0.5 is chance, and "
    "below 0.5 a measure points the wrong way. It is discrimination and not calibration.",
    "q is the p-value after allowing for the number of tests in the whole run: below 0.05 a difference is "
    "called shown, "
    "and a larger q does not say that two things are equal.",
    "The first of many measures is first by luck too: an interval that holds the AUROC of another leaves open which is "
    "better.",
    "A sum of the surprises of tokens grows with the length of an answer, and long answers are often wrong: a measure "
    "that is no better than length alone tells nothing that a ruler would not.",
    "An answer that was cut off at the token limit has the likelihood of a beginning; where many are, a "
    "longer limit may "
    "change the result.",
)


def draws(run: RunReport) -> Section:
    """Return what was asked and what came back, and the answers that were asked for again."""
    too_often = [trial.label for trial in run.trials if (trial.truncated_share or 0) > TRUNCATED_TOO_OFTEN]
    return Section(
        anchor="draws",
        heading="Draws and truncation",
        sheets=(
            Sheet(
                title="Draws by trial",
                head=(
                    "trial",
                    "state",
                    "expected",
                    "done",
                    "errors",
                    "cut off, %",
                    "empty, %",
                    "from the cache",
                ),
                rows=tuple(_draws_row(trial) for trial in run.trials),
            ),
            audit_of_run(run),
        ),
        paragraphs=(
            f"Warning: more than {w.percent(TRUNCATED_TOO_OFTEN, 0)} % of the answers were cut off at the "
            "token limit in "
            f"{', '.join(too_often)}.",
        )
        if too_often
        else (),
    )


def _draws_row(trial: TrialReport) -> Row:
    counts = trial.counts
    empty = next((arm.empty_share for arm in trial.arms if arm.condition is Condition.CONTROL), None)
    return (
        trial.label,
        trial.state.value,
        w.count(counts.expected),
        w.count(counts.done),
        w.count(counts.errors),
        w.percent(trial.truncated_share) or w.NOT_AVAILABLE,
        w.percent(empty) or w.NOT_AVAILABLE,
        w.count(counts.cache_hits),
    )


def where(run: RunReport) -> list[list[str]]:
    """Return what lies where in the folder of a run."""
    return [
        ["this run on one page, with answers token by token", "report.html"],
        ["a row a trial: the columns that people know first", "auroc_results.csv"],
        ["every result of every label in full", "auroc_results.json"],
        ["the whole analysis in one file", "analysis_summary.json"],
        ["what figures and reports are made of, with the digest of the tables behind it", "analysis.json"],
        ["a row an item, a column a measure or a label", "uncertainty.csv"],
        ["a row a trial: how it ended, and its main result", "summary.csv"],
        ["figures", "figures/"],
        ["what ran, how far, with what", "manifest.json"],
        ["the configuration, which can be run again", "effective_config.yaml"],
        ["the questions as they were asked", "items/"],
        *([["what the machine did, sample by sample", "telemetry/"]] if run.telemetry else []),
        *([f"report of {trial.label}", f"{trial.slug}/reports/report.md"] for trial in run.trials),
    ]
