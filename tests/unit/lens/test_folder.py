"""A fitted lens is a folder that says what it is, to whom it belongs and what it was made from."""

import os
from pathlib import Path

import pytest

from overnight.errors import StoreError, UsageError
from overnight.ids import digest
from overnight.lens.folder import (
    LENS_FILE,
    LensDescription,
    find_folder,
    lens_identity,
    read_lens,
    with_named_datasets,
    write_lens,
)
from overnight.planning.identity import weights_identity
from overnight.spec.dataset import DatasetSpec
from overnight.spec.lens import LensSpec
from overnight.spec.model import ModelSpec

MODEL = ModelSpec.model_validate(
    {
        "name": "tiny",
        "engine": "transformers",
        "source": "/nowhere/tiny",
        "sha256": "a" * 64,
        "family": "f",
        "params_billion": 0.1,
        "quantization": "fp32",
        "context_tokens": 128,
    }
)
TEXTS = DatasetSpec.model_validate({"name": "texts", "path": "/nowhere/texts.txt", "sha256": "b" * 64})
LENS = LensSpec.model_validate({"name": "l", "layer": 3, "fit": {"datasets": [TEXTS.model_dump()]}})
DESCRIPTION = LensDescription(
    lens=with_named_datasets(LENS),
    model="tiny",
    model_digest=digest(weights_identity(MODEL)),
    width=16,
    data_digest="c" * 64,
    fit={"steps": 3, "held_out_loss": 2.5, "ridge": None},
)


def test_what_is_written_of_a_lens_is_read_and_names_no_place_on_this_machine(tmp_path: Path) -> None:
    write_lens(tmp_path, DESCRIPTION)
    assert read_lens(tmp_path) == DESCRIPTION
    assert read_lens(tmp_path).layer == 3
    assert "/nowhere" not in (tmp_path / LENS_FILE).read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema_version: '9'\n", "schema_version"),
        ("schema_version: '1'\nlens: {name: x}\n", "path and fit"),
        ("[]", "mapping"),
        ("schema_version: '1'\nlens: {name: l, layer: 3, fit: {datasets: [t]}}\n", "'model' is missing"),
    ],
)
def test_what_describes_no_lens_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / LENS_FILE).write_text(text)
    with pytest.raises(StoreError, match=said) as error:
        read_lens(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_lens_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fit-lens"):
        read_lens(tmp_path)


def test_a_folder_of_lenses_means_its_youngest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no fitted lens"):
        find_folder(tmp_path)
    for n, name in enumerate(("old", "new", "older")):
        write_lens(tmp_path / name, DESCRIPTION)
        seconds = 1_000_000 + (5, 9, 1)[n]
        os.utime(tmp_path / name / LENS_FILE, (seconds, seconds))
    assert find_folder(tmp_path) == tmp_path / "new"
    assert find_folder(tmp_path / "old") == tmp_path / "old"


def test_a_lens_belongs_to_the_weights_that_it_was_fitted_to() -> None:
    DESCRIPTION.require_model(MODEL.model_copy(update={"name": "another-name"}), Path("lens"))
    for changed in ({"sha256": "d" * 64}, {"quantization": "bf16"}):
        with pytest.raises(UsageError, match="fitted to 'tiny'"):
            DESCRIPTION.require_model(MODEL.model_copy(update=changed), Path("lens"))


def test_two_lenses_are_one_where_all_that_they_are_made_from_is_the_same() -> None:
    known = lens_identity(LENS, MODEL, [TEXTS])
    moved = TEXTS.model_copy(update={"path": Path("/elsewhere/texts.txt"), "description": "the same texts"})
    assert LENS.fit is not None
    named = LENS.model_copy(update={"name": "m", "fit": LENS.fit.model_copy(update={"datasets": ("texts",)})})
    assert lens_identity(named, MODEL.model_copy(update={"name": "m"}), [moved]) == known
    others = [
        lens_identity(LENS.model_copy(update={"layer": 4}), MODEL, [TEXTS]),
        lens_identity(LENS.model_copy(update={"text_tokens": 8}), MODEL, [TEXTS]),
        lens_identity(
            LENS.model_copy(update={"fit": LENS.fit.model_copy(update={"seed": 1})}), MODEL, [TEXTS]
        ),
        lens_identity(LENS, MODEL.model_copy(update={"sha256": "d" * 64}), [TEXTS]),
        lens_identity(LENS, MODEL.model_copy(update={"quantization": "bf16"}), [TEXTS]),
        lens_identity(LENS, MODEL, [TEXTS.model_copy(update={"sha256": "d" * 64})]),
        lens_identity(LENS, MODEL, [TEXTS.model_copy(update={"max_items": 5})]),
    ]
    assert len({digest(each) for each in [known, *others]}) == len(others) + 1
