"""A lens is fitted in a process of its own, found again, and gone on with where that process was killed."""

import random
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from overnight.errors import EngineError, StopRequested, UsageError
from overnight.ids import digest, file_digest
from overnight.lens.folder import read_lens
from overnight.planning.identity import weights_identity
from overnight.runs.lens_fits import LensFitted, fit_lens, fitted_lens
from overnight.runs.resolving import lens_to_fit
from overnight.spec.config_root import ConfigRoot
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.lens import LensSpec
from overnight.spec.model import EngineKind, ModelSpec
from tests.engines import tiny_decoders

SETTINGS = EngineSettings.model_validate({"threads": 1, "transformers": {"device": "cpu"}})
EXECUTION = Execution(engine=SETTINGS)
FIT = {"datasets": ["texts"], "positions": {"per_sequence": 6, "min_pos": 2}, "held_out": 0.2}
TRAINING = {"steps": 12, "batch_size": 8, "measure_every": 4, "learning_rate": 3e-3}
SOFT_PROMPT = {"kind": "soft_prompt", "soft_tokens": 2, "lora_rank": 2}
PATCHED = {"kind": "patched", "prompt": "the cat is a X:", "layer": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> ConfigRoot:
    """Return a folder with a model with random weights and texts of the words that it knows."""
    folder = tmp_path_factory.mktemp("config")
    tiny_decoders.save(folder / "models" / "tiny")
    draw = random.Random(5)
    words = [word for word in tiny_decoders.WORDS if word.isalpha()]
    texts = [" ".join(draw.choices(words, k=draw.randint(8, 20))) for _ in range(40)]
    (folder / "datasets").mkdir()
    (folder / "datasets" / "texts.txt").write_text("\n\n".join(texts) + "\n")
    (folder / "datasets" / "texts.yaml").write_text("{format: texts, path: texts.txt}")
    (folder / "models" / "tiny.yaml").write_text(
        "{engine: transformers, source: tiny, family: llama, params_billion: 0.001, quantization: fp32, "
        "context_tokens: 128}"
    )
    return ConfigRoot(folder)


def _resolved(root: ConfigRoot, decoder: dict, **fit) -> tuple[LensSpec, ModelSpec]:
    lens = {"name": "l", "layer": 2, "text_tokens": 4, "decoder": decoder, "fit": FIT | fit}
    return lens_to_fit(LensSpec.model_validate(lens), "tiny", root, SETTINGS)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in files}


def _kill_the_process() -> None:
    (process,) = (
        child
        for child in psutil.Process().children(recursive=True)
        if "overnight.lens.fitting" in child.cmdline()
    )
    process.kill()


@pytest.fixture(scope="module")
def soft_prompt(root: ConfigRoot, tmp_path_factory) -> tuple[LensFitted, list[dict]]:
    """Return a lens that nobody interrupted, and what was told meanwhile."""
    told: list[dict] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERNIGHT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        lens, model = _resolved(root, SOFT_PROMPT, **TRAINING)
        found = fit_lens(lens, model, EXECUTION, on_progress=told.append)
        assert not found.was_cached
        again = fit_lens(lens, model, EXECUTION, should_stop=lambda: True)  # asks for no process
        assert (again.was_cached, again.folder) == (True, found.folder)
        assert fitted_lens(lens, model) == found.folder
    return found, told


def test_a_lens_says_what_it_is_and_what_it_recovers(soft_prompt, root: ConfigRoot) -> None:
    found, told = soft_prompt
    described = read_lens(found.folder)
    _, model = _resolved(root, SOFT_PROMPT, **TRAINING)
    assert described == found.described
    assert described.model_digest == digest(weights_identity(model))
    assert described.lens.fit is not None
    assert described.lens.fit.datasets == ("texts",)
    facts = described.fit
    assert facts["n_vectors"] > facts["n_held_out_vectors"] > 0
    assert facts["held_out_loss"] < facts["first_held_out_loss"]
    # What stood there says more of a state than what is said of it, and the best of several texts more than one.
    assert facts["held_out_fve_of_true_texts"] > facts["held_out_fve"]["1"]
    assert facts["held_out_fve"]["8"] > facts["held_out_fve"]["1"]
    measured = [each for each in told if "step" in each]
    assert [each["step"] for each in measured] == [0, 4, 8, 12]
    assert {"vectors", "drawing"} <= {each.get("stage") for each in told}
    assert all(each["seconds"] >= 0 for each in told)


def test_the_curve_of_the_losses_is_kept_and_drawn(soft_prompt) -> None:
    folder = soft_prompt[0].folder
    lines = (folder / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,loss,held_out_loss"
    assert [line.partition(",")[0] for line in lines[1:]] == ["0", "4", "8", "12"]
    assert (folder / "losses.png").read_bytes()[:4] == b"\x89PNG"


def test_a_fit_that_was_killed_comes_to_the_same_files(soft_prompt, root: ConfigRoot) -> None:
    lens, model = _resolved(root, SOFT_PROMPT, **TRAINING)

    def kill(message: dict) -> None:
        if message.get("step") == 8:
            _kill_the_process()

    with pytest.raises(EngineError):
        fit_lens(lens, model, EXECUTION, on_progress=kill)
    with pytest.raises(UsageError, match="overnight fit-lens l --model tiny"):
        fitted_lens(lens, model)
    told: list[dict] = []
    again = fit_lens(lens, model, EXECUTION, on_progress=told.append)
    assert {each["step"] for each in told if "step" in each} <= {8, 12}  # not from the beginning
    assert _digests(again.folder) == _digests(soft_prompt[0].folder)


def test_a_fit_that_was_asked_to_stop_leaves_no_lens_and_no_process(root: ConfigRoot) -> None:
    lens, model = _resolved(root, PATCHED)
    with pytest.raises(StopRequested, match="goes on from here"):
        fit_lens(lens, model, EXECUTION, should_stop=lambda: True)
    assert not any("overnight.lens.fitting" in each.cmdline() for each in psutil.Process().children())
    found = fit_lens(lens, model, EXECUTION)
    assert "steps" not in found.described.fit
    assert found.described.fit["held_out_fve"]["8"] > found.described.fit["held_out_fve"]["1"]
    assert not (found.folder / "losses.csv").exists()


def test_what_cannot_be_fitted_is_said_before_or_by_the_process(root: ConfigRoot) -> None:
    lens, model = _resolved(root, SOFT_PROMPT, **TRAINING)
    with pytest.raises(UsageError, match="has 4 blocks"):
        fit_lens(lens.model_copy(update={"layer": 4}), model, EXECUTION)
    with pytest.raises(UsageError, match="engine llama_cpp"):
        fit_lens(lens, model.model_copy(update={"engine": EngineKind.LLAMA_CPP}), EXECUTION)
