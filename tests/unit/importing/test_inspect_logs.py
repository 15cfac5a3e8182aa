import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.errors import UsageError
from overnight.importing.inspect_logs import find_log_files, read_log
from overnight.importing.inspect_values import graded
from overnight.importing.logs import IdentifyBy, SystemLog

MakeLog = Callable[..., dict[str, Any]]
Sample = Callable[..., dict[str, Any]]
WriteEval = Callable[..., Path]


def read(path: Path, **options: Any) -> SystemLog:
    (file,) = find_log_files([path], None)
    return read_log(file, identify_by=IdentifyBy.CONTENT, **options)


def by_id(log: SystemLog, metric: str) -> dict[str, float | None]:
    return {log.items[key].item_id: value for key, value in log.scores[metric].items()}


@pytest.mark.parametrize(
    ("value", "number"),
    # The table of inspect_ai.scorer.value_to_float.
    [
        ("C", 1.0),
        ("P", 0.5),
        ("I", 0.0),
        ("N", 0.0),
        (True, 1.0),
        (3, 3.0),
        ("yes", 1.0),
        ("False", 0.0),
        ("0.25", 0.25),
        # NaN is Inspect's mark of a score that is none; JSON that was read has None for it.
        (None, None),
        (math.nan, None),
    ],
)
def test_a_value_is_the_number_that_inspect_takes_it_for(value: Any, number: float | None) -> None:
    assert graded(value) == number


def test_a_word_is_no_number() -> None:
    # Inspect warns and counts 0, which would be a wrong answer that nobody gave.
    with pytest.raises(ValueError, match="'perhaps'"):
        graded("perhaps")


@pytest.mark.parametrize("form", ["json", "eval", "zstandard"])
def test_every_form_of_a_log_has_the_same_scores(
    make_log: MakeLog, log_sample: Sample, write_eval: WriteEval, tmp_path: Path, form: str
) -> None:
    log = make_log(
        [
            log_sample("a", 1, match="C", parts={"length": 4, "ok": "I"}, judge=math.nan),
            log_sample("a", 2, match="I", parts={"length": 2, "ok": "C"}, judge=1.0),
            log_sample(7, 1, match="P", parts={"length": 1, "ok": "C"}, judge=math.nan),
            log_sample(7, 2, match="N", parts={"length": 1, "ok": "C"}, judge=math.nan),
        ]
    )
    if form == "json":
        path = tmp_path / "log.json"
        path.write_text(json.dumps(log))  # with NaN, as Inspect writes it
    else:
        path = write_eval("log", log, is_zstandard=form == "zstandard")
    found = read(path)
    # Means over the epochs that were scored, by hand.
    assert by_id(found, "match") == {"a": 0.5, "7": 0.25}
    assert by_id(found, "parts.length") == {"a": 3.0, "7": 1.0}
    assert by_id(found, "parts.ok") == {"a": 0.5, "7": 1.0}
    assert by_id(found, "judge") == {"a": 1.0, "7": None}
    assert (found.system, found.task, found.identified_by) == ("m/one", "counting", "input and target")


def test_ids_of_messages_are_no_part_of_an_item(
    make_log: MakeLog, log_sample: Sample, write_eval: WriteEval
) -> None:
    one = read(write_eval("one", make_log([log_sample("a", 1, match="C")])))
    two = read(write_eval("two", make_log([log_sample("a", 1, match="I")], model="m/two")))
    assert one.items.keys() == two.items.keys()


def test_long_texts_are_found_among_the_attachments(
    make_log: MakeLog, log_sample: Sample, write_eval: WriteEval
) -> None:
    whole = log_sample("a", 1, match="C") | {"input": "a very long question"}
    condensed = whole | {"input": "attachment://abc", "attachments": {"abc": "a very long question"}}
    one, two = (
        read(write_eval(name, make_log([sample])))
        for name, sample in (("whole", whole), ("condensed", condensed))
    )
    assert one.items.keys() == two.items.keys()


def test_a_sample_that_failed_is_unscored(
    make_log: MakeLog, log_sample: Sample, write_eval: WriteEval
) -> None:
    failed = log_sample("b", 1) | {"error": {"message": "it broke"}}
    log = read(write_eval("log", make_log([log_sample("a", 1, match="C"), failed])))
    assert by_id(log, "match") == {"a": 1.0, "b": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "error"}, "status is error.*--unfinished"),
        ({"samples": []}, "no sample in it"),
    ],
)
def test_a_log_that_says_nothing_whole_is_refused(
    make_log: MakeLog, log_sample: Sample, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(make_log([log_sample("a", 1, match="C")]) | change))
    with pytest.raises(UsageError, match=message):
        read(path)


def test_a_log_without_an_end_is_taken_when_asked_for(
    make_log: MakeLog, log_sample: Sample, tmp_path: Path
) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(make_log([log_sample("a", 1, match="C")], status="cancelled")))
    assert by_id(read(path, is_partial_allowed=True), "match") == {"a": 1.0}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.eval", b"PK\x03\x04 cut off", "not a zip archive, or cut off"),
        ("x.json", b'{"eval": ', "not JSON"),
        ("x.json", b'{"results": 1}', "has no eval and samples"),
        ("x.json", b'{"eval": "\xff"}', "not UTF-8"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as found:
        read(tmp_path / name)
    assert "\n" not in str(found.value)


def test_a_damaged_member_is_refused(make_log: MakeLog, log_sample: Sample, write_eval: WriteEval) -> None:
    path = write_eval("log", make_log([log_sample("a", 1, match="C")]), is_zstandard=True)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x28\xb5\x2f\xfd") + 12] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        read(path)


def test_a_sample_that_stands_twice_is_refused(make_log: MakeLog, log_sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(make_log([log_sample("a", 1, match="C"), log_sample("a", 1, match="I")])))
    with pytest.raises(UsageError, match="sample a of epoch 1 stands twice"):
        read(path)


def test_one_evaluation_in_two_files_is_refused(
    make_log: MakeLog, log_sample: Sample, write_eval: WriteEval, tmp_path: Path
) -> None:
    log = make_log([log_sample("a", 1, match="C")])
    write_eval("log", log)
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(UsageError, match="are one evaluation"):
        find_log_files([tmp_path], None)
