import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby
from os.path import commonprefix

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.errors import StoreError
from overnight.planning.parts import Part, split_parts
from overnight.planning.plan import Plan, make_plan
from overnight.planning.prompt_trials import PromptTrial as Trial
from overnight.planning.requests import (
    Request,
    as_row,
    from_row,
    part_ids,
    part_requests,
    request,
    request_seed,
    same_prompt_groups,
)
from overnight.planning.trials import expand_trials
from overnight.prompting.messages import CLOSED_INSTRUCTION, OPEN_INSTRUCTION, messages
from overnight.records import Condition, Item, ItemType
from overnight.runs.building import build_requests, built_requests
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.store.run_folder import RunFolder

Maker = Callable[..., PromptSweepSpec]
SAMPLING = {"samples_per_item": 3, "seed": 11, "stop": ["\n\n", "Q:"]}
DEFAULTS = {"temps": [0.7, 0.0], "top_p": 0.995, "top_k": 20, "max_new_tokens": {"closed": 16, "open": 48}}


def shared_prefix_share(requests: Iterable[Request]) -> float | None:
    """Return the share of prompt characters that the request before had evaluated already; None without any."""
    previous, shared, total = "", 0, 0
    for each in requests:
        prompt = "".join(message["content"] for message in each.messages)
        shared += len(commonprefix([previous, prompt]))
        total += len(prompt)
        previous = prompt
    return shared / total if total else None


@pytest.fixture(scope="module")
def trial(make_spec: Maker) -> Trial:
    (only,) = expand_trials(make_spec(defaults=DEFAULTS, sampling=SAMPLING))
    return only


@pytest.fixture(scope="module")
def plan(make_spec: Maker, items: list[Item]) -> Plan:
    return make_plan(make_spec({"parts_per_dataset": 2}, defaults=DEFAULTS, sampling=SAMPLING), items)


def sent(trial: Trial, items: list[Item]) -> list[Request]:
    return [
        r
        for part in split_parts(items, parts_per_dataset=1, lines_per_part=None)
        for r in part_requests(trial, part, Condition)
    ]


def test_a_request_is_what_its_trial_says(trial: Trial, items: list[Item]) -> None:
    by_id = {r.custom_id: r for r in sent(trial, items)}
    for item in items:
        for condition in Condition:
            for temperature, n_draws in ((0.7, 3), (0.0, 1)):
                for draw in range(n_draws):
                    asked = by_id.pop(
                        f"{item.dataset}|{item.item_id}|{condition}|{temperature}|{draw}|{item.type}"
                    )
                    assert asked.messages == tuple(messages(trial.prompt_set.text(condition), item))
                    assert asked.temperature == temperature
                    assert asked.top_p == 0.995
                    assert asked.top_k == 20
                    assert asked.max_new_tokens == (16 if item.type is ItemType.CLOSED else 48)
                    assert asked.seed == request_seed(11, item.key, draw)
                    assert asked.stop == ("\n\n", "Q:")
    assert by_id == {}


def test_the_system_prompt_is_the_arm_and_the_user_turn_is_the_same_in_both(
    trial: Trial, items: list[Item]
) -> None:
    turns: dict[str, set[tuple[str, str]]] = {}
    for asked in sent(trial, items):
        system, user = asked.messages
        assert (system["role"], user["role"]) == ("system", "user")
        turns.setdefault(system["content"], set()).add((asked.custom_id.split("|")[1], user["content"]))
    control, treatment = turns[trial.prompt_set.control], turns[trial.prompt_set.treatment]
    assert control == treatment
    assert len(turns) == 2


def test_what_prompts_share_stands_first(items: list[Item]) -> None:
    closed, opened = messages("S", items[0])[1]["content"], messages("S", items[3])[1]["content"]
    assert closed.startswith(CLOSED_INSTRUCTION)
    assert closed.endswith(items[0].question)
    assert opened.startswith(OPEN_INSTRUCTION)
    assert opened.index(str(items[3].context)) < opened.index(items[3].question)


