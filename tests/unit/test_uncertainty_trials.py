import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from overnight.cli.planning import print_plan
from overnight.errors import UsageError
from overnight.planning.model_facts import model_facts
from overnight.planning.plan import make_plan, plan_record
from overnight.planning.requests import part_requests
from overnight.planning.trials import expand_trials, experiment_fingerprint
from overnight.planning.uncertainty_trials import measures_of
from overnight.planning.work import plan_work
from overnight.records import Condition, Item, ItemType
from overnight.spec.model import ModelSpec
from overnight.spec.uncertainty_sweep import UncertaintySweepSpec

MODEL = {
    "name": "tiny",
    "source": "/nowhere/tiny.gguf",
    "sha256": "a" * 64,
    "family": "f",
    "instruct": True,
    "params_billion": 0.1,
    "quantization": "Q4_0",
    "context_tokens": 2048,
}
DATASETS = [
    {"name": "facts", "type": "closed", "path": "/nowhere/facts.jsonl", "sha256": "c" * 64},
    {"name": "passages", "type": "open", "path": "/nowhere/passages.jsonl", "sha256": "d" * 64},
]
SERVED = {"engine": "openai_compatible", "source": "openai:any", "sha256": None}


def item(dataset: str, name: str, context: str | None = None) -> Item:
    return Item(
        dataset=dataset,
        item_id=name,
        type=ItemType.OPEN if context else ItemType.CLOSED,
        question=f"What is {name}?",
        answers=(f"it is {name}",),
        context=context,
    )


ITEMS = [
    *(item("facts", f"f{n}") for n in range(3)),
    *(item("passages", f"p{n}", f"Here is p{n}.") for n in range(2)),
]
SHOTS = {
    "facts": [item("facts", "s0"), item("facts", "s1")],
    "passages": [item("passages", "s2", "Here is s2.")],
}


def spec(models: list[dict[str, Any]] | None = None, **experiment: Any) -> UncertaintySweepSpec:
    return UncertaintySweepSpec.model_validate(
        {"name": "t", "experiment": {"models": models or [MODEL], "datasets": DATASETS} | experiment}
    )


def another(**changes: Any) -> dict[str, Any]:
    return MODEL | {"name": "other"} | changes


def test_every_model_meets_every_data_set_and_a_model_is_one_block() -> None:
    plan = make_plan(spec([MODEL, another(sha256="b" * 64)]), ITEMS, SHOTS)
    assert [(t.model.name, t.label) for t in plan.trials] == [
        ("tiny", "facts"),
        ("tiny", "passages"),
        ("other", "facts"),
        ("other", "passages"),
    ]
    assert len(plan.blocks) == 2
    assert plan.conditions == (Condition.CONTROL,)


def test_a_trial_asks_the_items_of_its_data_set_alone() -> None:
    plan = make_plan(spec(sampling={"samples_per_item": 4}), ITEMS, SHOTS)
    facts, passages = plan.trials
    assert [i.item_id for i in plan.items_of(facts)] == ["f0", "f1", "f2"]
    assert [i.item_id for i in plan.items_of(passages)] == ["p0", "p1"]
    # One greedy draw and four at random of each.
    assert plan.requests_per_trial == {facts.slug: 15, passages.slug: 10}
    asked = [r for part in plan.parts_of(facts) for r in part_requests(facts, part, plan.conditions)]
    assert len(asked) == 15
    assert all(request.tokens and request.logprobs for request in asked)
    assert sum(request.temperature == 0 for request in asked) == 3
    work = plan_work(plan)
    assert work[facts.slug].n_requests == 15
    assert work[passages.slug].limit_tokens == 10 * 150


def test_a_plan_of_one_condition_promises_no_difference_between_two() -> None:
    record = plan_record(make_plan(spec(), ITEMS, SHOTS))
    assert "smallest_detectable_difference_em" not in record
    assert record["n_requests"] == 5


