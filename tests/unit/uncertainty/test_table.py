import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.errors import UndefinedMetricError
from overnight.uncertainty.measure import Need
from overnight.uncertainty.measures import MEASURES
from overnight.uncertainty.table import Cell, Column, ItemTable, Unmeasured, cell_of, measure_items
from tests.unit.uncertainty.answers import evidence

NAMES = ("g_nll", "average_nll", "rw_g_nll")
ITEMS = [
    evidence([-1.0, -3.0], key="d|1", relevance_in_context=(1.0, 0.0)),
    evidence([-1.0, -3.0], key="d|2"),
    evidence([], key="d|3"),
    Unmeasured(item_key="d|4", reason="the model crashed"),
    evidence([-2.0], key="d|5", relevance_in_context=(0.5,)),
]
TABLE = measure_items(ITEMS, [MEASURES[name] for name in NAMES])


def test_a_row_is_an_item_and_a_column_a_measure() -> None:
    assert TABLE.item_keys == ("d|1", "d|2", "d|3", "d|4", "d|5")
    assert TABLE.names == NAMES
    assert [cell.value for cell in TABLE.column("g_nll").cells] == [4.0, 4.0, None, None, 2.0]
    assert [cell.value for cell in TABLE.column("rw_g_nll").cells] == [1.0, None, None, None, 2.0]
    assert [column.n_missing for column in TABLE.columns] == [2, 2, 3]


def test_what_is_missing_says_why() -> None:
    reasons = [cell.undefined_because for cell in TABLE.column("rw_g_nll").cells]
    assert reasons[0] is None
    assert reasons[1] == "the relevance of the tokens was not computed"
    assert reasons[3] == "the model crashed"
    assert "empty" in TABLE.column("g_nll").cells[2].undefined_because


def test_e2_all_measures_are_compared_on_the_same_items() -> None:
    # The seed's RW-G-NLL column had other items than its G-NLL column, and an AUROC of 1.0 over a few of them.
    assert TABLE.common_items() == ("d|1", "d|5")
    assert TABLE.common_items(["g_nll", "average_nll"]) == ("d|1", "d|2", "d|5")
    for name in NAMES:
        assert len(TABLE.values(name, TABLE.common_items())) == 2


def test_e4_no_other_value_is_put_for_a_missing_one() -> None:
    assert TABLE.column("rw_g_nll").cells[1].value != TABLE.column("g_nll").cells[1].value
    with pytest.raises(UndefinedMetricError, match=r"d\|2 has no rw_g_nll: the relevance"):
        TABLE.values("rw_g_nll", ["d|1", "d|2"])


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.none() | st.floats(0, 9), st.none() | st.floats(0, 9)), max_size=6), st.randoms()
)
def test_the_common_items_are_those_without_a_gap_whatever_the_order(rows, random) -> None:
    def table(order):
        columns = (
            Column(name=name, version=1, cells=tuple(Cell(value=rows[row][place]) for row in order))
            for place, name in enumerate("ab")
        )
        return ItemTable(item_keys=tuple(f"d|{row}" for row in order), columns=tuple(columns))

    order = random.sample(range(len(rows)), len(rows))
    found = table(order).common_items()
    assert set(found) == {f"d|{row}" for row, values in enumerate(rows) if None not in values}
    assert set(found) == set(table(range(len(rows))).common_items())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_missing(value: float) -> None:
    assert cell_of(lambda _: value, None).value is None
    assert str(value) in cell_of(lambda _: value, None).undefined_because


def test_an_item_or_a_measure_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="an item occurs twice"):
        measure_items([ITEMS[0], ITEMS[0]], [])
    with pytest.raises(ValueError, match="a column occurs twice"):
        measure_items([ITEMS[0]], [MEASURES["g_nll"]] * 2)
    with pytest.raises(ValueError, match="0 values of a for 1 items"):
        ItemTable(item_keys=("d|1",), columns=(Column(name="a", version=1, cells=()),))


def test_a_column_names_the_models_that_had_a_say_in_it() -> None:
    names = ("g_nll", "token_sar", "semantic_entropy")
    sources = {Need.RELEVANCE: "minilm@1", Need.ENTAILMENT: "deberta@2"}
    table = measure_items([ITEMS[0]], [MEASURES[name] for name in names], sources)
    assert [column.source for column in table.columns] == [None, "minilm@1", "deberta@2"]


def test_no_items_are_an_empty_table() -> None:
    empty = measure_items([], [MEASURES["g_nll"]])
    assert empty.common_items() == ()
    assert empty.column("g_nll").cells == ()
