import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overnight.errors import StoreError
from overnight.records import Condition
from overnight.runs.score_arrays import read_score_table
from overnight.runs.tables import SCORE_COLUMNS

LATER = ("confidence", "cluster", "answerable")


def row(item: str, condition: str, temp: str = "0.0", **cells: Any) -> dict[str, Any]:
    dataset = "passages" if item.startswith("o") else "facts"
    kind = "open" if dataset == "passages" else "closed"
    plain = dict.fromkeys((*SCORE_COLUMNS, *LATER), "")
    plain |= {"dataset": dataset, "item_key": f"{dataset}|{item}", "type": kind, "n_samples": "1"}
    return (
        plain
        | {"condition": condition, "temp": temp, "em": "1.0", "f1": "1.0", "abstain_rate": "0.0"}
        | cells
    )


def written(
    path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = (*SCORE_COLUMNS, *LATER)
) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(columns)), extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return path


ROWS = [
    row("o2", "treatment", em="0.5", cluster="p", answerable="0", confidence="0.25"),
    row("c1", "control", cluster="", answerable="1"),
    row("o2", "control", em="", cluster="p", answerable="0"),
    row("o1", "control", "0.7", em="0.0", cluster="p", answerable="1"),
]


def test_columns_are_aligned_by_item_in_the_order_of_keys(tmp_path: Path) -> None:
    table = read_score_table(written(tmp_path / "s.csv", ROWS))
    assert table.items == ("facts|c1", "passages|o1", "passages|o2")
    assert table.temperatures == [0.0, 0.7]
    em = table.values(Condition.TREATMENT, 0.0, "em")
    assert np.array_equal(em, [np.nan, np.nan, 0.5], equal_nan=True)
    assert np.isnan(table.values(Condition.TREATMENT, 0.7, "em")).all()  # an arm without rows
    assert np.isnan(table.differences(0.0, "em")).all()  # undefined in one arm is no difference of it
    assert table.values(Condition.TREATMENT, 0.0, "confidence")[2] == 0.25
    assert table.clusters[1] == table.clusters[2] != table.clusters[0]
    assert table.answerable.tolist() == [1, 1, 0]
    assert {kind: mask.tolist() for kind, mask in table.of_kinds().items()} == {
        "open": [False, True, True],
        "closed": [True, False, False],
        "all": [True, True, True],
    }


def test_the_order_of_rows_is_immaterial(tmp_path: Path) -> None:
    straight = read_score_table(written(tmp_path / "a.csv", ROWS))
    mixed = read_score_table(written(tmp_path / "b.csv", random.Random(1).sample(ROWS, len(ROWS))))
    assert mixed.items == straight.items
    assert mixed.clusters.tolist() == straight.clusters.tolist()
    for arm, columns in straight.arms.items():
        for name, values in columns.items():
            assert np.array_equal(mixed.arms[arm][name], values, equal_nan=True)


def test_an_older_table_lacks_columns_and_is_read_all_the_same(tmp_path: Path) -> None:
    # Before confidence, cluster and answerable there were: a false-answer rate says what is unanswerable.
    rows = [row("o1", "control", false_answer_rate="1.0"), row("o2", "control"), row("c1", "control")]
    table = read_score_table(written(tmp_path / "s.csv", rows, SCORE_COLUMNS))
    assert np.array_equal(table.answerable, [np.nan, 0, 1], equal_nan=True)
    assert len(set(table.clusters.tolist())) == 3
    assert np.isnan(table.values(Condition.CONTROL, 0.0, "confidence")).all()


def test_a_table_without_rows_is_an_empty_one(tmp_path: Path) -> None:
    table = read_score_table(written(tmp_path / "s.csv", []))
    assert (table.items, table.temperatures, table.of_kinds()) == ((), [], {})


def test_a_row_that_stands_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"passages\|o2 stands 2 times"):
        read_score_table(written(tmp_path / "s.csv", [*ROWS, ROWS[0]]))


@pytest.mark.parametrize("cells", [{"em": "good"}, {"em": "nan"}, {"condition": "placebo"}, {"temp": ""}])
def test_a_damaged_row_is_named(tmp_path: Path, cells: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="row 6 is not a row of scores"):
        read_score_table(written(tmp_path / "s.csv", [*ROWS, row("o3", "control") | cells]))
