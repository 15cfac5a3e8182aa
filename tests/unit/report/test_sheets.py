import csv
import json
from html.parser import HTMLParser

import pytest

from overnight.report.reading import read_run
from overnight.report.sheets.collecting import NAMES, analysis_sheets
from overnight.report.writing import write_reports

TOST = {
    "margin": 0.05,
    "alpha": 0.05,
    "p_lower": 0.01,
    "p_upper": 0.04,
    "p_value": 0.04,
    "is_equivalent": True,
    "is_non_inferior": True,
    "p_non_inferior": 0.01,
    "ci": [-0.0123, 0.0456],
    "undefined_because": None,
}
VERSION_3 = {
    "ci_method": "percentile",
    "ci_bca": [0.1, 0.9],
    "wilcoxon": {"w": 5.0, "p_value": 0.0625, "n_nonzero": 10},
    "hodges_lehmann": 0.123456,
    "cohens_dz": 1.23456,
    "rank_biserial": -0.5,
    "sign_statistic": 0.75,
    "permutation_p": 0.002,
    "q_value_by": 0.011,
    "p_holm": 0.012,
    "tost": TOST,
}
ARM = {
    "n_items": 12,
    "n_answered": 10,
    "risk": 0.25,
    "aurc": 0.2,
    "aurc_ci": [0.1, 0.3],
    "excess_aurc": 0.05,
    "auroc": None,
    "auroc_ci": None,
    "points": [{"coverage": 0.5, "risk": 0.125}],
    "curve": [{"confidence_from": 0.9, "coverage": 0.5, "risk": 0.125}],
    "undefined_because": None,
    "auroc_undefined_because": "one class <b>",
}
RECORDS = {
    "selective_risk": {
        "coverages": [0.5],
        "results": {"0.0": {"closed": {"control": ARM, "treatment": ARM, "difference": {}}}},
    },
    "squad": {
        "abstention": "handed in as the empty string",
        "arms": [
            {
                "dataset": "quiz",
                "condition": "control",
                "temp": 0.0,
                "exact": 64.81471,
                "f1": 67.6,
                "total": 12,
                "HasAns_exact": 1.0,
                "HasAns_f1": 2.0,
                "HasAns_total": 12,
            }
        ],
    },
    "unsupported_sensitivity": {
        "unsupported": "few words of the passage",
        "not_claims": "abstentions",
        "thresholds": [0.5],
        "results": {
            "0.0": {
                "control": {"n_claims": 7, "rates": [0.4], "undefined_because": None},
                "treatment": {"n_claims": 0, "rates": None, "undefined_because": "nothing claimed"},
                "difference": {"rates": None},
            }
        },
    },
}


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overnight.report.writing.write_figures", lambda *_: None)


@pytest.fixture
def folder(make_run, trial, questions, better_replies):
    """Return a run whose one trial has significance of version 3 and three analyses."""
    folder = make_run([trial("brief", better_replies)], questions)
    tables = next(folder.path.glob("tiny-*/results"))
    path = tables / "significance.json"
    record = json.loads(path.read_text()) | {"schema_version": 3}
    cell = record["results"]["0.0"]["closed"]
    cell["n_clusters"] = 11
    cell["metrics"]["em"] |= VERSION_3
    path.write_text(json.dumps(record))
    for name, value in RECORDS.items():
        (tables / f"{name}.json").write_text(json.dumps({"schema_version": 1} | value))
    return folder


def text_of(page: str) -> str:
    parts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = parts.append
    parser.feed(page)
    return "\n".join(part.strip() for part in parts if part.strip())


def test_every_further_number_is_the_same_in_markdown_page_and_table(folder) -> None:
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    page = text_of(folder.html_report.read_text())
    rows = (
        ["0", "closed", "exact match", "+12.3", "1.23", "\u22120.50", "0.75", "0.062", "0.0020"],
        ["0", "closed", "exact match", "\u00b15.0", "\u22121.2 to +4.6", "0.010", "0.040", "0.040", "yes"],
        ["0", "closed", "control", "10 of 12", "25.0", "0.200", "0.100 to 0.300", "0.050"],
        ["quiz", "0", "control", "all", "12", "64.81", "67.60"],
        ["0", "control", "7", "40.0"],
    )
    for row in rows:
        assert f"| {' | '.join(row)} |" in report
        assert "\n".join(row) in page
    with folder.summary.open(newline="") as file:
        [em] = [row for row in csv.DictReader(file) if row["metric"] == "em"]
    assert (em["hodges_lehmann"], em["rank_biserial"], em["equivalence_p"]) == ("0.123456", "-0.5", "0.04")
    assert (em["is_equivalent"], em["ci_method"]) == ("True", "percentile")


