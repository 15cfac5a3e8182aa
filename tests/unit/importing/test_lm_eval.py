from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import UsageError
from overnight.importing.lm_eval import find_sample_files, read_samples
from overnight.importing.logs import IdentifyBy, SystemLog, content_key
from overnight.importing.table import ScoreTable, score_table

Sample = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def read(path: Path, **options: Any) -> SystemLog:
    (file,) = find_sample_files([path], None)
    return read_samples(file, **{"filter_name": None, "identify_by": IdentifyBy.CONTENT, **options})


def merged(folder: Path, metric: str | None = None, task: str | None = None, **options: Any) -> ScoreTable:
    logs = [
        read_samples(file, filter_name=None, identify_by=options.get("identify_by", IdentifyBy.CONTENT))
        for file in find_sample_files([folder], task)
    ]
    return score_table(logs, metric, is_common_only=options.get("is_common_only", False))


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=6), st.randoms())
def test_the_order_of_fields_is_no_part_of_a_document(document: dict[str, Any], random: Any) -> None:
    # lm_eval hashes a document's JSON in the order of its fields: the 817 questions of one task have other
    # hashes in two published versions.
    names = list(document)
    random.shuffle(names)
    assert content_key({name: document[name] for name in names}) == content_key(document)


def test_rows_meet_by_document_wherever_they_stand(
    lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    write_samples("a", [lm_sample(n, acc=float(n)) for n in range(4)])
    # b has the same documents in another order, under other ids, with their fields turned round
    write_samples(
        "b",
        [
            lm_sample(9 - n, {"n": n, "question": f"Which number comes after {n}?"}, acc=float(n))
            for n in (3, 0, 2, 1)
        ],
    )
    table = merged(tmp_path / "logs")
    assert table.scores["a"] == table.scores["b"]
    assert (table.metric, table.identified_by) == ("acc", "the document")


def test_versions_before_hashes_and_lists_of_metrics_are_read(
    old_lm_sample: Sample, write_samples: Write
) -> None:
    log = read(write_samples("a", [old_lm_sample(n, acc=True, bleu=1.5) for n in range(2)]))
    assert set(log.scores) == {"acc", "bleu"}
    assert set(log.scores["bleu"].values()) == {1.5}


def test_without_documents_the_id_and_target_identify(lm_sample: Sample, write_samples: Write) -> None:
    rows = [lm_sample(n, acc=1.0) for n in range(2)]
    for row in rows:
        del row["doc"]
    assert read(write_samples("a", rows)).identified_by == "doc_id and target"


def test_documents_that_a_dataset_repeats_are_numbered(lm_sample: Sample, write_samples: Write) -> None:
    same = {"question": "Twice?"}
    log = read(write_samples("a", [lm_sample(10, same, acc=0.0), lm_sample(9, same, acc=1.0)]))
    key = content_key(same)
    assert log.scores["acc"] == {key: 1.0, f"{key}#2": 0.0}  # by id: 9 is before 10
    assert "1 items have the document of an earlier one" in log.notes[0]


def test_a_value_that_is_not_finite_is_unscored(lm_sample: Sample, write_samples: Write) -> None:
    log = read(write_samples("a", [lm_sample(0, acc=float("nan")), lm_sample(1, acc=1.0)]))
    assert list(log.scores["acc"].values()) == [None, 1.0]


def test_results_beside_the_samples_name_the_model_and_the_direction(
    lm_sample: Sample, write_samples: Write
) -> None:
    results = {
        "model_name": "org/a",
        "n-samples": {"counting": {"original": 9, "effective": 2}},
        "higher_is_better": {"counting": {"acc": True}},
    }
    log = read(write_samples("org__a", [lm_sample(n, acc=1.0) for n in range(2)], results=results))
    assert (log.system, log.is_higher_better) == ("org/a", {"acc": True})


def test_fewer_samples_than_the_results_count_are_refused(lm_sample: Sample, write_samples: Write) -> None:
    # A file that was cut off between two lines is JSON all the same.
    results = {"n-samples": {"counting": {"original": 9, "effective": 3}}}
    path = write_samples("a", [lm_sample(n, acc=1.0) for n in range(2)], results=results)
    with pytest.raises(UsageError, match=r"2 items, .* counts 3"):
        read(path)
    assert len(read(path, is_partial_allowed=True).items) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no line in it"),
        (b'{"doc_id": 0, "acc": 1', ":1: not JSON"),
        (b'{"question": "x"}\n', ":1: the keys question, no doc_id"),
        (b"[1]\n", ":1: no object"),
        (b'{"doc_id": 0, "target": "\xff"}\n', "not UTF-8"),
    ],
)
def test_other_files_are_refused_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read(path)


