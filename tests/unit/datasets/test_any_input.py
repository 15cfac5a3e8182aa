import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overnight.datasets.reading import read_items
from overnight.errors import UsageError
from overnight.spec.dataset import DatasetFormat, DatasetSpec

KEYS = [
    "id",
    "ID",
    "question",
    "Question",
    "answers",
    "answer",
    "Answer",
    "context",
    "data",
    "Data",
    "paragraphs",
    "qas",
    "text",
    "QuestionId",
    "Value",
    "Aliases",
    "Body",
    "is_impossible",
    "best_answer",
    "correct_answers",
    "incorrect_answers",
    "mc1_targets",
    "mc2_targets",
    "choices",
    "labels",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


@pytest.mark.parametrize("form", DatasetFormat)
@settings(max_examples=25)
@given(content=st.binary(max_size=80) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_stands_in_a_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, form: DatasetFormat, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{form.value}"
    path.write_bytes(content)
    with contextlib.suppress(UsageError):
        try:
            assert read_items(DatasetSpec(name="d", format=form, path=path))
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
            raise
