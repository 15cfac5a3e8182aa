"""The decode loop on a real model in float32, against transformers' own and against definitions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from overnight.engines.alternatives import read_steps
from overnight.engines.transformers import sharing
from overnight.engines.transformers.alternatives import Ranked, shown_steps
from overnight.engines.transformers.decoding import Decoder, Job
from overnight.engines.transformers.loading import Loaded, load
from overnight.engines.transformers.prompts import PromptRenderer
from overnight.engines.transformers.sampling import Sampling, UniformStream, next_tokens
from overnight.errors import GpuUnusable

GREEDY = Sampling(0.0, 1.0, 50)
SYSTEM = "You answer questions in as few words as possible and never say more than what was asked for."
QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "Who wrote Hamlet, in which century was it written, and in which language did its author write it?",
]


@pytest.fixture(scope="module")
def loaded(dequantised_weights) -> Loaded:
    torch.set_num_threads(1)  # more of them wait for each other on a busy machine
    return load(dequantised_weights, dtype="float32", device="cpu")


@pytest.fixture
def decoder(loaded) -> Decoder:
    return _decoder(loaded)


def _decoder(loaded, *, share_prefixes=True) -> Decoder:
    return Decoder(
        loaded.model,
        loaded.eos_ids,
        lambda ids: loaded.tokenizer.decode(ids, skip_special_tokens=True),
        share_prefixes=share_prefixes,
    )


def _job(loaded, question, system=SYSTEM, **changes) -> Job:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    fields = {"sampling": GREEDY, "seed": 7, "max_new_tokens": 12}
    return Job(prompt=PromptRenderer(loaded.tokenizer).ids(turns), **(fields | changes))


def _run(decoder, *jobs):
    answers = {}
    decoder.run(jobs, answers.__setitem__)
    return [answers[place] for place in range(len(jobs))]


def test_greedy_answers_of_an_unequal_batch_are_those_of_generate_alone(loaded) -> None:
    jobs = [_job(loaded, question) for question in QUESTIONS]
    assert len({len(job.prompt) for job in jobs}) == 3
    expected = []
    for job in jobs:
        prompt = torch.tensor([job.prompt])
        output = loaded.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=sorted(loaded.eos_ids),
        )
        expected.append(tuple(output[0, len(job.prompt) :].tolist()))
    plain, shared = _decoder(loaded, share_prefixes=False), _decoder(loaded)
    assert [answer.ids for answer in _run(plain, *jobs)] == expected
    assert [answer.ids for answer in _run(shared, *jobs)] == expected
    assert [_run(shared, job)[0].ids for job in jobs[::-1]] == expected[::-1]  # with the prefix that was kept


def test_answers_of_several_families_and_passes_in_one_batch_are_those_of_each_alone(
    loaded, monkeypatch
) -> None:
    # Two system prompts, a question without any, and rests of unequal lengths, each of which gets a pass of its own.
    monkeypatch.setattr(sharing, "_FEWEST_TOKENS", 8)
    monkeypatch.setattr(sharing, "FORWARD_TOKENS", 8)
    systems = [SYSTEM, f"Be brief. {SYSTEM}", ""]
    jobs = [
        _job(loaded, question, system=system, max_new_tokens=4)
        for question in QUESTIONS
        for system in systems
    ]
    alone, shared = _decoder(loaded, share_prefixes=False), _decoder(loaded)
    expected = [_run(alone, job)[0] for job in jobs]
    n_passes = _count_rows(loaded, monkeypatch)
    together = _run(shared, *jobs)
    assert [answer.ids for answer in together] == [answer.ids for answer in expected]
    # 1e-4 nats, as below.
    for answer, other in zip(together, expected, strict=True):
        assert answer.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)
    assert (
        len(n_passes) > 2 + 3 + 3
    )  # two prefixes, three families and three steps: there are more passes than families


def test_log_probabilities_are_those_of_one_pass_over_the_whole_text(loaded, decoder) -> None:
    # The definition: log-softmax of the raw logits at each position, whatever the settings that the token was drawn
    # with. 1e-4 nats: sums of some 600 products in float32 in another order.
    sampled = Sampling(0.8, 0.9, 20)
    jobs = [_job(loaded, question, sampling=sampled) for question in QUESTIONS]
    for job, answer in zip(jobs, _run(decoder, *jobs), strict=True):
        ids = torch.tensor([[*job.prompt, *answer.ids]])
        with torch.inference_mode():
            logits = loaded.model(ids).logits[0].float()
        expected = logits.log_softmax(-1)[len(job.prompt) - 1 : -1].gather(
            -1, torch.tensor(answer.ids)[:, None]
        )
        assert answer.token_logprobs == pytest.approx(expected[:, 0].tolist(), abs=1e-4)
        assert len(answer.token_logprobs) == len(answer.ids)


def test_a_draw_depends_on_its_seed_and_neither_on_its_neighbours_nor_on_their_order(loaded, decoder) -> None:
    jobs = [
        _job(loaded, "Write a line about the sea.", sampling=Sampling(1.0, 1.0, 0), seed=seed)
        for seed in (1, 2, 3)
    ]
    together = [answer.ids for answer in _run(decoder, *jobs)]
    assert [answer.ids for answer in _run(decoder, *jobs[::-1])][::-1] == together
    assert _run(decoder, jobs[1])[0].ids == together[1]
    assert len(set(together)) == 3


def test_rows_that_have_ended_are_not_computed_any_more(loaded, decoder, monkeypatch) -> None:
    n_rows = _count_rows(loaded, monkeypatch)
    jobs = [_job(loaded, "Count to fifty.", max_new_tokens=n) for n in (1, 4, 2)]
    answers = _run(decoder, *jobs)
    assert [len(answer.ids) for answer in answers] == [1, 4, 2]
    assert {answer.finish_reason for answer in answers} == {"length"}
    # The shared prefix once; three rows give the first token, two the second, and one the third and the fourth.
    assert n_rows == [1, 3, 2, 1, 1]


def test_a_row_that_nobody_waits_for_leaves_without_an_answer(loaded, decoder, monkeypatch) -> None:
    n_rows = _count_rows(loaded, monkeypatch)
    jobs = [_job(loaded, question, max_new_tokens=3) for question in QUESTIONS[:2]]
    answers = {}
    decoder.run(jobs, answers.__setitem__, is_wanted=lambda place: place == 1)
    assert list(answers) == [1]
    assert n_rows == [1, 2, 1, 1]


def test_an_answer_ends_at_any_of_the_tokens_that_end_one_and_counts_it(loaded, decoder) -> None:
    (answer,) = _run(decoder, _job(loaded, QUESTIONS[0], max_new_tokens=30))
    assert answer.finish_reason == "stop"
    assert answer.ids[-1] in loaded.eos_ids
    assert not set(answer.ids[:-1]) & loaded.eos_ids
    assert "<|im_end|>" not in answer.text
    # Had another token been one that ends an answer, it would have ended there.
    early = Decoder(loaded.model, frozenset({answer.ids[2]}), decoder._decode, share_prefixes=False)
    assert _run(early, _job(loaded, QUESTIONS[0]))[0].ids == answer.ids[:3]


def test_of_a_character_that_takes_several_tokens_the_last_one_adds_all_of_it(loaded) -> None:
    # As llama.cpp shows it; a token inside a character does not end the answer, though it adds nothing.
    tokenizer, end = loaded.tokenizer, min(loaded.eos_ids)
    text = "He said “🦊” é"
    ids = [*tokenizer.encode(text), end]
    ranked = [Ranked((token, end), (-0.1, -3.0)) for token in ids]
    steps = read_steps(
        shown_steps(
            ids,
            [-0.1] * len(ids),
            ranked,
            lambda some: tokenizer.decode(some, skip_special_tokens=True),
            loaded.eos_ids,
        )
    )
    assert b"".join(step.taken.piece for step in steps).decode() == text
    assert sum(not step.taken.piece for step in steps[:-1]) > 1
    for step in steps:
        step.taken.piece.decode()  # whole characters alone
    assert [step.taken.ends for step in steps] == [False] * (len(ids) - 1) + [True]
    assert [step.likeliest[0].ends for step in steps] == [False] * (len(ids) - 1) + [True]
    assert {step.likeliest[1].ends for step in steps} == {True}


def test_what_was_evaluated_with_another_prompt_is_counted_once(loaded, decoder) -> None:
    jobs = [_job(loaded, question, max_new_tokens=1) for question in QUESTIONS]
    first, *others = (answer.cached_tokens for answer in _run(decoder, *jobs))
    assert first == 0
    assert all(16 <= n < min(len(job.prompt) for job in jobs) for n in others)
    assert {answer.cached_tokens for answer in _run(decoder, *jobs)} == {others[0]}


LOGITS = [2.0, 1.5, 1.0, 0.5, 0.0, -4.0]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1.0, 1.0, 0), [0, 1, 2, 3, 4, 5]),
        (Sampling(0.5, 1.0, 3), [0, 1, 2]),
        # softmax(LOGITS) begins .428, .260, .158: the mass before the third is .688, so two are not enough for .7.
        (Sampling(2.0, 0.7, 0), [0, 1, 2]),
        (Sampling(2.0, 0.68, 0), [0, 1]),
        # Of the first two alone .622 and .378: top-p counts what top-k has left.
        (Sampling(1.0, 0.6, 2), [0]),
    ],
)
def test_draws_follow_top_k_then_top_p_then_the_temperature(sampling, kept) -> None:
    n = 4000
    rows = torch.tensor([LOGITS]).expand(n, -1)
    tokens, logprobs = next_tokens(rows, [sampling] * n, [UniformStream(seed) for seed in range(n)])
    scaled = np.exp(np.array(LOGITS)[kept] / sampling.temperature)
    expected = np.zeros(len(LOGITS))
    expected[kept] = scaled / scaled.sum()
    found = np.bincount(tokens, minlength=len(LOGITS)) / n
    assert found[expected == 0].sum() == 0
    # Four standard errors of a share of 4000 draws.
    assert np.all(np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / n) + 1e-9)
    model = np.array(LOGITS) - np.log(np.exp(LOGITS).sum())  # before any of these settings
    assert logprobs == pytest.approx(model[tokens].tolist(), abs=1e-6)


def test_rows_of_a_batch_have_settings_of_their_own() -> None:
    rows = torch.tensor([LOGITS, LOGITS[::-1], LOGITS])
    settings = [GREEDY, GREEDY, Sampling(5.0, 1.0, 2)]
    streams = [UniformStream(seed) for seed in (0, 1, 2)]
    tokens, _ = next_tokens(rows, settings, streams)
    assert tokens[:2] == [0, 5]
    assert tokens[2] in (0, 1)
    # Greedy rows take no random numbers: the next one is the first of their seed.
    assert streams[0].next() == UniformStream(0).next()


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_bitsandbytes_holds_and_asks_a_model_on_the_cpu(bits, tmp_path, loaded) -> None:
    # A small model of the same kind with random weights: what is claimed here is how it is held.
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(loaded.tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    full = load(tmp_path, dtype="float32", device="cpu")
    small = load(tmp_path, dtype="float32", device="cpu", bits=bits)
    layer = small.model.model.layers[0].mlp.up_proj
    assert type(layer).__name__ == {"int8": "Linear8bitLt", "nf4": "Linear4bit"}[bits]
    # One byte a weight, or half of one, where float32 takes four; nf4 packs two into a byte.
    assert layer.weight.element_size() == 1
    assert layer.weight.numel() == 128 * 256 / {"int8": 1, "nf4": 2}[bits]
    prompt = torch.tensor([_job(loaded, QUESTIONS[0]).prompt])
    with torch.inference_mode():
        one, other = (each.model(prompt).logits[0, -1].float() for each in (full, small))
    assert torch.cosine_similarity(one, other, dim=0) > 0.9
    (answer,) = _run(_decoder(small), _job(loaded, QUESTIONS[0], max_new_tokens=3))
    assert len(answer.ids) == 3
    assert all(np.isfinite(answer.token_logprobs))


def test_a_device_that_is_not_there_is_refused_by_name(tmp_path) -> None:
    name = next(
        (kind for kind in ("cuda", "mps") if not getattr(torch, kind).is_available()), None
    )  # no machine has both
    with pytest.raises(GpuUnusable, match=f"device: {name} asks for a GPU, and torch .* finds none"):
        load(tmp_path, dtype="float32", device=name)


def _count_rows(loaded, monkeypatch) -> list[int]:
    """Return a list to which each pass through the model adds how many rows it had."""
    n_rows: list[int] = []
    forward = loaded.model.forward

    def counting(input_ids: Tensor, **more):
        n_rows.append(len(input_ids))
        return forward(input_ids=input_ids, **more)

    monkeypatch.setattr(loaded.model, "forward", counting)
    return n_rows