def test_the_sections_of_a_trial_come_in_the_order_of_the_specification(folder) -> None:
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    headings = [line.removeprefix("## ") for line in report.splitlines() if line.startswith("## ")]
    order = ["Prompts", "Data balance", "Results", "Significance", "Confidence", "Unsupported sensitivity"]
    assert [heading for heading in headings if heading in order] == order
    assert headings.index("Costs and time") > headings.index("Unsupported sensitivity")


def test_what_is_undefined_says_why_and_nothing_of_it_is_markup(folder) -> None:
    write_reports(folder)
    assert "n/a (one class <b>)" in text_of(folder.html_report.read_text())
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    assert "n/a (one class &lt;b&gt;)" in report
    assert "| 0 | treatment | n/a (nothing claimed) |  |" in report


def test_an_analysis_that_is_damaged_or_was_not_possible_is_named_and_the_others_are_shown(folder) -> None:
    tables = next(folder.path.glob("tiny-*/results"))
    (tables / "selective_risk.json").write_text("{")
    (tables / "squad.json").write_text('{"arms": [{}]}')
    (tables / "mixed_models.json").write_text(
        '{"results": null, "undefined_because": "MemoryError: no room"}'
    )
    [trial] = read_run(folder).trials
    notes = {heading: sheets[0].notes for heading, sheets in analysis_sheets(trial)}
    assert "selective_risk.json" in notes["Confidence"][0]
    assert "squad.json cannot be read (KeyError" in notes["Official SQuAD 2.0 figures"][0]
    assert notes["All replies in one model"] == ("n/a (MemoryError: no room)",)
    assert notes["Unsupported sensitivity"][0].startswith("Unsupported: few words")


def test_a_run_without_further_analyses_has_no_sections_for_them(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    for path in folder.path.glob("tiny-*/results/*.json"):
        if path.stem in NAMES:
            path.unlink()
    write_reports(folder)
    [report] = read_run(folder).trials
    assert analysis_sheets(report) == []
    assert "Unsupported sensitivity" not in next(folder.path.glob("*/reports/report.md")).read_text()


def test_trials_against_each_other_stand_in_both_reports_of_the_run_under_their_labels(folder) -> None:
    slug = next(folder.path.glob("tiny-*")).name
    numbers = {"delta_mean": 0.25, "ci": [0.1, 0.4], "p_value": 0.01, "q_value": 0.02}
    cell = {
        "systems": [
            {
                "system": f"{slug} control",
                "n_items": 12,
                "mean": 0.5,
                "ci": [0.25, 0.75],
                "undefined_because": None,
            }
        ],
        "cochran": {"n_items": 12, "n_systems": 3, "q": 7.5, "p_value": 0.0235, "q_value": 0.047},
        "pairs": [
            {"first": f"{slug} control", "second": "gone treatment", "n_pairs": 12, **numbers}
            | {"undefined_because": None}
        ],
    }
    record = {
        "metric": "em",
        "groups": [{"model": {"model": "tiny"}, "results": {"0.0": {"closed": cell}}}],
        "refused": [{"first": [slug], "second": ["gone"], "reason": "different models answered"}],
    }
    (folder.path / "comparisons.json").write_text(json.dumps(record))
    write_reports(folder)
    report = folder.aggregate_report.read_text()
    page = text_of(folder.html_report.read_text())
    for row in (
        ["tiny", "0", "closed", "brief control", "12", "50.0", "25.0 to 75.0"],
        ["tiny", "0", "closed", "12", "3", "7.50", "0.024", "0.047"],
        ["brief control", "gone treatment", "12", "+25.0", "+10.0 to +40.0", "0.010", "0.020"],
    ):
        assert f"| {' | '.join(row)} |" in report
        assert "\n".join(row) in page
    assert "Not compared: brief with gone (different models answered)." in page
    (folder.path / "comparisons.json").write_text(json.dumps({"groups": [{}]}))
    write_reports(folder)
    assert "comparisons.json cannot be read (KeyError" in text_of(folder.html_report.read_text())
