import csv
import json
import math
import re
from dataclasses import replace

import pytest

from overnight.report.reading import read_run
from overnight.report.writing import write_reports
from overnight.runs.opening import load_plan
from overnight.runs.side_rows import write_side_rows
from overnight.runs.uncertainty_measuring import write_measures
from overnight.store.run_folder import RunFolder
from tests.unit.report.test_writing import HOSTILE, Page
from tests.unit.report.uncertainty.sweep_folder import (
    DATASETS,
    MODELS,
    grid,
    made_up,
    model,
    spec_of,
    write_sweep,
)

FEW = {"measures": ["g_nll", "average_nll", "rw_g_nll", "n_tokens"], "labels": ["em", "f1"]}
# One pixel, as the format's definition has it; only its head is read.
PNG = (
    b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (3).to_bytes(4) + (2).to_bytes(4) + b"\x08\x06\x00\x00\x00"
)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    # Figures take most of the time of a report and have tests of their own.
    monkeypatch.setattr("overnight.report.uncertainty.reading.write_figures", lambda *_: [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    """Return a run of two models on two data sets, the last trial always right, with one figure and its reports."""
    folder = grid(tmp_path_factory.mktemp("sweep") / "run_r1", 40, 2, statistics={"resamples": 50}, **FEW)
    folder.figures.mkdir()
    (folder.figures / "auroc_heatmap.png").write_bytes(PNG)
    write_reports(folder)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder.path / "auroc_results.json").read_text())


def rows_of(markdown: str, *beginning: str) -> list[list[str]]:
    """Return the rows of all tables whose first cells are these."""
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    return [row for row in rows if tuple(row[: len(beginning)]) == beginning]


def test_the_numbers_of_the_results_stand_in_the_reports(folder, results) -> None:
    markdown, page = folder.aggregate_report.read_text(), Page(folder.html_report.read_text()).text
    judged = 0
    for trial in results:
        for label in trial["labels"]:
            [main] = [one for one in label["measures"] if one["measure"] == "g_nll"]
            ranking = main["discrimination"]["ranking"]
            if ranking is None:
                continue
            judged += 1
            title = {"em": "exact match", "f1": "F1\u00a0\u2265\u00a00.5"}[label["label"]]
            [row] = rows_of(markdown, trial["model_name"], trial["dataset"], title)
            delong = ranking["delong"]
            low, high = 100 * label["accuracy_low"], 100 * label["accuracy_high"]
            assert row[3:] == [
                "40",
                f"{100 * label['accuracy']:.1f} ({low:.1f} to {high:.1f})",
                f"{ranking['auroc']:.3f} ({delong['low']:.3f} to {delong['high']:.3f})",
                f"{main['length']['auroc_length']:.3f}",
            ]
            assert row[5] in page
            trial_report = folder.trial(trial["slug"]).report.read_text()
            assert row in rows_of(trial_report, trial["model_name"], trial["dataset"], title)
    assert judged >= 6


def test_every_measure_has_its_row(folder, results) -> None:
    first = results[0]
    report = folder.trial(first["slug"]).report.read_text()
    [f1] = [label for label in first["labels"] if label["label"] == "f1"]
    for one, title in zip(f1["measures"], ("G-NLL", "average NLL", "RW-G-NLL", "length alone"), strict=True):
        [row] = [row for row in rows_of(report, title) if len(row) == 12]
        assert row[2] == "0"
        if ranking := one["discrimination"]["ranking"]:
            assert row[5:8] == [
                f"{ranking['auprc']:.3f}",
                f"{ranking['aurc']:.3f}",
                f"{ranking['prediction_rejection_ratio']:.3f}".replace("-", "\u2212"),
            ]


def test_a_trial_that_cannot_be_judged_is_named_with_the_reason_everywhere(folder) -> None:
    name, why = (
        "small-a-int8 on passages",
        "40 right and 0 wrong answers: without both there is nothing to tell apart",
    )
    markdown, page = folder.aggregate_report.read_text(), Page(folder.html_report.read_text()).text
    assert f"- {name}: cannot be judged: {why}." in markdown
    assert "Of 1 of 4 trials nothing can be said." in page
    [row] = rows_of(markdown, name, "F1\u00a0\u2265\u00a00.5", "all 4")
    assert row[3:] == ["one class", why]
    [row] = rows_of(markdown, "small-a-int8", "passages", "F1\u00a0\u2265\u00a00.5")
    assert row[5:] == [f"n/a (one class: {why})", "n/a"]
    assert why in page