def test_a_byte_order_mark_and_windows_lines_are_read(lm_sample: Sample, write_samples: Write) -> None:
    path = write_samples("a", [lm_sample(n, acc=1.0) for n in range(2)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read(path).items) == 2


def test_a_doc_id_that_stands_twice_is_refused(lm_sample: Sample, write_samples: Write) -> None:
    with pytest.raises(UsageError, match="doc_id 1 stands twice \\(first in line 1\\)"):
        read(write_samples("a", [lm_sample(1, acc=1.0), lm_sample(1, acc=0.0)]))


def test_one_of_several_filters_must_be_named(lm_sample: Sample, write_samples: Write) -> None:
    rows = [
        lm_sample(n, filter_name=name, acc=float(name == "strict"))
        for name in ("strict", "loose")
        for n in range(2)
    ]
    path = write_samples("a", rows)
    with pytest.raises(UsageError, match="filters loose, strict; choose one with --filter"):
        read(path)
    with pytest.raises(UsageError, match="did you mean strict"):
        read(path, filter_name="strct")
    assert set(read(path, filter_name="strict").scores["acc"].values()) == {1.0}


def test_several_tasks_are_refused(lm_sample: Sample, write_samples: Write, tmp_path: Path) -> None:
    write_samples("a", [lm_sample(0, acc=1.0)])
    write_samples("b", [lm_sample(0, acc=1.0)], task="adding")
    with pytest.raises(UsageError, match="2 tasks \\(adding, counting\\); choose one with --task"):
        merged(tmp_path / "logs")
    with pytest.raises(UsageError, match="did you mean counting"):
        find_sample_files([tmp_path / "logs"], "countin")


def test_other_items_are_refused_unless_the_common_ones_are_asked_for(
    lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    write_samples("a", [lm_sample(n, acc=1.0) for n in range(4)])
    write_samples("b", [lm_sample(n, acc=1.0) for n in range(1, 4)])
    with pytest.raises(UsageError, match="1 only in a \\(id 0\\); compare the 3 that all have"):
        merged(tmp_path / "logs")
    table = merged(tmp_path / "logs", is_common_only=True)
    assert len(table.items) == 3
    assert table.notes == ("1 of 4 items are left out: not every log has them",)


def test_other_documents_under_the_same_ids_can_be_compared_by_id(
    lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    write_samples("a", [lm_sample(0, {"question": "x", "version": 1}, acc=1.0)])
    write_samples("b", [lm_sample(0, {"question": "x", "version": 2}, acc=0.0)])
    with pytest.raises(UsageError, match=r"their ids are the same.*--identify-by id"):
        merged(tmp_path / "logs")
    assert len(merged(tmp_path / "logs", identify_by=IdentifyBy.ID).items) == 1


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (None, "metrics acc, bleu; choose one with --metric"),
        ("blue", "did you mean bleu"),
        ("perplexity", r"\[-1.5, 4\] is not a number; choose from acc, bleu"),
    ],
)
def test_a_metric_that_is_missing_or_no_number_is_named(
    lm_sample: Sample, write_samples: Write, tmp_path: Path, metric: str | None, message: str
) -> None:
    for model in ("a", "b"):
        write_samples(model, [lm_sample(0, acc=1.0, bleu=2.0, perplexity=[-1.5, 4])])
    with pytest.raises(UsageError, match=message):
        merged(tmp_path / "logs", metric)


def test_two_logs_of_one_model_are_told_apart_by_when_they_were_made(
    lm_sample: Sample, write_samples: Write, tmp_path: Path
) -> None:
    path = write_samples("a", [lm_sample(0, acc=1.0)])
    path.with_name(path.name.replace("2026", "2025")).write_bytes(path.read_bytes())
    assert sorted(merged(tmp_path / "logs").scores) == [
        "a@2025-03-04T05-06-07.123456",
        "a@2026-03-04T05-06-07.123456",
    ]


def test_one_log_is_no_comparison(lm_sample: Sample, write_samples: Write, tmp_path: Path) -> None:
    write_samples("a", [lm_sample(0, acc=1.0)])
    with pytest.raises(UsageError, match="a comparison takes two or more"):
        merged(tmp_path / "logs")
