from pathlib import Path

import pytest

from overnight.errors import OvernightError
from overnight.runs.wide_scores import is_wide, read_wide_scores


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "wide.csv"
        path.write_bytes(text.encode())
        return path

    return write


def test_columns_of_systems_and_metrics(write) -> None:
    path = write("doc_id,hash,a:b:em,a:b:f1,c:em,c:f1\n1,x,1,.5,0,.25\n0,y,,1,1,1\n")
    assert is_wide(path)
    # A system's name may hold a colon itself, as a model's with its tag does.
    assert read_wide_scores(path, "em").scores == {
        "a:b": {"1": 1.0, "0": None},
        "c": {"1": 0.0, "0": 1.0},
    }
    assert read_wide_scores(path, "f1").scores["c"] == {"1": 0.25, "0": 1.0}


def test_one_column_a_system_with_a_byte_order_mark_and_carriage_returns(write) -> None:
    table = read_wide_scores(write("\ufeffquestion,a,cluster,b\r\nq1,1,p,0\r\nq2,0,,1\r\n"), "anything")
    assert table.scores == {"a": {"q1": 1.0, "q2": 0.0}, "b": {"q1": 0.0, "q2": 1.0}}
    assert table.clusters == {"q1": "p"}


def test_a_table_of_arms_is_not_wide(write) -> None:
    assert not is_wide(write("item_key,type,condition,temp,em\n"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,a:em,b:em\n1,0,1\n", "no column <system>:f1; the metrics there are em"),
        ("id,a:f1\n1,0\n", "1 systems in id, a:f1"),
        ("id,a\n1,0\n", "1 systems"),
        ("", "0 systems"),
        ("id,a,b\n", "no items"),
        ("id,a,b\n1,0,1\n1,0,1\n", ":3: id '1' stands on line 2 already"),
        ("id,a,b\n1,0,NaN\n", ":2: b is 'NaN'; wanted a finite number"),
        ("id,a,b\n1,0,1\n2,0\n", ":3: 2 fields, wanted 3; the file is cut off"),
        ("id,a,a\n1,0,1\n", "column a stands twice"),
        ("id,a,b\n1,0,seven\n", ":2: b is 'seven'"),
    ],
)
def test_what_cannot_be_compared_is_refused(write, text: str, complaint: str) -> None:
    with pytest.raises(OvernightError, match=complaint):
        read_wide_scores(write(text), "f1")