def test_a_plan_says_how_wide_the_interval_of_an_auroc_is_going_to_be() -> None:
    # 100 questions without a passage, and 60 about 20 passages.
    items = [item("facts", f"f{n}") for n in range(100)]
    items += [item("passages", f"p{n}", f"Passage {n % 20}.") for n in range(60)]
    record = plan_record(make_plan(spec(), items, SHOTS))["expected_auroc"]
    assert record["assumed"] == {
        "auroc": 0.75,
        "correlation_of_two": 0.5,
        "confidence": 0.95,
        "power": 0.8,
    }
    found = {(one["dataset"], one["share_right"]): one for one in record["by_dataset"]}
    assert list(found) == [(name, share) for name in ("facts", "passages") for share in (0.1, 0.3, 0.5)]
    even = found["facts", 0.5]
    assert (even["n_right"], even["n_wrong"], even["n_passages"]) == (50, 50, None)
    # Hanley & McNeil by hand: (.1875 + 49 x .0375 + 49 (9 / 14 - .5625)) / 2,500 = .002385; z is 1.959964.
    assert even["half_width"] == pytest.approx(1.959964 * 0.002385**0.5, rel=1e-5)
    assert even["smallest_difference"] == pytest.approx(2.801585 * 0.002385**0.5, rel=1e-5)
    assert found["facts", 0.1]["half_width"] > found["facts", 0.3]["half_width"] > even["half_width"]
    assert found["passages", 0.1]["n_passages"] == 20


def test_a_plan_of_too_few_items_says_why_an_auroc_will_have_no_interval() -> None:
    record = plan_record(make_plan(spec(), ITEMS, SHOTS))["expected_auroc"]
    [facts, *_] = record["by_dataset"]
    assert (facts["half_width"], facts["smallest_difference"]) == (None, None)
    assert facts["undefined_because"] == "0 right and 3 wrong answers: a standard error takes two of each"


def test_the_terminal_names_the_items_the_shares_and_what_was_assumed() -> None:
    items = [item("facts", f"f{n}") for n in range(100)]
    items += [item("passages", f"p{n}", f"Passage {n % 20}.") for n in range(60)]
    out = Console(file=StringIO(), width=400)
    print_plan(out, make_plan(spec(), items, SHOTS))
    said = out.file.getvalue()
    assert re.search(
        r"AUROC of facts, 100 items: 95% interval of \u00b1 0\.\d{3} with 10% right, 0\.\d{3} with 30% right, "
        r"0\.096 with 50% right; smallest difference of two measures that they can show: 0\.\d{3}, 0\.\d{3}, 0\.137",
        said,
    )
    assert "AUROC of passages, 60 items about 20 passages, which tell less than as many alone: " in said
    assert "(at an AUROC of 0.75, by Hanley & McNeil; differences at 80% power and 5%" in said


def test_shots_that_a_prompt_has_no_room_for_are_left_out_whole_and_the_last_one_first() -> None:
    # 2,048 tokens less 150 of the answer and 64 of the template are 1,834, at two bytes each 3,668.
    long = item("facts", "long")
    shots = {"facts": [item("facts", "x" * 1000), item("facts", "y" * 1000), item("facts", "z" * 1000)]}
    trial = make_plan(spec(asking={"style": "none", "shots": 3}), [long], shots).trials[0]
    prompt = trial.messages(long, Condition.CONTROL)[0]["content"]
    assert trial.shots_of(long) == 1  # each has two thousand: in the question, and in its answer
    assert "x" * 1000 in prompt
    assert "y" * 1000 not in prompt
    assert prompt.endswith("Question: What is long?\nAnswer:")


