from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.datasets.sampling import Drawing, stratified_sample
from overnight.records import Item, ItemType

Stratum = tuple[str, bool]
SIZES = st.dictionaries(st.tuples(st.sampled_from("abcd"), st.booleans()), st.integers(1, 12), min_size=1)


def population(sizes: dict[Stratum, int]) -> list[Item]:
    return [
        Item(
            dataset=dataset,
            item_id=f"{'none' if is_unanswerable else 'some'}-{n}",
            type=ItemType.OPEN,
            question=f"Question {n}?",
            answers=() if is_unanswerable else ("yes",),
            context="A passage.",
        )
        for (dataset, is_unanswerable), size in sorted(sizes.items())
        for n in range(size)
    ]


def by_stratum(items: list[Item]) -> dict[Stratum, set[str]]:
    found: dict[Stratum, set[str]] = {}
    for item in items:
        found.setdefault((item.dataset, item.is_unanswerable), set()).add(item.item_id)
    return found


@given(SIZES, st.integers(0, 60), st.integers(0, 5))
def test_a_sample_has_as_many_items_as_were_asked_for(sizes: dict[Stratum, int], n: int, seed: int) -> None:
    items = population(sizes)
    sample = stratified_sample(items, n, seed)
    assert len(sample) == min(n, len(items))
    assert len({item.key for item in sample}) == len(sample)


@given(SIZES, st.integers(0, 60), st.integers(0, 5))
def test_a_sample_keeps_the_old_order(sizes: dict[Stratum, int], n: int, seed: int) -> None:
    items = population(sizes)
    places = {item.key: place for place, item in enumerate(items)}
    chosen = [places[item.key] for item in stratified_sample(items, n, seed)]
    assert chosen == sorted(chosen)


@given(SIZES, st.integers(0, 60), st.integers(0, 5))
def test_every_stratum_gives_its_share_to_within_one_item(
    sizes: dict[Stratum, int], n: int, seed: int
) -> None:
    items = population(sizes)
    n = min(n, len(items))
    taken = Counter((item.dataset, item.is_unanswerable) for item in stratified_sample(items, n, seed))
    for stratum, size in sizes.items():
        assert abs(taken[stratum] - n * size / len(items)) < 1


def test_a_sample_of_the_starter_shape_is_balanced() -> None:
    # 24 of 138: 72 closed, 44 answerable, 22 not: 12.52, 7.65, 3.83; rounded by largest remainder 12, 8, 4.
    sizes = {("closed", False): 72, ("open", False): 44, ("open", True): 22}
    sample = by_stratum(stratified_sample(population(sizes), 24, 2025))
    assert {stratum: len(ids) for stratum, ids in sample.items()} == {
        ("closed", False): 12,
        ("open", False): 8,
        ("open", True): 4,
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_sample_is_never_the_first_so_many(seed: int) -> None:
    # The original took a prefix. 20 of 100 by chance: less than 1e-20 for each seed.
    items = population({("a", False): 100})
    assert stratified_sample(items, 20, seed) != items[:20]


def test_the_seed_decides() -> None:
    items = population({("a", False): 60, ("b", True): 40})
    assert stratified_sample(items, 20, 1) == stratified_sample(items, 20, 1)
    assert stratified_sample(items, 20, 1) != stratified_sample(items, 20, 2)


@given(SIZES, st.integers(0, 60), st.integers(0, 60))
def test_of_two_samples_the_larger_contains_the_smaller_in_every_stratum(
    sizes: dict[Stratum, int], n: int, n2: int
) -> None:
    items = population(sizes)
    one, other = by_stratum(stratified_sample(items, n, 7)), by_stratum(stratified_sample(items, n2, 7))
    for stratum in sizes:
        small, large = sorted((one.get(stratum, set()), other.get(stratum, set())), key=len)
        assert small <= large


@given(SIZES, SIZES, st.integers(0, 60))
def test_adding_a_dataset_changes_how_many_are_taken_of_another_but_not_in_which_order(
    sizes: dict[Stratum, int], more: dict[Stratum, int], n: int
) -> None:
    added = {(f"new {dataset}", flag): size for (dataset, flag), size in more.items()}
    before = by_stratum(stratified_sample(population(sizes), n, 7))
    after = by_stratum(stratified_sample(population(sizes | added), n, 7))
    for stratum in sizes:
        small, large = sorted((before.get(stratum, set()), after.get(stratum, set())), key=len)
        assert small <= large


def test_the_order_of_the_file_does_not_decide() -> None:
    items = population({("a", False): 30, ("a", True): 30})
    forwards = {item.key for item in stratified_sample(items, 20, 7)}
    assert {item.key for item in stratified_sample(items[::-1], 20, 7)} == forwards


def test_none_is_all_and_zero_is_none() -> None:
    # The original took 0 for "no limit".
    items = population({("a", False): 5})
    assert stratified_sample(items, None, 7) == items
    assert stratified_sample(items, 0, 7) == []


def test_more_than_there_are_is_all() -> None:
    items = population({("a", False): 5})
    assert stratified_sample(items, 6, 7) == items


def test_of_nothing_nothing_is_taken() -> None:
    assert stratified_sample([], 3, 7) == []


@given(SIZES, st.integers(0, 60), st.integers(0, 60), st.integers(0, 3))
def test_items_that_come_one_at_a_time_give_the_sample_of_the_sample(
    sizes: dict[Stratum, int], cap: int, limit: int, seed: int
) -> None:
    # Only as many as the smaller of the two are held meanwhile; the definition holds them all.
    items = population(sizes)
    drawing = Drawing(seed=seed, most=min(cap, limit))
    for item in items:
        drawing.add(item)
    drawing.keep(cap)
    assert drawing.take(limit) == stratified_sample(stratified_sample(items, cap, seed), limit, seed)
    assert drawing.sizes.keys() == sizes.keys()
