from hypothesis import given
from hypothesis import strategies as st

from overnight.text_models.batching import length_batches

LENGTHS = st.lists(st.integers(min_value=1, max_value=50), max_size=40)


def test_batches_by_hand() -> None:
    # Two of 6 tokens fit into 12, and then three of which the longest has 4.
    assert list(length_batches([1, 6, 4, 6, 2], 12)) == [[1, 3], [2, 4, 0]]


@given(LENGTHS, st.integers(min_value=1, max_value=200))
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(lengths: list[int], most: int) -> None:
    batches = list(length_batches(lengths, most))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= most
    flat = [lengths[place] for batch in batches for place in batch]
    assert flat == sorted(flat, reverse=True)