def test_a_seed_depends_on_the_run_the_item_and_the_draw_alone(make_spec: Maker, items: list[Item]) -> None:
    # Both arms and all trials draw with common random numbers, whatever is asked before.
    spec = make_spec(sweep={"temps": [0.7, 1], "top_k": [0, 5]}, sampling={"samples_per_item": 2})
    seeds: dict[tuple[str, str], set[int]] = {}
    for trial in expand_trials(spec):
        for order in (items, items[::-1][:4]):
            for asked in sent(trial, order):
                fields = asked.custom_id.split("|")
                seeds.setdefault((fields[1], fields[4]), set()).add(asked.seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len({seed for found in seeds.values() for seed in found}) == len(items) * 2


def test_another_seed_of_the_run_is_another_seed_of_every_draw(items: list[Item]) -> None:
    assert all(request_seed(1, item.key, 0) != request_seed(2, item.key, 0) for item in items)


@given(st.integers(0, 2**31 - 1), st.text(st.characters(exclude_categories=())), st.integers(0, 1000))
def test_a_seed_fits_into_31_bits(seed: int, item_id: str, draw: int) -> None:
    item = Item(dataset="d", item_id=item_id, type=ItemType.CLOSED, question="q", answers=("a",))
    assert 0 <= request_seed(seed, item.key, draw) < 2**31


def test_all_draws_of_one_prompt_are_next_to_each_other(trial: Trial, items: list[Item]) -> None:
    requests = sent(trial, items)
    groups = list(same_prompt_groups(requests))
    assert [r for group in groups for r in group] == requests
    assert {len(group) for group in groups} == {4}  # three draws at 0.7, one at 0
    assert len({str(group[0].messages) for group in groups}) == len(groups) == len(items) * 2


def test_prompts_that_share_a_prefix_are_next_to_each_other(trial: Trial, items: list[Item]) -> None:
    opened = [item for item in items if item.type is ItemType.OPEN]
    contexts = {item.item_id: item.context for item in opened}
    order = [(r.messages[0]["content"], contexts[r.custom_id.split("|")[1]]) for r in sent(trial, opened)]
    blocks = [block for block, _ in groupby(order)]
    assert len(blocks) == len(set(blocks)) == 4  # two system prompts x two passages
    assert len([system for system, _ in groupby(system for system, _ in blocks)]) == 2


def test_the_longer_system_prompt_comes_first(trial: Trial, items: list[Item]) -> None:
    # Its shared prefix is the longest.
    first, last = sent(trial, items[:3])[0], sent(trial, items[:3])[-1]
    assert len(first.messages[0]["content"]) > len(last.messages[0]["content"])


def test_our_order_shares_at_least_as_much_as_item_by_item_with_alternating_arms(
    trial: Trial, items: list[Item]
) -> None:
    for chosen in (items, items[:3], items[3:], items[:1], items[::-1]):
        alternating = [
            request(trial, "p", item, arm, draw)
            for item in chosen
            for draw in range(1)
            for arm in trial.arms(Condition)
        ]
        ours = [r for r in sent(trial, chosen) if r.custom_id.split("|")[4] == "0"]
        assert {r.custom_id for r in ours} == {r.custom_id for r in alternating}
        assert shared_prefix_share(ours) >= shared_prefix_share(alternating)


def test_the_shared_prefix_is_counted_by_hand(trial: Trial, items: list[Item]) -> None:
    (first, *_) = sent(trial, items)
    # Of two equal prompts the second shares all of itself: one half of all characters. One alone shares nothing.
    assert shared_prefix_share([first, first]) == 0.5
    assert shared_prefix_share([first]) == 0.0
    assert shared_prefix_share([]) is None


@given(
    st.floats(0, 5), st.floats(0, 1), st.text(st.characters(exclude_categories=())), st.integers(0, 2**31 - 1)
)
def test_a_request_reads_back_from_its_row(temperature: float, top_p: float, text: str, seed: int) -> None:
    asked = Request(
        custom_id="d|i|control|0.0|0|open",
        part="d_p01",
        messages=({"role": "system", "content": text}, {"role": "user", "content": "?"}),
        temperature=temperature,
        top_p=top_p,
        top_k=0,
        max_new_tokens=1,
        seed=seed,
        stop=(text,),
    )
    assert from_row(json.loads(json.dumps(as_row(asked, "m"))), "d_p01") == asked


def test_the_digest_of_a_request_is_that_of_its_answer(trial: Trial, items: list[Item]) -> None:
    asked = request(trial, "p", items[0], trial.arms(Condition)[0], 0)
    elsewhere = request(trial, "another part", items[0], trial.arms(Condition)[0], 0)
    assert asked.digest("m") == elsewhere.digest("m")
    assert asked.digest("m") == replace(asked, alternatives=5).digest("m")
    assert asked.digest("m") != asked.digest("n")
    everything = [r.digest("m") for r in sent(trial, items)]
    assert len(set(everything)) == len(everything)


@given(st.integers(1, 9), st.none() | st.integers(1, 9))
def test_parts_cover_each_item_once_in_order(items: list[Item], n_parts: int, lines: int | None) -> None:
    parts = split_parts(items, parts_per_dataset=n_parts, lines_per_part=lines)
    assert [item for part in parts for item in part.items] == items
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert {item.dataset for item in part.items} == {part.name.rpartition("_p")[0]}
        assert part.items
        assert lines is None or len(part.items) <= lines


@pytest.mark.parametrize(
    ("n_parts", "lines", "sizes"),
    [
        (1, None, [7]),
        (2, None, [4, 3]),
        (3, None, [3, 3, 1]),
        (7, None, [1] * 7),
        (50, None, [1] * 7),
        (2, 5, [5, 2]),
    ],
)
def test_how_seven_items_are_cut(n_parts: int, lines: int | None, sizes: list[int]) -> None:
    items = [
        Item(dataset="d", item_id=str(n), type=ItemType.CLOSED, question="q", answers=("a",))
        for n in range(7)
    ]
    parts = split_parts(items, parts_per_dataset=n_parts, lines_per_part=lines)
    assert [len(part.items) for part in parts] == sizes
    assert [part.name for part in parts[:2]] == ["d_p01", "d_p02"][: len(sizes)]


def test_all_arms_of_an_item_are_in_its_part(trial: Trial, items: list[Item]) -> None:
    (part,) = split_parts(items[:2], parts_per_dataset=1, lines_per_part=None)
    asked = list(part_requests(trial, part, Condition))
    assert {r.part for r in asked} == {"facts_p01"}
    assert len(asked) == 2 * 2 * 4


def test_requests_are_read_back_as_they_were_built(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan
) -> None:
    folder, (trial,) = RunFolder(tmp_path_factory.mktemp("run")), plan.trials
    n_built = build_requests(folder, plan, trial)
    expected = [r for part in plan.parts for r in part_requests(trial, part, plan.conditions)]
    assert list(built_requests(folder, plan, trial)) == expected
    assert n_built == len(expected) == plan.requests_per_trial[trial.slug]


def test_another_slicing_leaves_no_request_of_the_old_one(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, make_spec: Maker, items: list[Item]
) -> None:
    folder, (trial,) = RunFolder(tmp_path_factory.mktemp("run")), plan.trials
    build_requests(folder, plan, trial)
    coarse = make_plan(make_spec(defaults=DEFAULTS, sampling=SAMPLING), items)
    build_requests(folder, coarse, trial)
    assert {p.stem for p in folder.batch_inputs(trial.slug).iterdir()} == {part.name for part in coarse.parts}
    assert len(list(built_requests(folder, coarse, trial))) == plan.requests_per_trial[trial.slug]


def test_a_built_request_that_was_changed_is_named_by_its_line(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan
) -> None:
    folder, (trial,) = RunFolder(tmp_path_factory.mktemp("run")), plan.trials
    with pytest.raises(StoreError, match="no such file; run the build step first"):
        list(built_requests(folder, plan, trial))
    build_requests(folder, plan, trial)
    path = folder.batch_inputs(trial.slug) / f"{plan.parts[0].name}.jsonl"
    path.write_text(path.read_text().replace("\n", "\n{}\n", 1))
    with pytest.raises(StoreError, match=r"facts_p01\.jsonl:2: not a request"):
        list(built_requests(folder, plan, trial))


def test_a_part_without_items_asks_nothing(trial: Trial) -> None:
    assert list(part_requests(trial, Part("empty", ()), Condition)) == []


def test_the_ids_of_a_part_are_those_of_its_requests(trial: Trial, plan: Plan) -> None:
    # How far a part is, is counted by the ones; what is asked are the others.
    for part in plan.parts:
        ids = list(part_ids(trial, part, Condition))
        assert sorted(ids) == sorted(r.custom_id for r in part_requests(trial, part, Condition))
        assert len(ids) == 2 * (3 + 1) * len(part.items)  # two conditions; three draws at 0.7, one at 0
