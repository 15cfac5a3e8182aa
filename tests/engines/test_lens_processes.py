"""Vectors in words and words in vectors by processes of their own: the same from one of them as from several."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import psutil  # noqa: E402
import safetensors.torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from overnight.activations.architecture import Architecture  # noqa: E402
from overnight.engines.holding import connect_all, hold  # noqa: E402
from overnight.errors import EngineCrashed, EngineUnavailable, GpuUnusable, OutOfMemory  # noqa: E402
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


def _execution(n_processes: int, device: str = "cpu") -> Execution:
    return Execution.model_validate(
        {
            "num_processes": n_processes,
            "engine": {"threads": n_processes, "transformers": {"device": device}, "startup_timeout_s": 300},
        }
    )


async def _work(engine, chunk: VerbaliseRequest, out: Path):
    said = await engine.verbalise(chunk)
    request = ReconstructRequest(lens=chunk.lens, out=out, texts=tuple(_texts(said.draws)), rows=4)
    await engine.reconstruct(request)
    return list(said.draws), load_file(out)["vectors"]


async def _shared(model, execution, folder: Path, chunks):
    """Return what the processes of a host make of the chunks, which they share."""
    engines = connect_all(model, execution, folder)

    async def share(rank: int):
        mine = range(rank, len(chunks), len(engines))
        return {place: await _work(engines[rank], chunks[place], folder / f"{place}") for place in mine}

    try:
        found = {}
        for each in await asyncio.gather(*map(share, range(len(engines)))):
            found |= each
        return [found[place] for place in range(len(chunks))]
    finally:
        for engine in engines:
            await engine.close()


def _held(weights, n_processes: int, folder: Path):
    model, execution = _model(weights), _execution(n_processes)
    return model, execution, hold(model, weights, 64, execution, folder)


@pytest.fixture(scope="module")
def from_one(weights, chunks, tmp_path_factory):
    """Return what one process of one thread makes of the chunks."""
    folder = tmp_path_factory.mktemp("one")
    model, execution, holder = _held(weights, 1, folder)
    with holder as host:
        host.start()
        assert host.state.urls == (host.state.url,)
        return asyncio.run(_shared(model, execution, folder, chunks))


def _require_same(found, from_one) -> None:
    """Check that all is the same to the last bit: each chunk is computed by one process, of as many threads."""
    for (said, vectors), (said_by_one, vectors_of_one) in zip(found, from_one, strict=True):
        assert said == said_by_one
        assert torch.equal(vectors, vectors_of_one)


def test_a_process_says_and_encodes_what_the_lens_does(from_one, expected) -> None:
    for (said, vectors), wanted, of_texts in zip(from_one, *expected, strict=True):
        assert _ids(said) == _ids(wanted)
        assert torch.allclose(vectors, of_texts, atol=1e-4)


def _ids(draws) -> list[list[tuple[int, ...]]]:
    return [[draw.token_ids for draw in of_vector] for of_vector in draws]


def test_two_processes_say_the_same_and_one_that_is_killed_takes_the_other_down(
    weights, chunks, from_one, tmp_path
) -> None:
    model, execution, holder = _held(weights, 2, tmp_path)

    async def ask_on():
        first, _ = connect_all(model, execution, tmp_path)
        try:
            while True:
                await first.verbalise(chunks[0])
        except EngineUnavailable:
            await first.recover()
        finally:
            await first.close()

    with holder as host:
        host.start()
        assert len(set(host.state.urls)) == 2
        assert host.state.urls[0] == host.state.url
        _require_same(asyncio.run(_shared(model, execution, tmp_path, chunks)), from_one)
        processes = _tree(host.state.pid)
        assert len(processes) == 3
        killed = next(each for each in processes if each.environ().get("RANK") == "1")
        timer = threading.Timer(0.3, killed.kill)
        timer.start()
        with pytest.raises(
            (EngineCrashed, OutOfMemory)
        ) as error:  # out of memory: on a machine that has none left
            asyncio.run(ask_on())
        assert _gone(processes)
    said = str(error.value)
    assert "process 1 of 2 (counted from 0) died of SIGKILL" in said or isinstance(error.value, OutOfMemory)
    assert str(tmp_path / "tiny.log") in said


_HOLDER = """
import sys, time
from pathlib import Path
from tests.engines.test_lens_processes import _held
_, _, holder = _held(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
with holder as host:
    host.start()
    print(host.state.pid, flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def _held_elsewhere(weights, n_processes: int, folder: Path):
    """Yield a process that holds a group, and the group with all that it has started."""
    arguments = [str(weights), str(n_processes), str(folder)]
    parent = subprocess.Popen([sys.executable, "-c", _HOLDER, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        processes = _tree(int(parent.stdout.readline()))
        assert len(processes) == 1 + n_processes
        yield parent, processes
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@pytest.mark.slow
def test_three_processes_say_the_same_and_none_is_left_when_their_parent_is_killed(
    weights, chunks, from_one, tmp_path
) -> None:
    with _held_elsewhere(weights, 3, tmp_path) as (parent, processes):
        found = asyncio.run(_shared(_model(weights), _execution(3), tmp_path, chunks))
        _require_same(found, from_one)
        parent.kill()
        assert _gone(processes)


@pytest.mark.slow
def test_no_process_is_left_when_what_started_them_is_killed(weights, tmp_path) -> None:
    with _held_elsewhere(weights, 2, tmp_path) as (_, processes):
        processes[0].kill()
        assert _gone(processes)


@pytest.mark.slow
def test_a_process_that_cannot_load_says_why(weights, tmp_path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(weights, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    _, _, holder = _held(broken, 2, tmp_path)
    with (
        holder as host,
        pytest.raises(EngineCrashed, match=r"process \d of 2 .* exit code 1; the last it said: "),
    ):
        host.start()


@pytest.mark.slow
def test_processes_without_a_gpu_that_was_asked_for_are_refused(weights, tmp_path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    model = _model(weights)
    execution = _execution(2, device="cuda")
    with (
        hold(model, weights, 64, execution, tmp_path) as host,
        pytest.raises(GpuUnusable, match="asks for a GPU"),
    ):
        host.start()


def _tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
