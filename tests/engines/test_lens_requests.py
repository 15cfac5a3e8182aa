"""What is asked of a host about vectors and texts, over HTTP; with a small decoder and a lens of random weights."""

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from overnight.engines.state import EngineState, write_state  # noqa: E402
from overnight.engines.transformers.client import TransformersEngine  # noqa: E402
from overnight.engines.transformers.decoding import Decoder  # noqa: E402
from overnight.engines.transformers.lenses import Lenses  # noqa: E402
from overnight.engines.transformers.loading import Loaded  # noqa: E402
from overnight.engines.transformers.scheduling import Scheduler  # noqa: E402
from overnight.engines.transformers.serving import LoopbackServer  # noqa: E402
from overnight.errors import BadResponse, UsageError  # noqa: E402
from overnight.lens.drawing import Drawer  # noqa: E402
from overnight.lens.fitting_rows import FittingRows  # noqa: E402
from overnight.lens.request import ReconstructRequest, VerbaliseRequest  # noqa: E402
from overnight.processes import free_port  # noqa: E402
from tests.engines.plain_decoders import FAMILIES, WIDTH  # noqa: E402
from tests.engines.plain_lens import PlainLens, written  # noqa: E402

EOS = frozenset({2, 5})
CPU = torch.device("cpu")
KEYS = ("a", "b", "c")


class _Asked:
    """A client of a served decoder, and what its lens was loaded from."""

    def __init__(self, folder: Path) -> None:
        self.model = FAMILIES["llama"].model()
        self.loads: list[Path] = []
        self._folder = folder
        decoder = Decoder(self.model, EOS, written, share_prefixes=False)
        self._scheduler = Scheduler(decoder, CPU, budget=100)
        loaded = Loaded(model=self.model, tokenizer=None, device=CPU, dtype=torch.float32, eos_ids=EOS)
        self._lenses = Lenses(
            loaded, written, self._scheduler, decoder.forget, contextlib.nullcontext, self._load
        )

    def _load(self, folder: Path) -> PlainLens:
        self.loads.append(folder)
        return PlainLens(self.model)

    def ask(self, *calls):
        """Return what some calls of a client come to, one after the other."""
        threading.Thread(target=self._scheduler.run_forever, daemon=True).start()

        async def work():
            port = free_port()
            handlers = {
                "POST /verbalise": self._lenses.verbalise,
                "POST /reconstruct": self._lenses.reconstruct,
            }
            server = await LoopbackServer("token", handlers).start(port)
            state = self._folder / "state.json"
            write_state(state, EngineState(status="serving", url=f"http://127.0.0.1:{port}", token="token"))
            engine = TransformersEngine(state, timeout_s=60, startup_timeout_s=60)
            try:
                return [await call(engine) for call in calls]
            finally:
                await engine.close()
                server.close()

        return asyncio.run(work())


@pytest.fixture
def asked(tmp_path):
    torch.set_num_threads(1)
    return _Asked(tmp_path)


@pytest.fixture
def vectors(tmp_path):
    vectors = torch.randn((len(KEYS), WIDTH), generator=torch.Generator().manual_seed(8))
    safetensors.torch.save_file({"vectors": vectors}, tmp_path / "vectors.safetensors")
    return vectors


def _request(folder, **changes):
    fields = {
        "lens": folder / "lens",
        "vectors": folder / "vectors.safetensors",
        "keys": KEYS,
        "n_draws": 4,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": 5,
        "seed": 7,
        "rows": 8,
    }
    return VerbaliseRequest(**(fields | changes))


def test_vectors_are_said_in_words_and_words_are_made_vectors_by_one_lens(asked, vectors, tmp_path) -> None:
    request = _request(tmp_path)
    texts = ("4 5", "", "4 5", "6")
    answer, again, said, read = asked.ask(
        lambda engine: engine.verbalise(request),
        lambda engine: engine.verbalise(request),
        lambda engine: engine.reconstruct(
            ReconstructRequest(lens=request.lens, out=tmp_path / "of_texts", texts=texts, rows=2)
        ),
        lambda engine: engine.reconstruct(
            ReconstructRequest(
                lens=request.lens, out=tmp_path / "of_tokens", token_ids=((4, 5), (), (4, 5), (6,)), rows=2
            )
        ),
    )
    lens = PlainLens(asked.model)
    rows = FittingRows("drawn", CPU, lambda: None)
    assert list(answer.draws) == Drawer(asked.model, EOS, written).draw(lens, vectors, request, rows)
    assert again.draws == answer.draws
    assert (answer.rows, answer.halvings) == (8, 0)
    assert asked.loads == [request.lens.resolve()]
    assert (said.n_tokens, said.rows, said.halvings) == (read.n_tokens, 2, 0) == (3, 2, 0)
    expected = lens.encode([[4, 5], [], [4, 5], [6]])
    for name in ("of_texts", "of_tokens"):
        assert torch.allclose(safetensors.torch.load_file(tmp_path / name)["vectors"], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ("a", "b")}, r"holds \(3, 32\) numbers, wanted 2 vectors of 32"),
        ({"vectors": Path("nowhere")}, "nowhere: cannot be read as vectors"),
    ],
)
def test_vectors_of_another_request_are_refused_and_the_host_goes_on(
    asked, vectors, tmp_path, changes, message
) -> None:
    async def refused(engine):
        with pytest.raises(UsageError, match=message):
            await engine.verbalise(_request(tmp_path, **changes))

    _, answer = asked.ask(refused, lambda engine: engine.verbalise(_request(tmp_path)))
    assert len(answer.draws) == len(vectors)


def test_vectors_that_are_no_numbers_and_tokens_of_another_model_are_refused(
    asked, vectors, tmp_path
) -> None:
    safetensors.torch.save_file({"vectors": vectors / 0}, tmp_path / "vectors.safetensors")

    async def refused(engine):
        with pytest.raises(UsageError, match="not made of numbers"):
            await engine.verbalise(_request(tmp_path))
        wrong = ReconstructRequest(lens=tmp_path / "lens", out=tmp_path / "out", token_ids=((4, 64),))
        with pytest.raises(UsageError, match="no token 64 among 64"):
            await engine.reconstruct(wrong)
        with pytest.raises(BadResponse, match="KeyError: 'lens'"):
            await engine.post("/verbalise", {})

    asked.ask(refused)
    assert not (tmp_path / "out").exists()


def test_nothing_more_is_drawn_for_a_caller_who_left(asked, vectors, tmp_path) -> None:
    long = _request(tmp_path, n_draws=10_000_000, rows=1)

    async def leave(engine):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.verbalise(long), timeout=0.3)

    # It would take hours; the next request is answered as soon as the first one is given up.
    _, answer = asked.ask(leave, lambda engine: engine.verbalise(_request(tmp_path)))
    assert len(answer.draws) == len(vectors)
