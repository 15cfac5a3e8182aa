"""Activations of a real model through its host, against transformers' own hidden states; 1e-4 in float32."""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from overnight.activations.points import Component, Point, every_sublayer, labels  # noqa: E402
from overnight.activations.positions import Positions  # noqa: E402
from overnight.activations.request import ActivationRequest, SequenceInput  # noqa: E402
from overnight.best_of_k.places import PlacesRequest  # noqa: E402
from overnight.engines.host import EngineHost, HostSettings  # noqa: E402
from overnight.engines.kept_tokens import kept_tokens  # noqa: E402
from overnight.engines.transformers.client import TransformersEngine  # noqa: E402
from overnight.errors import EngineUnavailable, UsageError  # noqa: E402
from overnight.planning.requests import Request  # noqa: E402
from overnight.prompting.messages import Message  # noqa: E402
from overnight.spec.positions import VectorPositions  # noqa: E402

CONTEXT_TOKENS = 256
N_LAYERS, WIDTH, N_TRAITS = 30, 576, 3
POINTS = every_sublayer(N_LAYERS)
CHAT = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="What is the capital of France?"),
)
LINE = "I would not be so sure about that: naïve café, ☕ and 🦊."
POOLED = (Point(7, Component.RESIDUAL_OUT), Point(29, Component.RESIDUAL_IN))


@pytest.fixture(scope="module")
def host(dequantised_weights, tmp_path_factory):
    settings = HostSettings(
        module="overnight.engines.transformers.host",
        model_path=dequantised_weights,
        slots=8,
        context_tokens=CONTEXT_TOKENS,
        threads=1,
        options={
            "dtype": "float32",
            "bits": None,
            "trust_remote_code": False,
            "device": "cpu",
            "attention": None,
            "batch_tokens": None,
            "batch_invariant": False,
        },
        startup_timeout_s=120,
    )
    with EngineHost(settings, tmp_path_factory.mktemp("engines"), "smollm2") as host:
        host.start()
        yield host


