from pathlib import Path

import pytest

from overnight.errors import UsageError
from overnight.spec.config_root import ConfigRoot, shipped_config
from overnight.spec.reading import validate
from overnight.spec.text_model import TextModelKind, TextModelSpec

PLAIN = {"name": "m", "kind": "cross-encoder", "source": "m"}


def spec(**changes) -> TextModelSpec:
    return validate(TextModelSpec, PLAIN | changes, "m.yaml")


@pytest.mark.parametrize(
    ("source", "scheme"),
    [
        ("models/m", "path"),
        ("C:\\models\\m", "path"),
        ("pypi:package==1.0#folder/in/it", "pypi"),
        ("hf:owner/repo", "hf"),
        ("hf:owner/repo@" + "a" * 40, "hf"),
    ],
)
def test_a_source_is_a_folder_wherever_it_lies(source: str, scheme: str) -> None:
    assert spec(source=source).scheme == scheme


@pytest.mark.parametrize(
    "source",
    ["ollama:m", "openai:m", "pypi:package#folder", "pypi:package==1", "hf:repo", "hf:owner/repo/file.gguf"],
)
def test_a_source_that_is_no_folder_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(
        UsageError, match=r"m\.yaml: .*source '.*': wanted a path of a folder, pypi:"
    ) as caught:
        spec(source=source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "entailment", "labels": ["neutral", "contradiction"]}, "one of them entailment"),
        (
            {"kind": "entailment", "labels": ["entailment", "Entailment"]},
            "all different, one of them entailment",
        ),
        ({"kind": "entailment", "labels": ["entailment"]}, "wanted two or more"),
        (
            {"labels": ["entailment", "neutral"]},
            "labels: only for kind entailment, not cross-encoder; take them out",
        ),
        (
            {"kind": "reranker"},
            "kind: found 'reranker', wanted 'cross-encoder', 'sentence-embedding' or 'entailment'",
        ),
        ({"sha256": "abc"}, "sha256: found 'abc'"),
        ({"quantization": "int8"}, "unknown key 'quantization'"),
    ],
)
def test_what_no_model_can_be_is_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        spec(**changes)
    assert "\n" not in str(caught.value)


def test_weights_kind_and_labels_are_the_identity_and_a_name_or_a_device_is_not() -> None:
    one = spec(sha256="a" * 64)
    assert spec(sha256="a" * 64, name="other", device="cpu", license="MIT").identity == one.identity
    assert spec(sha256="b" * 64).identity != one.identity
    assert spec(sha256="a" * 64, kind="sentence-embedding").identity != one.identity
    labelled = [
        spec(sha256="a" * 64, kind="entailment", labels=labels)
        for labels in (["entailment", "not"], ["not", "entailment"])
    ]
    assert labelled[0].identity != labelled[1].identity


def test_a_text_model_is_found_by_name_and_a_relative_folder_starts_at_its_file(tmp_path: Path) -> None:
    (tmp_path / "text_models").mkdir()
    (tmp_path / "text_models" / "mine.yaml").write_text("kind: entailment\nsource: ../weights/mine\n")
    found = ConfigRoot(tmp_path).text_model("mine")
    assert found.name == "mine"
    assert found.source == str((tmp_path / "weights" / "mine").resolve())


def test_a_missing_text_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no all-minilm\.yaml; did you mean 'all-minilm-l6-v2'\?"):
        ConfigRoot(tmp_path).text_model("all-minilm")


def test_a_file_whose_name_is_not_the_one_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text_models").mkdir()
    (tmp_path / "text_models" / "mine.yaml").write_text("name: other\nkind: entailment\nsource: x\n")
    with pytest.raises(UsageError, match=r"mine\.yaml: name: found 'other', wanted 'mine'"):
        ConfigRoot(tmp_path).text_model("mine")


def test_one_of_each_kind_is_shipped() -> None:
    root = ConfigRoot(shipped_config())
    found = [root.text_model(name) for name in root.names("text_models")]
    assert {each.kind for each in found} == set(TextModelKind)
    # What a wheel holds cannot be known before it is downloaded; what the hub holds is pinned by its revision.
    assert all(each.sha256 or "@" in each.source for each in found)
