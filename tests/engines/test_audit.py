"""The audit on a real model: what llama.cpp answers beside others, it answers alone."""

import asyncio

import pytest

from overnight.engines.holding import connect
from overnight.planning.plan import make_plan
from overnight.records import Item, ItemType
from overnight.runs.auditing import Audit
from overnight.runs.building import build_requests
from overnight.runs.generating import generate
from overnight.spec.audit import AuditSettings
from overnight.spec.prompt_sweep import PromptSweepSpec
from overnight.store.journal import read_rows
from overnight.store.run_folder import RunFolder
from tests.engines.contract import llama_cpp_host

PLACES = ("France", "Japan", "Peru")


@pytest.fixture
def sweep(weights) -> PromptSweepSpec:
    return PromptSweepSpec.model_validate(
        {
            "name": "s",
            "experiment": {
                "datasets": [{"name": "d", "type": "closed", "path": "/nowhere/d.jsonl", "sha256": "c" * 64}],
                "defaults": {
                    "model": {
                        "name": "smollm2",
                        "source": str(weights),
                        "sha256": "a" * 64,
                        "family": "smollm2",
                        "params_billion": 0.135,
                        "quantization": "Q4_1",
                        "context_tokens": 512,
                    },
                    "prompt_set": {
                        "name": "p",
                        "control": "You answer questions about the places of this world.",
                        "treatment": "You answer questions about the places of this world in a word or two.",
                    },
                    "temps": [0.0, 0.8],
                    "max_new_tokens": {"closed": 8, "open": 8},
                },
            },
            "execution": {"max_concurrent_requests": 2, "request_cache": False},
        }
    )


def test_no_answer_of_a_batch_invariant_engine_depends_on_its_neighbours(weights, sweep, tmp_path) -> None:
    # Without a GPU the host holds the model batch-invariantly (docs/decisions/0002): 3 items, 2 arms and
    # 2 temperatures are asked two at a time with the prefix cache, and again one at a time without it.
    items = [
        Item(dataset="d", item_id=place, type=ItemType.CLOSED, question=f"What is {place}?", answers=("x",))
        for place in PLACES
    ]
    plan = make_plan(sweep, items)
    (block,) = plan.blocks
    (trial,) = block.trials
    folder = RunFolder(tmp_path)
    build_requests(folder, plan, trial)
    audit = Audit(
        folder=folder,
        plan=plan,
        block=block,
        trial=trial,
        settings=AuditSettings(share=1.0),
        confidence=0.95,
    )

    async def answer_twice():
        engine = connect(block.model, sweep.execution, folder.engines)
        await generate(folder, plan, block, trial, engine, sweep.execution)
        try:
            return await audit.carry_out(engine, lambda: False)
        finally:
            await engine.close()

    with llama_cpp_host(weights, folder.engines):
        found = asyncio.run(answer_twice())
    assert (found.state, found.why, found.all.n, found.all.n_different) == ("complete", None, 12, 0)
    # Of a character that takes several tokens llama.cpp shows the last one alone: no mean is known of such an answer.
    rows = list(read_rows(folder.trial(trial.slug).journal))
    unknown = [row for row in rows if row["mean_logprob"] is None]
    assert not any(row["text"].isascii() for row in unknown)
    assert found.mean_logprobs.n == 12 - len(unknown) > 8
    # llama.cpp adds up the probabilities likeliest first as far as alternatives are asked for: another order, other
    # last bits of a sum in single precision.
    assert found.mean_logprobs.largest < 1e-4
    assert (found.prompt_tokens.n, found.prompt_tokens.n_different) == (12, 0)
    assert {row["cached_tokens_alone"] for row in read_rows(folder.trial(trial.slug).lone_answers)} == {0}
