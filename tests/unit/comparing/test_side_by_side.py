import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from overnight.cli import main
from overnight.errors import StoreError, UsageError
from overnight.records import Item
from overnight.report.paired import PairedReport, PairedTable, paired_record
from overnight.report.paired_markdown import paired_markdown
from overnight.report.paired_page import paired_page
from overnight.runs.side_by_side import CompareOptions, compare_runs
from overnight.store.manifest import TrialState
from overnight.store.run_folder import RunFolder

FAST = CompareOptions(n_resamples=200)
MakeRun = Callable[..., RunFolder]
Right = Callable[[list[Item], int], dict[str, float]]


def compare(folder: Path, *words: str, **options: Any) -> PairedReport:
    return compare_runs(folder, words, CompareOptions(n_resamples=200, **options))


def table(report: PairedReport, **where: str) -> PairedTable:
    (found,) = [t for t in report.tables if where.items() <= t.where.items()]
    return found


@pytest.fixture
def two_runs(make_run: MakeRun, items: list[Item], first_right: Right) -> tuple[RunFolder, RunFolder]:
    """Two runs of one prompt set: treatment has 3 and 11 of 12 right, control 5 of 12 in both."""
    control = first_right(items, 5)
    a = make_run("a", {"brief": (control, first_right(items, 3))}, items)
    b = make_run(
        "b",
        {"brief": (control, first_right(items, 11))},
        items,
        config={"name": "s", "experiment": {"seed": 2}},
    )
    return a, b