def test_what_can_change_an_answer_changes_the_trial_and_what_is_measured_the_run_alone() -> None:
    base = spec()
    facts = expand_trials(base)[0]
    for changed in (
        spec(asking={"shots": 2}),
        spec(asking={"style": "detailed"}),
        spec(max_new_tokens=20),
        spec(sampling={"seed": 1}),
        spec(answerable_only=False),
        spec([MODEL | {"sha256": "b" * 64}]),
        spec([MODEL | {"context_tokens": 1024}]),  # decides how many shots a long prompt has
    ):
        assert expand_trials(changed)[0].fingerprint != facts.fingerprint
    for changed in (spec(measures=["g_nll"]), spec(labels=["f1"]), spec(statistics={"resamples": 10})):
        assert expand_trials(changed)[0].fingerprint == facts.fingerprint
        assert experiment_fingerprint(changed) != experiment_fingerprint(base)
    renamed = expand_trials(spec([MODEL | {"name": "renamed", "family": "g"}]))[0]
    assert renamed.fingerprint == facts.fingerprint


def test_measures_are_those_that_what_is_there_allows() -> None:
    names = {measure.name for measure in measures_of(spec().experiment)}
    assert "g_nll" in names
    assert "n_tokens" in names
    assert not names & {"predictive_entropy", "token_sar"}
    sampled = {m.name for m in measures_of(spec(sampling={"samples_per_item": 5}).experiment)}
    assert "predictive_entropy" in sampled
    assert "semantic_entropy_same_words" in sampled  # equal words need no model
    assert "semantic_entropy" not in sampled


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measures": ["g_nl"]}, "'g_nl' is not known; did you mean 'g_nll'?"),
        ({"measures": ["g_nll", "token_sar"]}, "token_sar needs relevance; set experiment.relevance"),
        (
            {"measures": ["g_nll", "predictive_entropy"]},
            "needs samples; set experiment.sampling.samples_per_item",
        ),
        ({"labels": ["f1", "judge"]}, "judge needs a model; name it in experiment.judge"),
        ({"main_label": "judge"}, "experiment.main_label: 'judge' is not among em, f1, rouge_l"),
        ({"measures": ["perplexity"]}, "experiment.main_measure: 'g_nll' is not among perplexity"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_asked(changes, said) -> None:
    with pytest.raises(UsageError) as refused:
        expand_trials(spec(**changes))
    assert said in str(refused.value)


def test_an_engine_without_log_probabilities_is_refused() -> None:
    endpoint = {"base_url": "http://127.0.0.1:1", "dialect": "lm_studio"}
    with pytest.raises(UsageError, match="gives no log-probabilities"):
        expand_trials(spec([MODEL | SERVED | {"endpoint": endpoint}]))
    vllm = spec([MODEL | SERVED | {"endpoint": endpoint | {"dialect": "vllm"}}])
    assert len(expand_trials(vllm)) == 2


@pytest.mark.parametrize(
    ("changes", "quantization", "bits"),
    [
        ({"quantization": "Q4_0"}, "Q4_0", 4.5),
        ({"quantization": "Q4_K_M"}, "Q4_K_M", 4.5),
        ({"quantization": "IQ4_XS", "bits_per_weight": 4.25}, "IQ4_XS", 4.25),
        ({"engine": "transformers", "quantization": "int8"}, "int8", 8),
        ({"engine": "transformers", "quantization": "nf4"}, "nf4", 4.5),
        ({"engine": "transformers", "quantization": "fp16"}, "none", 16),
        ({"engine": "transformers", "quantization": "none", "dtype": "bfloat16"}, "none", 16),
    ],
)
def test_facts_of_a_model_come_from_its_file(changes, quantization, bits) -> None:
    found = model_facts(ModelSpec.model_validate(MODEL | changes))
    assert (found.quantization, found.bits_per_weight, found.parameters) == (quantization, bits, 1e8)


def test_facts_that_are_missing_are_asked_for() -> None:
    with pytest.raises(UsageError, match="instruct: missing; say true"):
        model_facts(ModelSpec.model_validate(MODEL | {"instruct": None}))
    with pytest.raises(UsageError, match="bits_per_weight: missing"):
        model_facts(ModelSpec.model_validate(MODEL | {"quantization": "IQ4_XS"}))