@pytest.fixture(scope="module")
def plain(dequantised_weights):
    """Return the model and its tokenizer, as transformers loads them."""
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(dequantised_weights, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(dequantised_weights)


@pytest.fixture
def directions(tmp_path):
    torch.manual_seed(5)
    path = tmp_path / "directions.safetensors"
    tensors = {
        "directions": torch.randn(1, N_TRAITS, WIDTH) * 3,
        "group_of_point": torch.zeros(len(POINTS), dtype=torch.long),
    }
    about = {"traits": json.dumps(["a", "b", "c"]), "points": json.dumps(labels(POINTS))}
    safetensors.torch.save_file(tensors, path, metadata=about)
    return path


@contextlib.asynccontextmanager
async def _engine(host):
    engine = TransformersEngine(host.state_path, timeout_s=120, startup_timeout_s=240)
    try:
        yield engine
    finally:
        await engine.close()


def _ask(host, *calls):
    """Return what some calls of one client come to, all at once."""

    async def ask():
        async with _engine(host) as engine:
            return await asyncio.gather(*(call(engine) for call in calls))

    return asyncio.run(ask())


def _question(**changes) -> Request:
    request = Request(
        custom_id="d|i|control|0.0|0|closed",
        part="d_p01",
        messages=CHAT,
        temperature=0.0,
        top_p=1.0,
        top_k=50,
        max_new_tokens=8,
        seed=7,
        stop=(),
    )
    return replace(request, **changes)


def _reply(host):
    """Return the ids of the tokens of an answer, as a journal keeps them."""
    (completion,) = _ask(host, lambda engine: engine.complete(_question(tokens=True)))
    return completion.text, tuple(token["id"] for token in kept_tokens(completion))


def _load(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _hidden_states(model, ids):
    """Return ``[layers + 1, tokens, width]``: the last one before the final norm."""
    last = []
    hook = model.model.norm.register_forward_pre_hook(lambda _, args: last.append(args[0]))
    with torch.inference_mode():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    hook.remove()
    return torch.cat([*states[:-1], last[0]])


def test_states_of_an_answer_are_those_of_one_pass_over_its_own_tokens(
    host, plain, directions, tmp_path
) -> None:
    model, tokenizer = plain
    text, reply = _reply(host)
    prompt = tokenizer.apply_chat_template(list(CHAT), add_generation_prompt=True, return_dict=False)
    assert tokenizer.decode(reply, skip_special_tokens=True) == text
    asked = ActivationRequest(
        sequences=(
            SequenceInput(id="chat", messages=CHAT, reply_ids=reply),
            SequenceInput(id="line", text=LINE),
            SequenceInput(id="token", text="Yes"),
        ),
        out=tmp_path / "out",
        directions=directions,
        projected=POINTS,
        pooled=POOLED,
        positions=Positions.parse("response[:5]"),
    )
    (answer,) = _ask(host, lambda engine: engine.activations(asked))
    assert [each.id for each in answer.sequences] == ["chat", "line", "token"]
    assert [each.error for each in answer.sequences] == [None] * 3
    assert answer.n_batches == 1
    assert answer.halvings == 0
    assert answer.largest_probe_difference < 1e-4
    axes = safetensors.torch.load_file(directions)["directions"][0]
    expected_ids = [
        (*prompt, *reply),
        tuple(tokenizer(LINE)["input_ids"]),
        tuple(tokenizer("Yes")["input_ids"]),
    ]
    for each, ids in zip(answer.sequences, expected_ids, strict=True):
        assert each.token_ids == ids
        assert each.n_prompt == (len(prompt) if each.id == "chat" else 0)
        written = b"".join(
            piece["text"].encode() if "text" in piece else bytes.fromhex(piece["hex"])
            for piece in each.pieces
        )
        assert written.decode() == tokenizer.decode(ids)
        found = _load(each.path)
        states = _hidden_states(model, ids)
        assert found["token_ids"].tolist() == list(ids)
        assert found["projections"].shape == (len(ids), 3 * N_LAYERS, N_TRAITS)
        assert "z" not in found
        for layer in range(N_LAYERS):
            for place, state in ((3 * layer, states[layer]), (3 * layer + 2, states[layer + 1])):
                along = state @ axes.T / axes.norm(dim=-1)
                # The largest states have some thousands of units, of which float32 has 7 digits.
                assert (found["projections"][:, place] - along).abs().max() <= 1e-4 * max(
                    1, along.abs().max()
                )
                assert found["norms"][:, place] == pytest.approx(state.norm(dim=-1), rel=1e-4)
        n_prompt = each.n_prompt
        for row, state in zip(found["pooled"], (states[8], states[29]), strict=True):
            mean = state[n_prompt : n_prompt + 5].mean(dim=0)
            assert (row - mean).abs().max() <= 1e-4 * max(1, mean.abs().max())


def test_states_of_chosen_tokens_are_those_of_a_pass_over_the_whole_text(host, plain, tmp_path) -> None:
    model, tokenizer = plain
    talk = (*CHAT, Message(role="assistant", content="Paris."))
    sources = (
        SequenceInput(id="talk", messages=talk, is_whole=True),
        SequenceInput(id="line", text=LINE),
        SequenceInput(id="short", text="Yes"),
    )
    asked = PlacesRequest(sequences=sources, rule=VectorPositions(per_sequence=500))
    (answer,) = _ask(host, lambda engine: engine.places(asked))
    chosen = {each.id: each for each in answer.texts}
    assert chosen["short"].why == "it has 1 tokens, and 5 come before the first that may be taken"
    ids = {
        "talk": tokenizer.apply_chat_template(list(talk), return_dict=False),
        "line": tokenizer(LINE)["input_ids"],
    }
    said = {"system": "Be brief.", "user": "What is the capital of France?", "assistant": "Paris."}
    for name, first in (("talk", 1), ("line", 0)):  # a conversation begins with a special token
        assert chosen[name].n_tokens == len(ids[name])
        places = sorted(chosen[name].places, key=lambda place: place.position)
        assert [place.position for place in places] == list(range(first + 5, len(ids[name])))
        for place in places:
            if place.role is None:
                assert (place.before + place.token + place.after) in LINE
            elif place.role != "special":
                assert place.token.strip() in said[place.role]
    roles = [place.role for place in sorted(chosen["talk"].places, key=lambda place: place.position)]
    assert roles.count("user") == len(tokenizer(said["user"])["input_ids"])
    assert roles.count("assistant") == len(tokenizer(said["assistant"])["input_ids"])
    wanted = ActivationRequest(
        sequences=tuple(
            replace(each, places=tuple(place.position for place in chosen[each.id].places[:4]))
            for each in sources[:2]
        ),
        out=tmp_path / "placed",
        placed=(POOLED[0],),
    )
    (answer,) = _ask(host, lambda engine: engine.activations(wanted))
    for each, came in zip(wanted.sequences, answer.sequences, strict=True):
        assert came.error is None
        found = _load(came.path)["placed"][:, 0]
        states = _hidden_states(model, ids[each.id])[8][list(each.places)]
        assert (found - states).abs().max() <= 1e-4 * max(1, states.abs().max())


def test_one_sequence_fails_alone_and_a_point_that_is_not_there_is_refused(host, tmp_path) -> None:
    asked = ActivationRequest(
        sequences=(
            SequenceInput(id="good", messages=CHAT, reply_ids=(100, 200)),
            SequenceInput(id="long", text="elephant " * CONTEXT_TOKENS),
            SequenceInput(id="empty", text=""),
            SequenceInput(id="other", messages=CHAT, reply_ids=(10**6,)),
            SequenceInput(id="text", text="no prompt"),
        ),
        out=tmp_path,
        pooled=POOLED,
        positions=Positions.parse("prompt[-1]"),
    )
    (answer,) = _ask(host, lambda engine: engine.activations(asked))
    good, *others = answer.sequences
    assert good.error is None
    assert _load(good.path)["pooled"].shape == (2, WIDTH)
    assert [(each.error.kind, each.path) for each in others] == [
        ("ContextOverflow", None),
        ("UsageError", None),
        ("UsageError", None),
        ("UsageError", None),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["good.safetensors"]
    nowhere = replace(asked, pooled=(Point(30, Component.Q),))
    with pytest.raises(UsageError, match="LlamaForCausalLM has 30 blocks"):
        _ask(host, lambda engine: engine.activations(nowhere))


def test_completions_and_activations_take_turns_and_each_gets_its_own_answer(host, tmp_path) -> None:
    asked = [
        ActivationRequest(
            sequences=(SequenceInput(id=f"s{n}", text=LINE),), out=tmp_path, raw=(Point(n, Component.V),)
        )
        for n in range(3)
    ]
    answers = _ask(
        host,
        *(lambda engine, each=each: engine.activations(each) for each in asked),
        *(lambda engine: engine.complete(_question()) for _ in range(3)),
    )
    for n, answer in enumerate(answers[:3]):
        assert f"raw.{n}.v" in _load(answer.sequences[0].path)
    assert all("Paris" in completion.text for completion in answers[3:])


def test_a_host_that_dies_while_it_computes_is_unavailable_and_comes_back(host, tmp_path) -> None:
    asked = ActivationRequest(
        sequences=tuple(SequenceInput(id=f"s{n}", text=LINE * 8) for n in range(12)),
        out=tmp_path,
        raw=(Point(29, Component.RESIDUAL_OUT),),
        batch_tokens=1,  # a sequence at a time, so that there is something left to do
    )

    async def killed():
        async with _engine(host) as engine:
            under_way = asyncio.ensure_future(engine.activations(asked))
            while not any(tmp_path.glob("s*.safetensors")):  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.02)
            os.kill(host.state.pid, signal.SIGKILL)
            with pytest.raises(EngineUnavailable):
                await under_way
            left = list(tmp_path.glob("s*.safetensors"))
            assert all(_load(path)["raw.29.residual_out"].shape[1] == WIDTH for path in left)  # each is whole
            assert len(left) < 12
            await engine.recover()
            return await engine.activations(replace(asked, sequences=asked.sequences[-2:]))

    answer = asyncio.run(killed())
    assert [each.error for each in answer.sequences] == [None, None]
    assert all(each.path.exists() for each in answer.sequences)