def test_two_runs_are_paired_item_by_item(two_runs: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    report = compare(tmp_path, "a", "run_b")
    (pair,) = table(report, metric="em", condition="treatment").comparison.pairs
    # 8 items only b has right, none only a: McNemar's exact p by statsmodels
    assert (pair.first, pair.second, pair.n_pairs) == ("a", "b", 12)
    assert pair.mean_difference == pytest.approx(8 / 12)
    assert pair.p_value == pytest.approx(mcnemar([[3, 0], [8, 1]], exact=True).pvalue)


@pytest.mark.parametrize("form", ["id", "prefixed", "path", "trial", "trial path", "trial by prefix"])
def test_a_run_may_be_named_in_every_form(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, form: str
) -> None:
    # The scripts this grew from looked in a folder that trials never had, and doubled the prefix.
    slug = "tiny-brief-tp1-tk50-mx32-32-00000000"
    words = {
        "id": "b",
        "prefixed": "run_b",
        "path": f"{two_runs[1].path}/",
        "trial": f"b/{slug}",
        "trial path": str(two_runs[1].path / slug),
        "trial by prefix": "run_b/tiny-brief",
    }
    report = compare(tmp_path, "a", words[form])
    assert report.setting_columns == ("a", "b")


def test_all_pairs_of_three_runs_are_adjusted_together(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    control = first_right(items, 5)
    rights = {"a": 2, "b": 6, "c": 12}
    for name, n in rights.items():
        make_run(name, {"brief": (control, first_right(items, n))}, items)
    report = compare(tmp_path, "a", "b", "c")
    tests = [t for t in report.tables if not t.is_check]
    pairs = [pair for t in tests for pair in t.comparison.pairs]
    assert [(p.first, p.second) for p in tests[0].comparison.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p.q_value for p in pairs] == pytest.approx(
        multipletests([p.p_value for p in pairs], method="fdr_bh")[1].tolist()
    )
    assert [p.p_holm for p in pairs] == pytest.approx(
        multipletests([p.p_value for p in pairs], method="holm")[1].tolist()
    )
    scores = [[float(i < n) for n in rights.values()] for i in range(12)]
    expected = cochrans_q(scores)
    found = table(report, metric="em", condition="treatment").comparison.cochran
    assert (found.q, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_settings_that_differ_are_named_by_dotted_key(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    (setting,) = compare(tmp_path, "a", "b").settings
    assert (setting.key, setting.values) == ("experiment.seed", ("1", "2"))


def test_other_items_are_refused_with_how_many_and_which(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": arms}, items[1:])
    with pytest.raises(UsageError, match=r"a asked 12 items, b 11.* 1 only in a \(quiz\|q0\)"):
        compare(tmp_path, "a", "b")


def test_the_same_ids_with_other_questions_are_refused(
    make_run: MakeRun,
    items: list[Item],
    make_questions: Callable[..., list[Item]],
    first_right: Right,
    tmp_path: Path,
) -> None:
    # An id says nothing about what was asked: here every id of b is the next question of a.
    others = [
        Item(dataset=i.dataset, item_id=i.item_id, type=i.type, question=o.question, answers=o.answers)
        for i, o in zip(items, make_questions(13)[1:], strict=True)
    ]
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": arms}, others)
    with pytest.raises(UsageError, match="12 with the same id and other content"):
        compare(tmp_path, "a", "b")


def test_renamed_items_are_matched_by_what_they_ask(
    make_run: MakeRun,
    items: list[Item],
    make_questions: Callable[..., list[Item]],
    first_right: Right,
    tmp_path: Path,
) -> None:
    renamed = list(reversed(make_questions(ids="renamed-{}")))
    make_run("a", {"brief": (first_right(items, 5), first_right(items, 3))}, items)
    scores = {item.item_id: float(item.question == "Which number comes after 0?") for item in renamed}
    make_run("b", {"brief": (scores, scores)}, renamed)
    report = compare(tmp_path, "a", "b")
    (pair,) = table(report, metric="em", condition="treatment").comparison.pairs
    assert pair.mcnemar is not None
    assert (pair.mcnemar.b, pair.mcnemar.c) == (0, 2)  # item 0 is right in both, items 1 and 2 in a only
    assert any("matched by what they ask" in finding for finding in report.findings)


def test_other_models_are_refused_unless_that_is_asked_for(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": arms}, items, digest="b" * 64)  # the same name: what counts is what answered
    with pytest.raises(UsageError, match="--across-models"):
        compare(tmp_path, "a", "b")
    report = compare(tmp_path, "a", "b", is_across_models=True)
    assert any("Different models answered" in finding for finding in report.findings)
    assert not any(t.is_check for t in report.tables)


def test_an_unfinished_trial_is_refused_unless_that_is_asked_for(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": (arms[0], dict(list(arms[1].items())[:4]))}, items, state=TrialState.STOPPED)
    with pytest.raises(UsageError, match="is stopped, not done"):
        compare(tmp_path, "a", "b")
    report = compare(tmp_path, "a", "b", is_partial_allowed=True)
    (pair,) = table(report, metric="em", condition="treatment").comparison.pairs
    assert pair.n_pairs == 4
    assert any("only what is there is compared" in finding for finding in report.findings)


def test_greedy_control_replies_that_differ_are_a_finding(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": arms}, items)
    make_run("c", {"brief": arms}, items, reply="it was")
    assert compare(tmp_path, "a", "b").findings == ()
    (finding,) = compare(tmp_path, "a", "c").findings
    assert "12 of 12 greedy replies differ" in finding


def test_trials_of_runs_with_several_are_matched_by_what_tells_them_apart(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms, "long": arms, "odd": arms}, items)
    make_run("b", {"long": arms, "brief": arms}, items)
    report = compare(tmp_path, "a", "b")
    assert {t.where["trials"] for t in report.tables} == {"prompt_set brief", "prompt_set long"}
    assert any("tiny-odd" in finding and "left out" in finding for finding in report.findings)


def test_two_trials_of_one_run_are_told_apart(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms, "long": arms}, items)
    report = compare(tmp_path, "a/tiny-brief", "a/tiny-long")
    assert [label.split("-tp1")[0] for label in report.setting_columns] == ["a/tiny-brief", "a/tiny-long"]
    assert "trial.prompt_set" in {setting.key for setting in report.settings}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a",), "takes two or more"),
        (("a", "a"), "stands twice"),
        (("a", "nowhere"), "no run 'nowhere'"),
        (("a", "b/tiny-breif-tp1-tk50-mx32-32-00000000"), r"did you mean tiny-brief"),
    ],
)
def test_words_that_mean_no_comparison_are_refused(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compare(tmp_path, *words)


def test_a_temperature_of_one_run_only_is_left_out_and_named(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    arms = (first_right(items, 5), first_right(items, 3))
    make_run("a", {"brief": arms}, items)
    make_run("b", {"brief": arms}, items, temperature=0.7)
    with pytest.raises(UsageError, match="no temperature and arm that all of them have"):
        compare(tmp_path, "a", "b")


def test_scores_that_were_changed_are_refused(two_runs: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    slug = "tiny-brief-tp1-tk50-mx32-32-00000000"
    with two_runs[1].trial(slug).scores.open("a") as file:
        file.write("\n")
    with pytest.raises(UsageError, match="not the file that the manifest names"):
        compare(tmp_path, "a", "b")


def test_items_that_were_changed_are_refused(two_runs: tuple[RunFolder, RunFolder], tmp_path: Path) -> None:
    two_runs[1].items("quiz").write_text("")
    with pytest.raises(StoreError, match="was changed"):
        compare(tmp_path, "a", "b")


def test_the_json_has_the_numbers_of_the_report(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["compare", "a", "b", "--experiments-dir", str(tmp_path), "--resamples", "200", "--json"])
    assert leaving.value.code == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        json.dumps(paired_record(compare_runs(tmp_path, ["a", "b"], FAST)))
    )


def test_the_files_are_written_where_they_are_wanted(
    two_runs: tuple[RunFolder, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = ["compare", "a", "b", "--experiments_dir", str(tmp_path), "--resamples", "200", "--out", str(out)]
    with pytest.raises(SystemExit) as leaving:
        main(argv)
    assert leaving.value.code == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.md", "significance.json"]
    assert "differ with q below 0.05" in capsys.readouterr().out


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def test_texts_of_items_are_escaped_in_both_reports(
    make_run: MakeRun, items: list[Item], first_right: Right, tmp_path: Path
) -> None:
    bad = Item(
        dataset="quiz",
        item_id="<img src=x>",
        type=items[0].type,
        question="<script>alert(1)</script> | `code` \x1b[31m",
        answers=("<b>",),
    )
    everything = [bad, *items]
    make_run("a", {"brief": (first_right(everything, 5), first_right(everything, 0))}, everything)
    make_run("b", {"brief": (first_right(everything, 5), first_right(everything, 3))}, everything)
    report = compare(tmp_path, "a", "b")
    tags = _Tags()
    page = paired_page(report)
    tags.feed(page)
    assert "img" not in tags.found
    assert tags.found.count("script") == 1
    markdown = paired_markdown(report)
    assert "<script>" not in markdown
    assert "\x1b" not in markdown + page
