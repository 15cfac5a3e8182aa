"""Directions are found once for what they depend on, and read as they were written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from overnight.errors import UsageError
from overnight.traits.directions import TraitDirections, directions_at, null_directions
from overnight.traits.methods import Method
from overnight.traits.validity import ValiditySettings, validate_trait
from overnight.vectors.states import Mode
from overnight.vectors.trait_vectors import FoundVectors, VectorKey, stored_vectors

POINTS = ("0.residual_out", "1.residual_out")
KEY = VectorKey(
    trait="calm",
    model_digest="a" * 64,
    held="bfloat16",
    points=POINTS,
    positions="mean",
    rendering="plain",
    kept="float32",
    data_digest="b" * 64,
    method="mean_difference",
    settings={"seed": 0, "n_folds": 3, "drop_massive": None},
)


class Finding:
    """Finds directions and counts how often it was asked to."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self) -> FoundVectors:
        self.n_calls += 1
        rng = np.random.default_rng(0)
        positive, negative = rng.standard_normal((9, 2, 6)) + 1, rng.standard_normal((9, 2, 6))
        positive[:, 0] = negative[:, 0] = 1.0
        options = {"is_paired": True, "method": Method.MEAN_DIFFERENCE, "seed": 0}
        validity = validate_trait(
            "calm",
            POINTS,
            positive,
            negative,
            is_paired=True,
            settings=ValiditySettings(n_permutations=5, n_random=5),
        )
        directions, undefined = directions_at(POINTS, positive, negative, **options)
        nulls = null_directions("calm", positive, negative, 3, **options)
        return FoundVectors(
            directions=TraitDirections(
                trait="calm", points=POINTS, directions=directions, chosen=validity.chosen, nulls=nulls
            ),
            validity=validity,
            undefined=undefined,
        )


def test_what_was_found_is_not_found_again(own_cache: Path) -> None:
    find = Finding()
    first, second = stored_vectors(KEY, find), stored_vectors(KEY, find)
    assert find.n_calls == 1
    assert (first.was_cached, second.was_cached) == (False, True)
    found = find()
    for stored in (first, second):
        assert np.array_equal(stored.directions.directions, found.directions.directions, equal_nan=True)
        assert np.array_equal(stored.directions.nulls, found.directions.nulls, equal_nan=True)
        assert stored.directions.points == POINTS
        assert stored.directions.chosen == POINTS[1]
        assert list(stored.undefined) == [POINTS[0]]
        assert stored.validity["nested"]["held_out"]["accuracy"] == found.validity.nested.held_out.accuracy
    assert (first.folder / "key.yaml").read_text().startswith("trait: calm\n")


@pytest.mark.parametrize(
    "change",
    [
        {"model_digest": "c" * 64},
        {"held": "int8"},
        {"points": POINTS[::-1]},
        {"positions": "last"},
        {"data_digest": "d" * 64},
        {"method": "probe"},
        {"settings": {"seed": 1}},
        {"version": (0, 0)},
    ],
)
def test_anything_that_directions_depend_on_makes_them_others(own_cache: Path, change: dict) -> None:
    stored_vectors(KEY, Finding())
    with pytest.raises(UsageError, match=r"no directions of 'calm'.*set mode to cached"):
        stored_vectors(replace(KEY, **change), Finding(), mode=Mode.READ_ONLY)


def test_read_only_finds_nothing_and_force_always_does(own_cache: Path) -> None:
    find = Finding()
    with pytest.raises(UsageError):
        stored_vectors(KEY, find, mode=Mode.READ_ONLY)
    assert find.n_calls == 0
    stored_vectors(KEY, find)
    assert stored_vectors(KEY, find, mode=Mode.READ_ONLY).was_cached
    assert not stored_vectors(KEY, find, mode=Mode.FORCE).was_cached
    assert find.n_calls == 2


def test_a_changed_file_is_not_used(own_cache: Path) -> None:
    find = Finding()
    path = stored_vectors(KEY, find).folder / "vectors.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(UsageError):
        stored_vectors(KEY, find, mode=Mode.READ_ONLY)
    assert not stored_vectors(KEY, find).was_cached
    assert find.n_calls == 2


def test_a_failure_to_force_leaves_what_was_there(own_cache: Path) -> None:
    def fail() -> FoundVectors:
        raise RuntimeError("no model")

    stored_vectors(KEY, Finding())
    with pytest.raises(RuntimeError):
        stored_vectors(KEY, fail, mode=Mode.FORCE)
    assert stored_vectors(KEY, fail).was_cached