def test_the_five_questions_are_all_answered_or_say_why_not(folder) -> None:
    markdown = folder.aggregate_report.read_text()
    contrasts = markdown.split("## Matched contrasts")[1].split("\n## ")[0]
    for question, factor in (
        ("Does the family matter", "family"),
        ("Do larger models know better when they are wrong", "size"),
        ("Does instruction tuning matter", "instruct"),
    ):
        assert re.search(
            rf"^{question}\? Not answered: all cells [^.]*{factor}[^.]*\.$", contrasts, re.MULTILINE
        )
    assert "### Does quantization matter?" in contrasts
    assert "### Does the data set matter?" in contrasts
    assert "characters in all" not in markdown  # no sentence of ours is cut
    [pair] = rows_of(contrasts, "small-a on facts", "small-a-int8 on facts")
    first, second, difference = (float(text.replace("\u2212", "-")) for text in pair[3:6])
    assert difference == pytest.approx(second - first, abs=0.0015)


def test_how_it_was_asked_and_by_whom_it_was_measured_is_said(folder) -> None:
    markdown = folder.aggregate_report.read_text()
    assert rows_of(markdown, "style of the instruction", "short")
    assert rows_of(markdown, "shots", "2, drawn with seed 10")
    [[_, ends]] = rows_of(markdown, "an answer ends at")
    assert ends == "'\\\\n\\\\n', 'Question:', 'Context:', 'Answer:'"
    [[_, mask]] = rows_of(markdown, "tokens that count")
    assert mask.startswith("content: ")
    [row] = rows_of(markdown, "relevance of tokens")
    assert row[1:4] == ["words-shared", "words-shared@01234567", "sentence-embedding"]
    assert rows_of(markdown, "entailment between samples", "none")
    assert rows_of(markdown, "RW-G-NLL", "rw_g_nll", "1", "nats", "words-shared@01234567")


def test_a_page_has_its_figures_inside_and_fetches_nothing(folder) -> None:
    text = folder.html_report.read_text()
    page = Page(text)
    assert [
        (attributes["width"], attributes["height"], attributes["src"][:22])
        for tag, attributes in page.elements
        if tag == "img"
    ] == [("3", "2", "data:image/png;base64,")]
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.elements)
    assert page.count("link") == page.count("iframe") == 0
    assert "default-src 'none'; img-src data:;" in text
    # Every section that is linked is there.
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"} <= ids
    assert "![AUROC by model and data set](figures/auroc_heatmap.png)" in folder.aggregate_report.read_text()


def test_answers_are_on_the_page_token_by_token_with_their_relevance(folder) -> None:
    data = json.loads(Page(folder.html_report.read_text()).data["tokens-data"])
    assert len(data["rows"]) == 160
    row = data["rows"][0]
    [path] = folder.path.glob("small-a-facts-*/results/relevance.jsonl")
    relevance = [json.loads(line) for line in path.read_text().splitlines()]
    [own] = [one for one in relevance if one["item_key"] == row[1]]
    assert [token[2] for token in row[7][:-1]] == pytest.approx(own["relevance_in_context"], abs=5e-5)
    assert row[7][-1][2] is None  # of the end there is none


def test_the_summary_has_a_row_a_trial(folder, results) -> None:
    with folder.summary.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [trial["slug"] for trial in results]
    assert {row["state"] for row in rows} == {"done"}
    for row, trial in zip(rows, results, strict=True):
        assert row["G-NLL_AUROC"] == ("" if trial["G-NLL_AUROC"] is None else repr(trial["G-NLL_AUROC"]))


def test_questions_that_are_only_shown_as_examples_are_no_items_of_the_run(folder) -> None:
    run = read_run(folder)
    assert [(one.dataset, one.n_items) for one in run.items] == [(name, 40) for name in DATASETS]
    assert [trial.label for trial in run.trials][:2] == ["small-a on facts", "small-a on passages"]


