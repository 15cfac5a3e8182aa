"""What a sweep says of its lenses, and the lenses that it gets."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from overnight.errors import UsageError
from overnight.ids import digest
from overnight.lens.folder import LensDescription, with_named_datasets, write_lens
from overnight.planning.identity import weights_identity
from overnight.runs.resolving import resolve
from overnight.spec.best_of_k import BestOfKSpec
from overnight.spec.config_root import ConfigRoot
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec
from tests.unit.verbalising.made_up import MODEL

FIT = {"datasets": ["learned"]}


def fitted(folder: Path, *, model: dict[str, Any] = MODEL, texts: str = "learned") -> Path:
    """Write the folder of a lens of layer 3 that was fitted to a model and to some texts."""
    lens = LensSpec.model_validate(
        {"name": "soft", "layer": 3, "text_tokens": 9, "fit": {"datasets": [texts]}}
    )
    folder.mkdir(parents=True)
    write_lens(
        folder,
        LensDescription(
            lens=with_named_datasets(lens),
            model=model["name"],
            model_digest=digest(weights_identity(ModelSpec.model_validate(model))),
            width=16,
            data_digest="c" * 64,
        ),
    )
    return folder


@pytest.fixture
def root(tmp_path: Path) -> ConfigRoot:
    """Return a configuration with two files of texts."""
    folder = tmp_path / "config" / "datasets"
    folder.mkdir(parents=True)
    for name in ("texts", "learned"):
        (folder / f"{name}.yaml").write_text(f"{{format: prompts, path: {name}.txt}}")
        (folder / f"{name}.txt").write_text(f"What stands in {name}.\n")
    return ConfigRoot(tmp_path / "config")


def sweep(*lenses: Any, **experiment: Any) -> BestOfKSpec:
    plain = {"models": [MODEL], "lenses": list(lenses), "datasets": ["texts"]}
    return BestOfKSpec.model_validate({"name": "t", "experiment": plain | experiment})


def only_lens(spec: BestOfKSpec) -> LensSpec:
    (lens,) = spec.experiment.lenses
    assert isinstance(lens, LensSpec)
    return lens


def test_a_lens_of_a_folder_is_what_the_folder_says(root: ConfigRoot, tmp_path: Path) -> None:
    fitted(tmp_path / "lenses" / "one")
    lens = only_lens(resolve(sweep({"name": "mine", "path": str(tmp_path / "lenses")}), root))
    assert (lens.layer, lens.text_tokens, lens.decoder.kind) == (3, 9, "soft_prompt")
    assert lens.path == tmp_path / "lenses" / "one"


def test_a_resolved_sweep_comes_back_unchanged(root: ConfigRoot, tmp_path: Path) -> None:
    fitted(tmp_path / "one")
    fit_here = {"name": "other", "layer": 1, "fit": FIT}
    once = resolve(sweep({"name": "mine", "path": str(tmp_path / "one")}, fit_here), root)
    assert resolve(once, root) == once


def test_a_file_of_a_lens_names_its_folder_from_where_it_lies(root: ConfigRoot) -> None:
    (root.folder / "lenses").mkdir()
    (root.folder / "lenses" / "mine.yaml").write_text("{path: ../checkpoints}")
    fitted(root.folder / "checkpoints" / "step-100")
    lens = only_lens(resolve(sweep("mine"), root))
    assert lens.name == "mine"
    assert lens.path == root.folder / "checkpoints" / "step-100"


def test_numbers_of_a_folder_that_change_are_another_lens(root: ConfigRoot, tmp_path: Path) -> None:
    folder = fitted(tmp_path / "one")
    (folder / "lens.safetensors").write_bytes(b"numbers")
    before = only_lens(resolve(sweep({"name": "mine", "path": str(folder)}), root))
    (folder / "lens.safetensors").write_bytes(b"NUMBERS")
    after = only_lens(resolve(sweep({"name": "mine", "path": str(folder)}), root))
    assert before.sha256 != after.sha256


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ({"path": "nowhere"}, r"no fitted lens here; wanted a folder with lens\.yaml"),
        ({"path": "one", "layer": 4}, r"lens mine: layer: found 4, and .* is a lens of layer 3"),
        ({"path": "other"}, r"fitted to 'other', and 'tiny' has other weights"),
        ({"path": "leaks"}, r"lens mine: it learns from dataset texts, which the sweep measures it on"),
        ({"layer": 1, "fit": {"datasets": ["texts"]}}, r"it learns from dataset texts, which the sweep"),
        ({"layer": 1, "fit": {"datasets": ["texst"]}}, r"no texst\.yaml; did you mean 'texts'"),
    ],
)
def test_a_lens_that_cannot_be_used_is_refused_in_one_line(
    root: ConfigRoot, tmp_path: Path, lens: dict[str, Any], message: str
) -> None:
    fitted(tmp_path / "one")
    fitted(tmp_path / "leaks", texts="texts")
    fitted(tmp_path / "other", model=MODEL | {"name": "other", "sha256": "b" * 64})
    if "path" in lens:
        lens = lens | {"path": str(tmp_path / lens["path"])}
    with pytest.raises(UsageError, match=message) as refusal:
        resolve(sweep({"name": "mine"} | lens), root)
    assert "\n" not in str(refusal.value)


def test_the_same_texts_under_another_name_are_a_leak_as_well(root: ConfigRoot) -> None:
    datasets = root.folder / "datasets"
    shutil.copy(datasets / "learned.txt", datasets / "again.txt")
    (datasets / "again.yaml").write_text("{format: prompts, path: again.txt}")
    with pytest.raises(UsageError, match="it learns from dataset again"):
        resolve(sweep({"name": "mine", "layer": 1, "fit": FIT}, datasets=["again"]), root)
