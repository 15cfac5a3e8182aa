"""Vectors in words and words in vectors by processes of their own: the same from one of them as from several."""

import asyncio
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from overnight.activations.architecture import Architecture  # noqa: E402
from overnight.engines.holding import connect, hold  # noqa: E402
from overnight.lens.drawing import Drawer  # noqa: E402
from overnight.lens.fitting_rows import FittingRows  # noqa: E402
from overnight.lens.folder import LensDescription  # noqa: E402
from overnight.lens.loading import FittedLens, load_lens, save_lens  # noqa: E402
from overnight.lens.reading_out import ReadingOut, TextStates  # noqa: E402
from overnight.lens.request import ReconstructRequest, VerbaliseRequest  # noqa: E402
from overnight.lens.soft_prompt import SoftPrompt  # noqa: E402
from overnight.spec.execution import Execution  # noqa: E402
from overnight.spec.lens import LensSpec  # noqa: E402
from overnight.spec.model import ModelSpec  # noqa: E402
from tests.engines import tiny_decoders  # noqa: E402
from tests.engines.tiny_decoders import WIDTH  # noqa: E402

LAYER, N_CHUNKS, CHUNK, N_DRAWS, MOST_TOKENS = 2, 4, 3, 5, 6
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_decoders.save(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def lens(tmp_path_factory) -> Path:
    """Return the folder of a lens with random weights."""
    folder = tmp_path_factory.mktemp("lens")
    model, tokenizer = tiny_decoders.model(), tiny_decoders.tokenizer()
    draw = torch.Generator().manual_seed(4)

    def random(*shape):
        return torch.randn(shape, generator=draw)

    decoder = SoftPrompt(model, random(2, WIDTH, WIDTH), random(2, WIDTH), random(WIDTH), torch.ones(WIDTH))
    states = TextStates(model, Architecture(model), tokenizer, LAYER)
    spec = LensSpec.model_validate(
        {
            "name": "random",
            "layer": LAYER,
            "decoder": {"kind": "soft_prompt", "soft_tokens": 2, "lora_rank": 0},
            "fit": {"datasets": ["texts"]},
        }
    )
    described = LensDescription(
        lens=spec, model="tiny", model_digest="0" * 64, width=WIDTH, data_digest="0" * 64
    )
    encoder = ReadingOut(states, random(WIDTH, WIDTH), random(WIDTH), random(WIDTH))
    save_lens(folder, FittedLens(decoder, encoder), described)
    return folder


@pytest.fixture(scope="module")
def chunks(tmp_path_factory, lens) -> list[VerbaliseRequest]:
    """Return what is asked: the chunks of a trial."""
    folder = tmp_path_factory.mktemp("chunks")
    vectors = torch.randn((N_CHUNKS * CHUNK, WIDTH), generator=torch.Generator().manual_seed(8))
    requests = []
    for first in range(0, len(vectors), CHUNK):
        path = folder / f"{first}.safetensors"
        safetensors.torch.save_file({"vectors": vectors[first : first + CHUNK].contiguous()}, path)
        requests.append(
            VerbaliseRequest(
                lens=lens,
                vectors=path,
                keys=tuple(f"vector {first + place}" for place in range(CHUNK)),
                n_draws=N_DRAWS,
                temperature=1.0,
                top_p=0.95,
                top_k=0,
                max_new_tokens=MOST_TOKENS,
                seed=42,
                rows=8,
            )
        )
    return requests


@pytest.fixture(scope="module")
def expected(lens, chunks):
    """Return what the lens says of the chunks in this process, drawn one by one, and the vectors of the texts."""
    torch.set_num_threads(1)
    model, tokenizer = tiny_decoders.model(), tiny_decoders.tokenizer()
    held = load_lens(lens, model, tokenizer, CPU)
    drawer = Drawer(model, frozenset({1}), lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    said = [
        drawer.draw(held, load_file(chunk.vectors)["vectors"], chunk, FittingRows("drawn", CPU, list, most=1))
        for chunk in chunks
    ]
    return said, [held.encode(held.tokens(_texts(each))) for each in said]


def _texts(draws) -> list[str]:
    return [draw.text for of_vector in draws for draw in of_vector]


def _model(weights) -> ModelSpec:
    return ModelSpec(
        name="tiny",
        engine="transformers",
        source=str(weights),
        family="tiny",
        params_billion=0.001,
        quantization="fp32",
        context_tokens=128,
    )


def _execution(n_processes: int) -> Execution:
    return Execution.model_validate(
        {
            "num_processes": n_processes,
            "engine": {"threads": n_processes, "transformers": {"device": "cpu"}, "startup_timeout_s": 120},
        }
    )


async def _work(engine, chunk: VerbaliseRequest, out: Path):
    said = await engine.verbalise(chunk)
    request = ReconstructRequest(lens=chunk.lens, out=out, texts=tuple(_texts(said.draws)), rows=4)
    await engine.reconstruct(request)
    return list(said.draws), load_file(out)["vectors"]


def test_a_host_draws_and_encodes_what_the_lens_does(weights, chunks, expected, tmp_path) -> None:
    model, execution = _model(weights), _execution(1)

    async def work():
        engine = connect(model, execution, tmp_path)
        try:
            return [await _work(engine, chunk, tmp_path / "out") for chunk in chunks]
        finally:
            await engine.close()

    with hold(model, weights, 64, execution, tmp_path) as host:
        host.start()
        found = asyncio.run(work())
    assert [[[draw.text for draw in v] for v in said] for said, _ in found] == [
        [[draw.text for draw in v] for v in said] for said in expected[0]
    ]
    for (_, vectors), wanted in zip(found, expected[1], strict=True):
        assert torch.allclose(vectors, wanted, atol=1e-4)