def test_length_alone_is_never_called_the_best_measure(tmp_path) -> None:
    # Wrong answers are longer, and their tokens no more surprising: length separates, its rivals hardly do.
    def reply(item):
        number = int(item.item_id[1:])
        words = (
            ["Town", f" {number}"] if number % 2 else ["City", " of", " course", *([" yes"] * (number % 5))]
        )
        return "".join(words), [(word, -0.5 - (number % 7) / 10) for word in words]

    folder = write_sweep(
        tmp_path / "run_r2",
        spec_of(
            MODELS[:1],
            statistics={"resamples": 20},
            measures=["g_nll", "average_nll", "n_tokens"],
            labels=["f1"],
        ),
        {("small-a", "facts"): reply},
        n_items=40,
    )
    write_reports(folder)
    text = folder.aggregate_report.read_text()
    lead, told = text.split("\n\n")[1:3]
    assert lead.startswith("By F1\u00a0\u2265\u00a00.5, G-NLL tells wrong from right answers best on average")
    assert told.startswith("- small-a on facts: G-NLL, AUROC 0.")
    assert "length alone has 1.00, so nothing here is more than length" in told


def test_hostile_text_cannot_become_anything_but_text(tmp_path) -> None:
    # Wrong answers are hostile, so are all questions and golds; json cannot hold a lone surrogate in UTF-8 items.
    hostile = HOSTILE.replace("\udcff", "")
    honest = made_up(3, signal=1.0, accuracy=0.5)

    def reply(item):
        text, tokens = honest(item)
        if text.startswith("City"):
            return hostile.strip(), [
                (hostile[: len(hostile) // 2], -1.0),
                (hostile[len(hostile) // 2 :].rstrip(), -2.0),
            ]
        return text, tokens

    folder = write_sweep(
        tmp_path / "run_r3",
        spec_of(MODELS[:1], statistics={"resamples": 20}, measures=["g_nll", "n_tokens"], labels=["f1"]),
        {("small-a", "facts"): reply, ("small-a", "passages"): honest},
        n_items=24,
        change=lambda item: replace(item, question=hostile, answers=(*item.answers, hostile)),
    )
    write_reports(folder)
    text = folder.html_report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.count("script") == 3  # two of ours, and the data of the tokens
    assert page.count("img") == page.count("iframe") == page.count("link") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert '<script>alert("x")</script>' in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not any(character in data for data in page.data.values() for character in "<>&")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)
    for path in (folder.aggregate_report, next(folder.path.glob("*facts*/reports/report.md"))):
        report = path.read_text(encoding="utf-8")
        examples = [line for line in report.splitlines() if "script" in line and line.startswith("| ")]
        assert examples
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in examples} == {7}
        assert "<script" not in report
        assert "](javascript" not in report.replace("\\](", "")


def test_what_failed_and_what_never_began_is_said(tmp_path) -> None:
    honest = made_up(5, signal=1.0, accuracy=0.5)
    folder = write_sweep(
        tmp_path / "run_r4",
        spec_of(MODELS[:1], statistics={"resamples": 20}, measures=["g_nll", "n_tokens"], labels=["f1"]),
        {("small-a", "facts"): lambda item: None if item.item_id == "i003" else honest(item)},
        n_items=30,
    )
    write_reports(folder)
    text = folder.aggregate_report.read_text()
    assert "1 trial of the run was not measured." in text
    [row] = rows_of(text, "small-a on facts", "G-NLL, length alone, F1\u00a0\u2265\u00a00.5")
    assert row[2:] == ["the request failed: it broke", "1", "30"]
    waiting = next(folder.path.glob("small-a-passages-*/reports/report.md")).read_text()
    assert "It was not analysed" in waiting
    assert "**This trial is planned**" in waiting
    with folder.summary.open(newline="") as file:
        assert [(row["state"], row["Num_examples"]) for row in csv.DictReader(file)] == [
            ("done", "29"),
            ("planned", ""),
        ]


def test_a_run_without_answers_has_reports_that_say_so(tmp_path) -> None:
    folder = write_sweep(tmp_path / "run_r5", spec_of(MODELS[:1]), {}, n_items=3)
    write_reports(folder)
    for path in (folder.aggregate_report, folder.html_report):
        assert "Nothing was analysed: no trial was measured yet." in path.read_text()


def test_a_damaged_table_is_named_and_the_rest_is_reported(tmp_path) -> None:
    honest = made_up(5, signal=1.0, accuracy=0.5)
    folder = write_sweep(
        tmp_path / "run_r6",
        spec_of(MODELS[:1], statistics={"resamples": 20}, measures=["g_nll", "n_tokens"], labels=["f1"]),
        {("small-a", "facts"): honest},
        n_items=20,
    )
    [table] = folder.path.glob("*/results/uncertainty.csv")
    table.write_text(table.read_text()[:-200])
    write_reports(folder)
    text = folder.aggregate_report.read_text()
    assert re.search(r"Nothing was analysed: small-a-facts-.*/results/uncertainty\.csv:\d+: ", text)
    assert "## How it was run" in text


def test_prompts_that_had_no_room_for_all_shots_are_counted(tmp_path) -> None:
    # 4096 tokens less the answer and a margin are 8 kB of prompt: a passage of 8 kB leaves no room for any shot.
    honest = made_up(5, signal=1.0, accuracy=0.5)
    folder = write_sweep(
        tmp_path / "run_r7",
        spec_of(MODELS[:1], statistics={"resamples": 20}, measures=["g_nll"], labels=["f1"]),
        {("small-a", "passages"): honest},
        n_items=12,
        change=lambda item: (
            replace(item, context=item.context and item.context + " x" * 4000)
            if item.item_id in ("i001", "i002")
            else item
        ),
    )
    write_reports(folder)
    [[_, counted]] = rows_of(folder.aggregate_report.read_text(), "prompts without room for all shots")
    assert counted == "small-a on passages: 2 items"


def test_passages_that_items_share_are_named_with_what_is_over_passages_and_what_is_not(tmp_path) -> None:
    # Five questions a passage, which is what the items say and nothing that a table could lose.
    def change(item):
        return replace(item, context=f"Passage {int(item.item_id[1:]) // 5}.") if item.context else item

    spec = spec_of(MODELS[:1], statistics={"resamples": 50}, **FEW)
    replies = {("small-a", name): made_up(3, signal=1.0, accuracy=0.5) for name in DATASETS}
    folder = write_sweep(tmp_path / "run_r1", spec, replies, n_items=40, change=change)
    write_reports(folder)
    markdown = folder.aggregate_report.read_text()
    assert "By passage: 40 items about 8 passages (passages). Answers about one passage are no" in markdown
    assert "40 items have every sound measure, about 8 passages." in markdown
    assert "By passage: 40 items about 8 passages (passages)." in Page(folder.html_report.read_text()).text
    facts, passages = json.loads((folder.path / "auroc_results.json").read_text())
    for trial, n_clusters in ((facts, 40), (passages, 8)):
        [main] = [one for one in trial["labels"][1]["measures"] if one["measure"] == "g_nll"]
        assert main["discrimination"]["n_clusters"] == n_clusters
    alone = next(trial for trial in folder.path.glob("small-a-facts-*") if trial.is_dir())
    assert "By passage" not in (alone / "reports" / "report.md").read_text()


def test_the_judge_stands_beside_the_other_labels_and_says_why_it_gave_no_verdict(tmp_path) -> None:
    # 40 answers: 15 yes and right, 5 yes and wrong, 10 no and right, 9 no and wrong, 1 without a reply.
    spec = spec_of(
        MODELS[:1], statistics={"resamples": 50}, measures=["g_nll"], labels=["f1", "judge"], judge=model("j")
    )
    right = [True] * 15 + [False] * 5 + [True] * 10 + [False] * 10
    yes = [True] * 20 + [False] * 20

    def reply(item):
        name = f"Town {int(item.item_id[1:])}" if right[int(item.item_id[1:])] else "nowhere at all"
        return name, [(name, -0.1 - 0.01 * int(item.item_id[1:]))]

    def judged(item):
        n = int(item.item_id[1:])
        logs = {"yes_logprob": math.log(0.6), "no_logprob": math.log(0.2)}
        if not yes[n]:
            logs = {"yes_logprob": math.log(0.2), "no_logprob": math.log(0.4)}
        if n == 39:
            logs = {"yes_logprob": None, "no_logprob": None, "error": "ContextOverflow: 3,000 tokens"}
        return {"item_key": item.key, "source": "j@1", "answer": "", **logs}

    folder = write_sweep(tmp_path / "run_r1", spec, {("small-a", "facts"): reply}, n_items=40)
    plan = load_plan(folder, spec)
    trial = plan.trials[0]
    files = folder.trial(trial.slug)
    write_side_rows(files.judgements, map(judged, plan.items_of(trial)))
    write_measures(files, plan, trial, spec.experiment)
    write_reports(folder)
    markdown, page = folder.aggregate_report.read_text(), Page(folder.html_report.read_text()).text
    section = markdown.split("## The judge\n")[1].split("\n## ")[0]
    [row] = rows_of(section, "small-a on facts", "j@1")
    assert row[2:] == ["40", "20", "19", "1", f"{(20 * 0.8 + 19 * 0.6) / 39:.3f}", "0.600"]
    # 39 items have both; agreement 24 / 39; by chance (25 x 20 + 14 x 19) / 39^2.
    agree, chance = 24 / 39, (25 * 20 + 14 * 19) / 39**2
    [row] = rows_of(section, "small-a on facts", "F1\u00a0\u2265\u00a00.5")
    assert row[2:] == [
        "39",
        "15",
        "5",
        "10",
        "9",
        f"{100 * agree:.1f}",
        f"{(agree - chance) / (1 - chance):.3f}",
    ]
    why = "the judge gave no verdict: ContextOverflow: 3,000 tokens"
    assert rows_of(section, "small-a on facts", why) == [["small-a on facts", why, "1"]]
    assert why in page
    assert "Mass: how much of the probability" in page
    trial_report = files.report.read_text()
    assert "## The judge" in trial_report


def test_a_run_without_a_judge_or_a_study_says_nothing_of_them(folder) -> None:
    markdown = folder.aggregate_report.read_text()
    assert "## The judge" not in markdown
    assert "## Weights of tokens" not in markdown


def test_the_study_of_weights_shows_its_choice_where_it_was_not_chosen(tmp_path) -> None:
    folder = grid(tmp_path / "run_r1", 40, 1, statistics={"resamples": 50}, weighting_study=True, **FEW)
    write_reports(folder)
    markdown, page = folder.aggregate_report.read_text(), Page(folder.html_report.read_text()).text
    section = markdown.split("## Weights of tokens\n")[1].split("\n## ")[0]
    for path in folder.path.glob("*/results/weighting_study.json"):
        record = json.loads(path.read_text())
        found = record["selection"]
        name = "small-a on facts" if "-facts-" in str(path) else "small-a on passages"
        [row] = rows_of(section, name)
        if found is None:
            assert row[1:3] == [f"n/a ({record['undefined_because']})", "43"]
            continue
        held_out, seen = found["chosen_auroc"], found["chosen_auroc_seen"]
        assert row[1:5] == [row[1], "43", str(found["n_judged_on"]), f"{held_out:.3f}"]
        assert row[1] in {"average NLL (uniform weights)", found["chosen"].replace("_", " ")}
        assert row[7:9] == [str(found["n_chosen_on"]), f"{seen:.3f}"]
    assert "the best of many is too good where it was chosen" in page


def test_a_damaged_study_is_a_note_and_no_traceback(tmp_path) -> None:
    folder = grid(tmp_path / "run_r1", 20, 1, statistics={"resamples": 50}, weighting_study=True, **FEW)
    first = next(iter(sorted(folder.path.glob("*/results/weighting_study.json"))))
    first.write_text("{")
    write_reports(folder)
    assert "weighting_study.json" in folder.aggregate_report.read_text().split("## Findings")[0]
