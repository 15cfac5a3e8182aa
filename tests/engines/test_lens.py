"""Both kinds of lens on a tiny model with random weights: what they say of themselves is what they do."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from overnight.activations.architecture import Architecture  # noqa: E402
from overnight.errors import StoreError, UsageError  # noqa: E402
from overnight.lens.adapter import Adapter  # noqa: E402
from overnight.lens.folder import ADAPTER, WEIGHTS_FILE, LensDescription, read_lens  # noqa: E402
from overnight.lens.loading import FittedLens, load_lens, save_lens  # noqa: E402
from overnight.lens.patched import Patched  # noqa: E402
from overnight.lens.reading_out import ReadingOut, TextStates  # noqa: E402
from overnight.lens.soft_prompt import SoftPrompt  # noqa: E402
from overnight.spec.lens import LensSpec, PatchedDecoder  # noqa: E402
from tests.engines import tiny_decoders  # noqa: E402
from tests.engines.tiny_decoders import N_LAYERS, WIDTH  # noqa: E402

LAYER = 2
SOFT_TOKENS = 3
CPU = torch.device("cpu")
TEXTS = [" the cat saw", " a big red house and a tree", " it", " the dog ran far in the city"]
PATCHED = PatchedDecoder(prompt="the cat is a X:", placeholder="X", layer=1)


@pytest.fixture
def model():
    return tiny_decoders.model()


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_decoders.tokenizer()


@pytest.fixture(scope="module")
def vectors():
    return torch.randn((5, WIDTH), generator=torch.Generator().manual_seed(1))


def _encoder(model, tokenizer):
    draw = torch.Generator().manual_seed(2)
    states = TextStates(model, Architecture(model), tokenizer, LAYER)
    return ReadingOut(
        states,
        torch.randn((WIDTH, WIDTH), generator=draw),
        torch.randn(WIDTH, generator=draw),
        torch.randn(WIDTH, generator=draw),
    )


def _soft_prompt(model, *, rank: int):
    draw = torch.Generator().manual_seed(4)
    adapter = Adapter.new(model, rank) if rank else None
    if adapter is not None:
        for weights in adapter.weights().values():  # one that changes something
            weights.data += torch.randn(weights.shape, generator=draw)
    return SoftPrompt(
        model,
        torch.randn((SOFT_TOKENS, WIDTH, WIDTH), generator=draw),
        torch.randn((SOFT_TOKENS, WIDTH), generator=draw),
        torch.randn(WIDTH, generator=draw),
        torch.rand(WIDTH, generator=draw) + 0.5,
        adapter,
    )


def _lens(model, tokenizer, kind: str) -> FittedLens:
    encoder = _encoder(model, tokenizer)
    if kind == "patched":
        return FittedLens(Patched(model, Architecture(model), tokenizer, PATCHED), encoder)
    return FittedLens(_soft_prompt(model, rank=2 if kind == "lora" else 0), encoder)


def _description(kind: str) -> LensDescription:
    soft_prompt = {"kind": "soft_prompt", "lora_rank": 2 if kind == "lora" else 0}
    decoder = PATCHED if kind == "patched" else soft_prompt
    lens = LensSpec.model_validate(
        {"name": "tiny", "layer": LAYER, "decoder": decoder, "fit": {"datasets": ["texts"]}}
    )
    return LensDescription(
        lens=lens, model="tiny", model_digest="0" * 64, width=WIDTH, data_digest="1" * 64, fit={"steps": 7}
    )


def _logits(lens, vectors, then=(5, 9)):
    """Return what follows each vector, and what follows two tokens that are drawn behind it."""
    with lens.decoding(), torch.inference_mode():
        prefilled = lens.prefill(vectors)
        model = lens.encoder._states._pass._model
        ids = torch.tensor([then] * len(vectors))
        behind = model(input_ids=ids, past_key_values=prefilled.cache, use_cache=True).logits
    assert prefilled.cache.get_seq_length() == prefilled.n_tokens + len(then)
    return torch.cat([prefilled.logits[:, None], behind], dim=1)


def _alone(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids]), output_hidden_states=True)


@pytest.mark.parametrize("kind", ["plain", "lora", "patched"])
def test_what_is_saved_and_loaded_says_and_encodes_the_same(model, tokenizer, vectors, kind, tmp_path):
    lens = _lens(model, tokenizer, kind)
    save_lens(tmp_path, lens, _description(kind))
    assert read_lens(tmp_path) == _description(kind)
    again = tiny_decoders.model()
    loaded = load_lens(tmp_path, again, tokenizer, CPU)
    assert loaded.width == lens.width == WIDTH
    assert torch.equal(_logits(loaded, vectors), _logits(lens, vectors))
    ids = loaded.tokens(TEXTS)
    assert torch.equal(loaded.encode(ids), lens.encode(ids))


def test_the_model_is_untouched_outside_decoding(model, tokenizer, vectors):
    plain = tiny_decoders.model()
    names = [(name, type(module)) for name, module in plain.named_modules()]
    lens = _lens(model, tokenizer, "lora")
    ids = list(range(3, 12))
    with lens.decoding():
        assert not torch.allclose(_alone(model, ids).logits, _alone(plain, ids).logits)
        lens.prefill(vectors)
    assert [(name, type(module)) for name, module in model.named_modules()] == names
    assert torch.equal(_alone(model, ids).logits, _alone(plain, ids).logits)
    assert all(each.requires_grad for each in model.parameters())
    with pytest.raises(KeyError), lens.decoding():
        raise KeyError
    assert torch.equal(_alone(model, ids).logits, _alone(plain, ids).logits)


def test_two_adapters_of_one_model_do_not_mix(model, tokenizer, vectors):
    one, other = (_lens(model, tokenizer, "lora") for _ in range(2))
    before = _logits(one, vectors)
    for weights in other.decoder.adapter.weights().values():
        weights.data.mul_(3)
    assert not torch.allclose(_logits(other, vectors), before)
    assert torch.equal(_logits(one, vectors), before)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's own
def test_an_adapter_is_what_peft_makes_of_its_files(model, tokenizer, tmp_path):
    # peft itself reads what was written, and computes what ours does.
    lens = _lens(model, tokenizer, "lora")
    save_lens(tmp_path, lens, _description("lora"))
    ids = list(range(3, 12))
    with lens.decoding():
        ours = _alone(model, ids).logits
    theirs = peft.PeftModel.from_pretrained(tiny_decoders.model(), str(tmp_path / ADAPTER)).eval()
    with torch.inference_mode():
        assert torch.equal(theirs(torch.tensor([ids])).logits, ours)


def test_soft_tokens_are_an_affine_map_of_the_standardised_vector(model, vectors):
    decoder = _soft_prompt(model, rank=0)
    kept = decoder.tensors()
    standard = (vectors - kept["decoder.centre"]) / kept["decoder.spread"]
    expected = torch.stack(
        [
            torch.stack(
                [w @ z + b for w, b in zip(kept["decoder.weight"], kept["decoder.bias"], strict=True)]
            )
            for z in standard
        ]
    )
    assert torch.allclose(decoder.soft_tokens(vectors), expected, atol=1e-5)
    # What the model says behind them is what it says behind embeddings like these.
    with torch.inference_mode():
        logits = model(inputs_embeds=decoder.soft_tokens(vectors)).logits[:, -1]
    assert torch.allclose(decoder.prefill(vectors).logits, logits, atol=1e-6)


def test_a_text_is_encoded_from_the_state_that_its_last_token_leaves_a_layer_with(model, tokenizer):
    lens = _lens(model, tokenizer, "plain")
    kept = lens.encoder.tensors()
    for text, ids in zip(TEXTS, lens.tokens(TEXTS), strict=True):
        state = _alone(model, tokenizer(text)["input_ids"]).hidden_states[LAYER + 1][0, -1]
        expected = kept["encoder.weight"] @ state + kept["encoder.bias"]
        assert torch.allclose(lens.encode([ids])[0], expected, atol=1e-5)


def test_a_text_is_encoded_alike_whatever_is_in_its_batch(model, tokenizer):
    lens = _lens(model, tokenizer, "plain")
    ids = lens.tokens(TEXTS)
    together = lens.encode(ids)
    assert torch.allclose(together, torch.cat([lens.encode([each]) for each in ids]), atol=1e-5)
    assert torch.allclose(
        together[[2, 0, 3, 1]], lens.encode([ids[place] for place in (2, 0, 3, 1)]), atol=1e-5
    )


def test_a_text_without_tokens_is_the_vector_of_no_text(model, tokenizer):
    lens = _lens(model, tokenizer, "plain")
    (some,) = lens.tokens(TEXTS[:1])
    found = lens.encode([[], some, []])
    assert torch.equal(found[0], lens.encoder.tensors()["encoder.mean"])
    assert torch.equal(found[0], found[2])
    assert torch.allclose(found[1:2], lens.encode([some]), atol=1e-5)
    assert lens.encode([[]]).shape == (1, WIDTH)


def test_the_token_that_begins_every_text_is_read_and_is_none_of_the_text(model):
    begins = tiny_decoders.tokenizer(begins=True)
    lens = _lens(model, begins, "plain")
    (ids,) = lens.tokens(TEXTS[:1])
    assert begins(TEXTS[0])["input_ids"] == [0, *ids]
    state = _alone(model, [0, *ids]).hidden_states[LAYER + 1][0, -1]
    kept = lens.encoder.tensors()
    expected = kept["encoder.weight"] @ state + kept["encoder.bias"]
    assert torch.allclose(lens.encode([ids])[0], expected, atol=1e-5)


def test_a_patched_vector_that_stood_there_anyway_changes_nothing(model, tokenizer):
    decoder = Patched(model, Architecture(model), tokenizer, PATCHED)
    ids = tokenizer(PATCHED.prompt)["input_ids"]
    plain = _alone(model, ids)
    place = [tokenizer.decode([each]).strip() for each in ids].index("X")
    stood = plain.hidden_states[PATCHED.layer + 1][:, place]
    assert torch.allclose(decoder.prefill(stood).logits, plain.logits[:, -1], atol=1e-5)
    assert not torch.allclose(decoder.prefill(stood + 1).logits, plain.logits[:, -1], atol=1e-2)
    assert torch.equal(_alone(model, ids).logits, plain.logits)  # no hook stays behind


def test_a_vector_reaches_nothing_before_its_placeholder(model, tokenizer, vectors):
    decoder = Patched(model, Architecture(model), tokenizer, PATCHED)
    place = decoder._place
    keys = [layer.keys for layer in decoder.prefill(vectors).cache.layers]
    for n, layer in enumerate(keys):
        assert torch.allclose(layer[:, :, :place], layer[:1, :, :place], atol=1e-6)
        # What is patched behind layer l is read from layer l + 1 on.
        is_read = n > PATCHED.layer
        assert torch.allclose(layer[:, :, place], layer[:1, :, place], atol=1e-6) != is_read


def test_a_layer_or_a_placeholder_that_is_not_there_is_refused(model, tokenizer):
    architecture = Architecture(model)
    with pytest.raises(UsageError, match=f"has {N_LAYERS} blocks"):
        Patched(model, architecture, tokenizer, PATCHED.model_copy(update={"layer": N_LAYERS}))
    with pytest.raises(UsageError, match=f"has {N_LAYERS} blocks"):
        TextStates(model, architecture, tokenizer, N_LAYERS)


def test_a_damaged_folder_is_said_to_be(model, tokenizer, tmp_path: Path):
    save_lens(tmp_path, _lens(model, tokenizer, "lora"), _description("lora"))
    weights = tmp_path / WEIGHTS_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(StoreError, match=WEIGHTS_FILE):
        load_lens(tmp_path, model, tokenizer, CPU)
    weights.write_bytes(whole)
    (tmp_path / ADAPTER / "adapter_model.safetensors").unlink()
    with pytest.raises(StoreError, match=ADAPTER):
        load_lens(tmp_path, model, tokenizer, CPU)
