import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from overnight.errors import StoreError
from overnight.records import Condition, Item, ItemType
from overnight.report.reading import read_run, trial_labels
from overnight.report.results import Outcome
from overnight.report.tallies import tally_draws
from overnight.report.templating import _shown
from overnight.report.verdict import verdict
from overnight.report.writing import write_reports
from overnight.store.manifest import TrialState

HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)> | a `b` [x](javascript:alert(1)) '
    '![](http://example.org/p.png)\n</div></details>"><svg onload=alert(1)>'
    "\x00\x1b[31m\u202e\udcff {{ 7 * 7 }}"
)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    # Figures take most of the time of a report and have tests of their own.
    monkeypatch.setattr("overnight.report.writing.write_figures", lambda *_: None)


class Page(HTMLParser):
    """The elements, the texts and the data of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        attributes = self.elements[-1][1] if self.cdata_elem == "script" else {}
        if attributes.get("type") == "application/json":
            self.data[attributes["id"]] = self.data.get(attributes["id"], "") + data
        else:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def summary_rows(folder) -> list[dict[str, str]]:
    with folder.summary.open(newline="") as file:
        return list(csv.DictReader(file))


def test_markdown_page_and_table_have_the_same_numbers(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    write_reports(folder)
    [row] = [row for row in summary_rows(folder) if row["metric"] == "em"]
    # 2 of 12 right in control, 12 of 12 in treatment; 10 pairs gained, none lost: p = 2 * 0.5 ** 10.
    assert float(row["mean_control"]) == pytest.approx(2 / 12)
    assert float(row["delta"]) == pytest.approx(10 / 12)
    assert float(row["p_value"]) == pytest.approx(2 * 0.5**10)
    assert (row["mcnemar_b"], row["mcnemar_c"], row["odds_ratio_high"]) == ("10", "0", "")
    low, high, q = (float(row[name]) for name in ("ci_low", "ci_high", "q_value"))

    interval = f"+{100 * low:.1f} to +{100 * high:.1f}"
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    assert f"| exact match | 16.7 | 100.0 | +83.3 | {interval} | 0.0020 | {q:#.2g} | 12 |" in report
    assert "unbounded" in report
    run_report = folder.aggregate_report.read_text()
    assert f"16.7 \u2192 100.0 (+83.3, {interval}; q {q:#.2g})" in run_report
    page = Page(folder.html_report.read_text()).text
    assert "+83.3" in page
    assert interval in page
    assert f"(q {q:#.2g})" in page


def test_the_verdict_counts_and_names_what_was_shown(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    text = verdict(read_run(folder))
    assert text.startswith("2 of 2 comparisons in exact match or token F1 have q below 0.05")
    assert "better in 2 and worse in 0" in text
    assert "16.7 % with the control prompt, 100.0 % with the treatment, a difference of +83.3 points" in text


def test_the_verdict_names_what_moved_beside_the_scores(make_run, trial, questions) -> None:
    # Nothing is answered rightly in either arm, but only the control says that it does not know.
    replies = {
        (item.item_id, arm): ("I do not know." if arm is Condition.CONTROL else "lead", 0.0)
        for item in questions
        for arm in Condition
    }
    text = verdict(read_run(make_run([trial("brief", replies)], questions)))
    assert text.startswith("No difference could be shown")
    assert (
        "moved, with q below 0.05: abstention on closed items from 100.0 % to 0.0 % (brief, T 0, q " in text
    )


@pytest.mark.parametrize(
    ("detectable", "expected"),
    [
        (0.162, "is about 16.2 points with 12 closed items"),
        (None, "With 12 closed items no difference could have"),
    ],
)
def test_the_verdict_without_a_difference_says_what_could_have_been_seen(
    make_run, trial, questions, detectable, expected
) -> None:
    same = {(item.item_id, arm): ("gold", 1.0) for item in questions for arm in Condition}
    text = verdict(read_run(make_run([trial("brief", same)], questions, detectable)))
    assert text.startswith("No difference could be shown: none of 2 comparisons")
    assert expected in text


def test_the_verdict_of_a_run_that_was_cut_speaks_of_its_pairs_and_not_of_its_plan(
    make_run, trial, questions
) -> None:
    # What 12 items could have shown says nothing of a run that compared 5 of them.
    some = {(item.item_id, arm): ("gold", 1.0) for item in questions[:5] for arm in Condition}
    text = verdict(read_run(make_run([trial("brief", some, state=TrialState.STOPPED)], questions, 0.162)))
    assert "The largest comparison has 5 pairs; the plan was for 12 items in all." in text
    assert "16.2" not in text


def test_nothing_of_a_hostile_reply_survives_on_the_page(make_run, trial, questions) -> None:
    hostile = Item(
        dataset="quiz",
        item_id="q99",
        type=ItemType.OPEN,
        question=HOSTILE,
        answers=(HOSTILE,),
        context=HOSTILE,
    )
    replies = {
        (item.item_id, arm): (HOSTILE, float(arm is Condition.CONTROL))
        for item in [*questions, hostile]
        for arm in Condition
    }
    folder = make_run(
        [trial("brief", replies, error=HOSTILE, state=TrialState.FAILED)], [*questions, hostile]
    )
    write_reports(folder)
    text = folder.html_report.read_text(encoding="utf-8")
    page = Page(text)
    # Ours, and one of data for the questions and for each trial.
    assert page.count("script") == 2 + 1 + 1
    assert page.count("img") == page.count("iframe") == page.count("link") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    # Links lead to sections of the page alone, and nothing is fetched.
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.elements)
    assert not [1 for _, attributes in page.elements if "src" in attributes]
    assert '<script>alert("x")</script>' in page.text  # shown, as the text that it is
    assert "{{ 7 * 7 }}" in page.text
    assert "\\x00\\x1b[31m\\u202e\\udcff" in page.text
    # In the data it is the same text, and no character of it can end the element around it.
    assert not any(character in data for data in page.data.values() for character in "<>&")
    asked, replies = json.loads(page.data["asked"]), json.loads(page.data["replies-0"])
    shown = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    key, dataset, kind, question, passage, answers = asked["items"][-1]
    assert (key, dataset, kind) == ("quiz|q99", "quiz", "open")
    assert question.startswith(shown)
    assert asked["passages"][passage].startswith(shown)
    assert answers[0].startswith(shown)
    assert all(row[4][0].startswith(shown) for row in replies["rows"])
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)


def test_a_hostile_reply_stays_in_its_cell_of_the_markdown(make_run, trial, questions) -> None:
    replies = {
        (item.item_id, arm): (HOSTILE, float(arm is Condition.CONTROL))
        for item in questions
        for arm in Condition
    }
    folder = make_run([trial("brief", replies)], questions)
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text(encoding="utf-8")
    rows = [line for line in report.splitlines() if line.startswith("| quiz")]
    examples = [row for row in rows if "script" in row]
    assert len(examples) == 5
    # Eight columns, nine borders: every border of a reply is escaped.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in examples} == {9}
    assert "<script" not in report
    assert "](javascript" not in report.replace("\\](", "")


def test_a_failed_and_a_planned_trial_are_named_with_their_reasons(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run(
        [
            trial("good", better_replies),
            trial("broken", state=TrialState.FAILED, error="the engine | ran out of memory"),
            trial("waiting", state=TrialState.PLANNED),
        ],
        questions,
    )
    write_reports(folder)
    text = folder.aggregate_report.read_text()
    assert "2 of 3 trials have not ended well (1 failed)." in text
    assert "| failed | the engine \\| ran out of memory |" in text
    assert "| planned | never begun |" in text
    page = Page(folder.html_report.read_text()).text
    assert "n/a (the trial is failed: the engine | ran out of memory)" in page
    assert "n/a (the trial never began)" in page
    reports = {
        path.parts[-3].split("-")[1]: path.read_text() for path in folder.path.glob("*/reports/report.md")
    }
    assert set(reports) == {"good", "broken", "waiting"}
    assert "n/a: the trial never began" in reports["waiting"]


def test_a_missing_value_is_an_empty_cell_of_the_summary(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("good", better_replies), trial("waiting", state=TrialState.PLANNED)], questions)
    write_reports(folder)
    rows = summary_rows(folder)
    [abstention] = [row for row in rows if row["metric"] == "abstain_rate"]
    assert (abstention["p_value"], abstention["mcnemar_b"]) == ("1.0", "")  # sign flips of equal arms
    [waiting] = [row for row in rows if row["prompt_set"] == "waiting"]
    assert waiting["state"] == "planned"
    assert not [
        waiting[name] for name in ("temperature", "metric", "n_pairs", "delta", "q_value") if waiting[name]
    ]
    assert "nan" not in folder.summary.read_text().lower()


def test_a_run_without_a_finished_trial_has_every_report(make_run, trial, questions) -> None:
    folder = make_run([trial("waiting", state=TrialState.PLANNED)], questions)
    write_reports(folder)
    assert "No comparison could be made" in folder.aggregate_report.read_text()
    assert folder.html_report.is_file()
    assert len(summary_rows(folder)) == 1


def test_a_run_without_trials_has_a_report(make_run, questions) -> None:
    folder = make_run([], questions)
    write_reports(folder)
    assert "No comparison could be made" in folder.aggregate_report.read_text()


def test_a_run_with_a_manifest_alone_has_a_report(make_run, trial, questions) -> None:
    folder = make_run([trial("waiting", state=TrialState.PLANNED)], questions)
    for path in (folder.plan, folder.effective_config, folder.items("quiz")):
        path.unlink()
    write_reports(folder)
    text = folder.aggregate_report.read_text()
    for name in ("plan.json", "effective_config.yaml", "quiz.jsonl"):
        assert f"{name} is missing" in text


def test_a_table_that_cannot_be_read_is_named_and_the_others_are_shown(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("good", better_replies)], questions)
    tables = next(folder.path.glob("tiny-*/results"))
    (tables / "costs.json").write_text("{}")
    (tables / "predictions.csv").write_text("a,b\n1,2\n")
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    assert "n/a: costs.json cannot be read (KeyError" in report
    assert "n/a: predictions.csv: columns" in report
    assert "| exact match | 16.7 | 100.0 |" in report


def test_significance_of_another_version_is_not_read(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("good", better_replies)], questions)
    path = next(folder.path.glob("tiny-*/results/significance.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    assert "schema_version 1" in read_run(folder).trials[0].missing["significance.json"]


def test_a_dry_run_says_so_in_every_report(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies, engine="dry_run")], questions)
    write_reports(folder)
    for path in (folder.aggregate_report, folder.html_report, *folder.path.glob("*/reports/report.md")):
        assert "DRY RUN" in path.read_text()


def test_settings_that_were_not_given_as_requested_are_named(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("brief", better_replies, effective={"quantization": "Q8_0"})], questions)
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    assert "| quantization | Q4_1 | Q8_0 |" in report
    assert "**Not as requested: quantization.**" in report


def test_truncation_is_warned_of_above_a_tenth_of_the_replies(
    make_run, trial, questions, better_replies
) -> None:
    # 24 draws: 2 are 8.3 %, 3 are 12.5 %.
    folder = make_run(
        [trial("few", better_replies, n_truncated=2), trial("many", better_replies, n_truncated=3)], questions
    )
    write_reports(folder)
    warnings = [
        line for line in folder.aggregate_report.read_text().splitlines() if line.startswith("**Warning")
    ]
    assert warnings == ["**Warning: more than 10 % of the replies were cut off at the token limit in many.**"]


def test_prompts_are_told_by_their_digests_and_words(make_run, trial, questions, better_replies) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    write_reports(folder)
    report = next(folder.path.glob("*/reports/report.md")).read_text()
    assert re.search(r"\| control \| brief \| 3 \| [0-9a-f]{12} \|", report)
    assert re.search(r"\| treatment \| brief \| 10 \| [0-9a-f]{12} \|", report)


def test_examples_prefer_items_on_which_the_arms_differ(make_run, trial) -> None:
    many = [
        Item(dataset="quiz", item_id=f"i{i}", type=ItemType.CLOSED, question="?", answers=("a",))
        for i in range(400)
    ]
    # One item in 20 is lost, all others are wrong in both arms.
    replies = {
        (item.item_id, arm): (f"reply {arm}", float(i % 20 == 0 and arm is Condition.CONTROL))
        for i, item in enumerate(many)
        for arm in Condition
    }
    folder = make_run([trial("brief", replies)], many)
    [report] = read_run(folder).trials
    draws = tally_draws(folder.trial(report.slug), n_examples=50)
    outcomes = [example.outcome for example in draws.examples]
    assert len(outcomes) == 50
    assert outcomes.count(Outcome.LOST) == 20
    assert draws.n_by_outcome == {Outcome.LOST: 20, Outcome.BOTH_WRONG: 380}


def test_scores_of_other_items_than_the_predictions_are_refused(
    make_run, trial, questions, better_replies
) -> None:
    folder = make_run([trial("brief", better_replies)], questions)
    tables = folder.trial(next(folder.path.glob("tiny-*")).name)
    tables.scores.write_text(tables.scores.read_text().replace("quiz|q03", "quiz|other"))
    with pytest.raises(StoreError, match=r"quiz\|other is not where predictions.csv has it"):
        tally_draws(tables, n_examples=5)


def test_a_trial_is_labelled_by_what_varies() -> None:
    same = {
        "model": "m",
        "prompt_set": "p",
        "top_p": 1.0,
        "top_k": 50,
        "max_new_tokens": {"closed": 8, "open": 8},
    }
    assert trial_labels({"a": same, "b": same | {"prompt_set": "q"}}) == {"a": "p", "b": "q"}
    assert trial_labels({"a": same, "b": same | {"top_p": 0.9}}) == {"a": "p top-p 1", "b": "p top-p 0.9"}
    assert trial_labels({"x-11111111": same, "x-22222222": same}) == {
        "x-11111111": "p 11111111",
        "x-22222222": "p 22222222",
    }


def test_the_page_refuses_a_number_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="nan"):
        _shown(float("nan"))


def test_reports_need_neither_the_orchestrator_nor_torch_nor_pandas_nor_pyplot() -> None:
    script = (
        "import sys, overnight.report.writing\n"
        "print([m for m in ('prefect', 'torch', 'pandas', 'matplotlib.pyplot') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
