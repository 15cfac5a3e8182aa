import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import TensorSpec, serialize_file
from safetensors.numpy import save_file

from overnight.captures.directions import read_directions
from overnight.captures.lines import CaptureLine
from overnight.captures.prompt import CapturedPrompt
from overnight.captures.reading import read_prompt
from overnight.captures.reprojecting import project, reproject, standardised
from overnight.errors import StoreError, UsageError
from tests.unit.captures.made_up import line


def write_directions(path: Path, points: list[str], traits: list[str], **tensors: np.ndarray) -> Path:
    save_file(tensors, path, metadata={"points": json.dumps(points), "traits": json.dumps(traits)})
    return path


def stored(run: Path, states: np.ndarray) -> CapturedPrompt:
    """Return a prompt with states of two points in bfloat16; each ends in sixteen zero bits."""
    bits = [np.ascontiguousarray(one).astype(np.float32).view("<u4") >> 16 for one in states]
    raw = {f"raw.{place}.residual_out": one.astype("<u2") for place, one in enumerate(bits)}
    ids = np.arange(states.shape[1])
    path = run / "captures/p1.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    specs = {
        name: TensorSpec(
            dtype="bfloat16", shape=list(one.shape), data_ptr=one.ctypes.data, data_len=one.nbytes
        )
        for name, one in raw.items()
    }
    specs["token_ids"] = TensorSpec(
        dtype="int64", shape=[len(ids)], data_ptr=ids.ctypes.data, data_len=ids.nbytes
    )
    header = {"schema_version": "1", "n_prompt": "1", "points": "[]", "traits": "[]", "raw_dtype": "bfloat16"}
    serialize_file(specs, path, header)
    return read_prompt(run, CaptureLine.model_validate(line("p1", ["t"] * len(ids), 1)))


def rounded(values: np.ndarray) -> np.ndarray:
    """Return float32 values that bfloat16 holds exactly."""
    return ((values.astype(np.float32).view("<u4") >> 16) << 16).view("<f4")


def test_golden_14() -> None:
    # a = (3, 4), v = (0, 2): 4.0. A vector without length has no projection.
    found = project(np.array([[3, 4]], np.float32), np.array([[0, 2], [0, 0]], np.float32))
    assert found[0, 0] == 4.0
    assert np.isnan(found[0, 1])


def test_lengths_at_the_ends_of_float32_are_lengths() -> None:
    # Squared, both are outside float32.
    vectors = np.array([[0, 1e-30], [3e30, 4e30], [np.inf, 1]], np.float32)
    found = project(np.array([[3, 4]], np.float32), vectors)
    assert found[0, :2] == pytest.approx([4.0, 5.0], rel=1e-6)
    assert np.isnan(found[0, 2])


def test_z_by_hand() -> None:
    # Projections of (3, 4) on x, y and -x: 3, 4, -3; mean 4/3, sample variance (25 + 64 + 169) / 9 / 2 = 43/3.
    states = np.array([[3, 4]], np.float32)
    nulls = np.array([[[1, 0], [0, 1], [-1, 0]]], np.float32)
    found = standardised(np.array([[4.0]], np.float32), states, nulls)
    assert found[0, 0] == pytest.approx((4 - 4 / 3) / np.sqrt(43 / 3), rel=1e-6)


@pytest.mark.parametrize("nulls", [[[1, 0]], [[1, 0], [2, 0], [3, 0]], np.empty((0, 2))])
def test_z_is_undefined_without_a_spread(nulls: object) -> None:
    states = np.array([[0.1, 4]], np.float32)
    found = standardised(np.array([[4.0]], np.float32), states, np.array([nulls], np.float32))
    assert np.isnan(found).all()


def test_stored_states_give_what_the_definition_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    states = rounded(rng.normal(size=(2, 7, 16)) * 20)
    vectors = rng.normal(size=(2, 3, 16)).astype(np.float32)
    nulls = rng.normal(size=(2, 3, 9, 16)).astype(np.float32)
    # The groups are the other way round than the points, and the last point has no states.
    points = ["1.residual_out", "0.residual_out", "7.residual_out"]
    path = write_directions(
        tmp_path / "d.safetensors",
        points,
        ["a", "b", "c"],
        directions=vectors,
        nulls=nulls,
        group_of_point=np.array([0, 1, 1]),
    )
    found = reproject(stored(tmp_path, states), read_directions(path))
    assert found.points == ("1.residual_out", "0.residual_out")
    assert found.z is not None
    # By the definition, in float64.
    for place, (layer, group) in enumerate([(1, 0), (0, 1)]):
        wide = states[layer].astype(np.float64)
        for trait in range(3):
            v = vectors[group, trait].astype(np.float64)
            wanted = wide @ v / np.sqrt(v @ v)
            assert found.projections[:, place, trait] == pytest.approx(wanted, rel=1e-5, abs=1e-5)
            null = np.array([wide @ n / np.sqrt(n @ n) for n in nulls[group, trait].astype(np.float64)])
            z = (wanted - null.mean(axis=0)) / null.std(axis=0, ddof=1)
            assert found.z[:, place, trait] == pytest.approx(z, rel=1e-4, abs=1e-5)
        assert found.norms[:, place] == pytest.approx(np.sqrt((wide**2).sum(axis=1)), rel=1e-5)


def test_vectors_of_another_model_and_points_without_states_are_refused(tmp_path: Path) -> None:
    prompt = stored(tmp_path, np.ones((1, 3, 16)))
    wide = write_directions(
        tmp_path / "wide.safetensors",
        ["0.residual_out"],
        ["a"],
        directions=np.ones((1, 1, 8), np.float32),
        group_of_point=np.array([0]),
    )
    with pytest.raises(
        UsageError, match="16 wide, the directions 8; these vectors are likely of another model"
    ):
        reproject(prompt, read_directions(wide))
    other = write_directions(
        tmp_path / "other.safetensors",
        ["5.residual_in"],
        ["a"],
        directions=np.ones((1, 1, 16), np.float32),
        group_of_point=np.array([0]),
    )
    with pytest.raises(UsageError, match=r"stored at 0\.residual_out, the directions are for 5\.residual_in"):
        reproject(prompt, read_directions(other))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"group_of_point": np.array([1])}, "a point of no group"),
        ({"group_of_point": np.array([0, 0])}, "2 points"),
        ({"directions": np.ones((1, 2, 4), np.float32)}, "2 vectors a group"),
        ({"directions": np.ones((1, 1, 4), np.float64)}, "tensor directions F64"),
        ({"nulls": np.ones((1, 1, 3, 5), np.float32)}, "nulls"),
        ({"more": np.ones(1, np.float32)}, "tensor more"),
    ],
)
def test_a_file_that_is_none_of_directions_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], found: str
) -> None:
    good = {"directions": np.ones((1, 1, 4), np.float32), "group_of_point": np.array([0])}
    path = write_directions(tmp_path / "d.safetensors", ["0.residual_out"], ["a"], **(good | changes))
    with pytest.raises(StoreError, match=found):
        read_directions(path)
