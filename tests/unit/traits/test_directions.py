"""The file of directions is what states are projected on, point by point."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from overnight.traits.directions import (
    Applied,
    TraitDirections,
    directions_at,
    null_directions,
    write_directions,
)
from overnight.traits.methods import Method, direction

POINTS = ("0.residual_out", "1.residual_out", "2.residual_out")


def trait(name: str, seed: int, chosen: str, n_nulls: int | None = 4) -> TraitDirections:
    rng = np.random.default_rng(seed)
    nulls = None if n_nulls is None else rng.standard_normal((3, n_nulls, 5)).astype(np.float32)
    return TraitDirections(
        trait=name,
        points=POINTS,
        directions=rng.standard_normal((3, 5)).astype(np.float32),
        chosen=chosen,
        nulls=nulls,
    )


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_one_direction_is_that_of_the_chosen_point_everywhere(tmp_path: Path) -> None:
    traits = [trait("calm", 0, POINTS[2]), trait("doubt", 1, POINTS[0])]
    write_directions(tmp_path / "d.safetensors", traits, POINTS[:2], applied=Applied.ONE)
    tensors, metadata = read(tmp_path / "d.safetensors")
    assert tensors["directions"].shape == (1, 2, 5)
    assert np.array_equal(tensors["directions"][0], [traits[0].directions[2], traits[1].directions[0]])
    assert np.array_equal(tensors["nulls"][0, 1], traits[1].nulls[0])
    assert tensors["group_of_point"].tolist() == [0, 0]
    assert json.loads(metadata["traits"]) == ["calm", "doubt"]
    assert json.loads(metadata["points"]) == list(POINTS[:2])


def test_per_layer_every_point_has_its_own(tmp_path: Path) -> None:
    traits = [trait("calm", 0, POINTS[2]), trait("doubt", 1, POINTS[0])]
    projected = (POINTS[2], POINTS[0])
    write_directions(tmp_path / "d.safetensors", traits, projected, applied=Applied.PER_POINT)
    tensors, _ = read(tmp_path / "d.safetensors")
    assert tensors["directions"].shape == (2, 2, 5)
    assert tensors["nulls"].shape == (2, 2, 4, 5)
    assert tensors["group_of_point"].dtype == np.int64
    for point, group in zip(projected, tensors["group_of_point"], strict=True):
        for number, each in enumerate(traits):
            assert np.array_equal(tensors["directions"][group, number], each.directions[POINTS.index(point)])


def test_a_direction_that_there_is_none_of_is_zero(tmp_path: Path) -> None:
    # On a zero vector nothing projects (golden 14): the reader makes of it what is undefined.
    one = trait("calm", 0, POINTS[2], n_nulls=None)
    one.directions[1] = np.nan
    write_directions(tmp_path / "d.safetensors", [one], POINTS, applied=Applied.PER_POINT)
    tensors, _ = read(tmp_path / "d.safetensors")
    assert "nulls" not in tensors
    assert tensors["directions"][1].tolist() == [[0.0] * 5]
    assert np.isfinite(tensors["directions"]).all()


@pytest.mark.parametrize(
    ("traits", "projected", "said"),
    [
        ([], POINTS, "want at least one"),
        ([trait("a", 0, POINTS[0]), trait("a", 1, POINTS[0])], POINTS, "stands twice"),
        ([trait("a", 0, POINTS[0])], (*POINTS, POINTS[0]), "stands twice"),
        ([trait("a", 0, POINTS[0])], ("7.residual_out",), "not extracted at 7"),
        ([trait("a", 0, POINTS[0]), trait("b", 1, POINTS[0], n_nulls=2)], POINTS, "other nulls"),
        ([trait("a", 0, POINTS[0]), trait("b", 1, POINTS[0], n_nulls=None)], POINTS, "other nulls"),
    ],
)
def test_what_does_not_agree_is_refused(tmp_path: Path, traits, projected, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        write_directions(tmp_path / "d.safetensors", traits, projected, applied=Applied.PER_POINT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", [Method.MEAN_DIFFERENCE, Method.PROBE])
def test_null_directions_are_those_of_exchanged_pairs(method: Method) -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.standard_normal((3, 2, 5)), rng.standard_normal((3, 2, 5))
    found = null_directions("calm", positive, negative, 12, is_paired=True, method=method, seed=0)
    assert found.shape == (2, 12, 5)
    assert np.linalg.norm(found, axis=-1) == pytest.approx(1, abs=1e-6)
    # Three pairs can be exchanged in 8 ways; each null is the direction of one of them, the same one at every point.
    ways = [np.array([bool(number >> bit & 1) for bit in range(3)]) for number in range(8)]
    for null in range(12):
        matching = [
            [
                np.allclose(
                    found[point, null],
                    direction(
                        method,
                        np.where(way[:, None], negative[:, point], positive[:, point]),
                        np.where(way[:, None], positive[:, point], negative[:, point]),
                        is_paired=True,
                    ),
                    atol=1e-5,
                )
                for way in ways
            ]
            for point in range(2)
        ]
        assert matching[0].count(True) == 1
        assert matching[0] == matching[1]


def test_a_point_without_a_direction_is_told_and_is_not_a_number() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.standard_normal((6, 2, 5)), rng.standard_normal((6, 2, 5))
    positive[:, 0] = negative[:, 0] = 1.0
    options = {"is_paired": True, "method": Method.MEAN_DIFFERENCE, "seed": 0}
    found, undefined = directions_at(POINTS[:2], positive, negative, **options)
    assert list(undefined) == [POINTS[0]]
    assert "same mean" in undefined[POINTS[0]]
    assert np.isnan(found[0]).all()
    assert np.array_equal(
        found[1], direction(Method.MEAN_DIFFERENCE, positive[:, 1], negative[:, 1], is_paired=True)
    )
    nulls = null_directions("calm", positive, negative, 3, **options)
    assert np.isnan(nulls[0]).all()
    assert np.isfinite(nulls[1]).all()
