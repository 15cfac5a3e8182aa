import random
from pathlib import Path

import pytest

from overnight.errors import StoreError
from overnight.records import Condition, ItemType
from overnight.runs.score_columns import read_score_columns

HEADER = "dataset,item_key,type,condition,temp,em,f1,abstain_rate,false_answer_rate,unsupported_rate"
ROWS = [
    "d,d|1,open,control,0.0,1.0,0.5,0.0,,0.25",
    "d,d|1,open,treatment,0.0,0.0,0.75,1.0,,",
    "d,d|2,open,control,0.0,0.0,0.0,0.0,1.0,1.0",
    "e,e|1,closed,control,0.7,0.5,0.5,0.0,,",
]


@pytest.fixture
def write(tmp_path: Path):
    def write(*lines: str, header: str = HEADER, end: str = "\n", mark: str = "", last: str = "\n") -> Path:
        path = tmp_path / "per_item_scores.csv"
        path.write_bytes((mark + end.join([header, *lines]) + last).encode())
        return path

    return write


def test_scores_by_hand(write) -> None:
    table = read_score_columns(write(*ROWS))
    assert table.kinds() == [(0.0, ItemType.OPEN), (0.7, ItemType.CLOSED)]
    control = table.arm(0.0, ItemType.OPEN, Condition.CONTROL, "unsupported_rate")
    assert control == {"d|1": 0.25, "d|2": 1.0}
    # An empty field is undefined, never 0.
    assert table.arm(0.0, ItemType.OPEN, Condition.TREATMENT, "unsupported_rate") == {"d|1": None}
    assert table.arm(0.7, ItemType.CLOSED, Condition.TREATMENT, "em") == {}


def test_a_byte_order_mark_carriage_returns_and_the_order_of_rows_and_columns_change_nothing(write) -> None:
    # What a spreadsheet does to a file.
    plain = read_score_columns(write(*ROWS))
    names = HEADER.split(",")
    order = random.Random(1).sample(range(len(names)), len(names))
    rows = [",".join(row.split(",")[i] for i in order) for row in reversed(ROWS)]
    header = ",".join(names[i] for i in order)
    again = read_score_columns(write(*rows, header=header, end="\r\n", mark="\ufeff", last="\r\n"))
    assert again.kinds() == plain.kinds()
    for temperature, kind in plain.kinds():
        for condition in Condition:
            for metric in ("em", "f1", "unsupported_rate"):
                arm = (temperature, kind, condition, metric)
                assert again.arm(*arm) == plain.arm(*arm)


def test_optional_columns_are_read_where_they_are(write) -> None:
    rows = [f"{ROWS[0]},0.5,p1", f"{ROWS[2]},,p1", f"{ROWS[3]},0.25,e|1"]
    table = read_score_columns(write(*rows, header=f"{HEADER},rouge_l,cluster"))
    assert table.arm(0.0, ItemType.OPEN, Condition.CONTROL, "rouge_l") == {"d|1": 0.5, "d|2": None}
    assert table.has("rouge_l", 0.0, ItemType.OPEN)
    assert not read_score_columns(write(*ROWS)).has("rouge_l", 0.0, ItemType.OPEN)
    # An item that is its own cluster is in none.
    assert table.clusters == {"d|1": "p1", "d|2": "p1"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("d,d|1,open,control,0.0,1.0", r":6: 6 fields, wanted 10; the file is cut off"),
        (ROWS[0], r":6: item d\|1 stands twice for control at temperature 0.0"),
        ("d,d|9,open,control,0.0,nan,0,0,0,0", r":6: em is 'nan'; wanted a finite number"),
        ("d,d|9,open,control,0.0,1,-inf,0,0,0", r":6: f1 is '-inf'"),
        ("d,d|9,open,control,0.0,1,1,yes,0,0", r":6: abstain_rate is 'yes'"),
        ("d,d|9,essay,control,0.0,1,1,0,0,0", r":6: 'essay' is not a valid ItemType"),
        ("d,d|9,open,placebo,0.0,1,1,0,0,0", r":6: 'placebo' is not a valid Condition"),
        ("d,,open,control,0.0,1,1,0,0,0", r":6: item_key or temp is empty"),
        ('d,d|9,open,control,0.0,1,1,0,0,"0', "not a whole CSV file"),
    ],
)
def test_a_damaged_row_is_refused_with_its_line(write, row: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint):
        read_score_columns(write(*ROWS, row))


def test_a_file_cut_off_in_its_last_number_is_refused(write) -> None:
    # 0.12 of 0.125 is a number too; only the missing end of the line tells.
    with pytest.raises(StoreError, match="cut off"):
        read_score_columns(write(*ROWS, last=""))


def test_wrong_headers_are_refused_by_name(write, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r":1: no column item_key, f1; found .*question"):
        read_score_columns(write(header=HEADER.replace("item_key", "question").replace("f1", "F1")))
    with pytest.raises(StoreError, match="column em stands twice"):
        read_score_columns(write(header=f"{HEADER},em"))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(StoreError, match="an empty line"):
        read_score_columns(tmp_path / "empty.csv")
    with pytest.raises(StoreError, match="no such file"):
        read_score_columns(tmp_path / "none.csv")


def test_an_item_in_two_clusters_is_refused(write) -> None:
    with pytest.raises(StoreError, match=r":3: item d\|1 is in cluster p2, before in p1"):
        read_score_columns(write(f"{ROWS[0]},p1", f"{ROWS[1]},p2", header=f"{HEADER},cluster"))


@pytest.mark.slow
def test_a_long_table_is_held_as_floats(tmp_path: Path) -> None:
    # 50,000 items in two arms: at most 260 bytes a row at any time, where a dict of strings takes 1,500.
    import tracemalloc

    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write(HEADER + "\n")
        for i in range(50_000):
            for arm in Condition:
                file.write(f"d,d|{i},open,{arm.value},0.0,{i % 2},0.5,0.0,,0.25\n")
    tracemalloc.start()
    table = read_score_columns(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table.arm(0.0, ItemType.OPEN, Condition.CONTROL, "em")) == 50_000
    assert peak < 26e6, (held, peak)
