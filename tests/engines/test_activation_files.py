"""What is written of sequences: projections, means, weights of attention; by definition and by plain transformers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402
from safetensors import safe_open  # noqa: E402

from overnight.activations import capturing  # noqa: E402
from overnight.activations.attention import summarised  # noqa: E402
from overnight.activations.capturing import Capturer  # noqa: E402
from overnight.activations.directions import Directions, lengths  # noqa: E402
from overnight.activations.points import Component, Point, every_sublayer, labels  # noqa: E402
from overnight.activations.positions import Positions  # noqa: E402
from overnight.activations.request import ActivationRequest, SequenceInput  # noqa: E402
from overnight.activations.tokens import TokenSequence  # noqa: E402
from overnight.errors import StoreError, UsageError  # noqa: E402
from tests.engines.plain_decoders import (  # noqa: E402
    FAMILIES,
    HEADS,
    N_LAYERS,
    WIDTH,
    attention_weights,
    block_states,
)

IDS = {
    "a": (5, 9, 12, 3, 33, 60, 17, 21, 8, 40, 2),
    "b": (7, 7, 50),
    "c": (11, 62, 30, 4, 25, 19, 44),
    "d": (1, 13),
}
N_PROMPT = {"a": 4, "b": 1, "c": 6, "d": 0}
POINTS = every_sublayer(N_LAYERS)
TRAITS = ("calm", "blunt")
LAST = Point(N_LAYERS - 1, Component.RESIDUAL_OUT)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for each other on a busy machine
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def family():
    return FAMILIES["gemma2"]


@pytest.fixture(scope="module")
def model(family):
    return family.model(attention="eager")


@pytest.fixture
def drawn():
    """Return directions of two groups, and 20 null directions of each."""
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(2, len(TRAITS), WIDTH)) * 4
    nulls = rng.normal(size=(2, len(TRAITS), 20, WIDTH))
    groups = np.array(
        [0, 1, 0, 0, 1, 0, 1, 0, 1]
    )  # what leaves block 0 enters block 1 in one group, and so on in two
    return directions.astype(np.float32), nulls.astype(np.float32), groups


def sequences(*names: str) -> list[TokenSequence]:
    return [TokenSequence(id=name, ids=IDS[name], n_prompt=N_PROMPT[name]) for name in names or IDS]


def request(out: Path, **changes) -> ActivationRequest:
    inputs = tuple(SequenceInput(id=name, text="-") for name in IDS)
    return ActivationRequest(**({"sequences": inputs, "out": out} | changes))


def write_directions(path: Path, directions, groups, nulls=None, points=POINTS, traits=TRAITS) -> Path:
    tensors = {"directions": torch.tensor(directions), "group_of_point": torch.tensor(groups)}
    if nulls is not None:
        tensors["nulls"] = torch.tensor(nulls)
    about = {"traits": json.dumps(list(traits)), "points": json.dumps(labels(points))}
    safetensors.torch.save_file(tensors, path, metadata=about)
    return path


def read(path: Path):
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def plain(family, model, name: str, point: Point) -> np.ndarray:
    return block_states(family, model, list(IDS[name]), point.layer)[point.component.value].numpy()


def test_a_projection_is_the_length_along_a_direction_and_none_on_a_direction_without_length() -> None:
    # Golden vector 14: a = (3, 4), v = (0, 2) is 4; v = 0 is undefined, and never a number.
    axes = torch.tensor([[[0.0, 2.0], [0.0, 0.0], [-1e-30, 0.0], [torch.inf, 0.0]]])
    directions = Directions.made(("up", "none", "tiny", "endless"), {}, axes, None)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        found, score = directions.project(torch.tensor([[3.0, 4.0]], dtype=dtype), 0)
        assert found.tolist()[0] == pytest.approx([4, np.nan, -3, np.nan], nan_ok=True)
        assert score is None
    assert lengths(torch.tensor([[3.0, 4.0]])).tolist() == [5]
    # In half precision the square of 300 is infinite already.
    assert lengths(torch.tensor([[300.0, 400.0]], dtype=torch.float16)).tolist() == [500]


def test_a_z_counts_standard_deviations_of_the_projections_on_null_directions() -> None:
    # Projections of (3, 4) on (1, 0), (0, 2) and (0, -1): 3, 4 and -4. Their mean is 1, their variance with N - 1 is
    # (4 + 9 + 25) / 2 = 19; the projection on (0, 5) is 4.
    nulls = [[1.0, 0.0], [0.0, 2.0], [0.0, -1.0]]
    same = [[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]
    states = torch.tensor([[3.0, 4.0]])

    def scores(*null_sets):
        axes = torch.tensor([[[0.0, 5.0]] * len(null_sets)])
        traits = tuple(f"t{n}" for n in range(len(null_sets)))
        return Directions.made(traits, {}, axes, torch.tensor([null_sets])).project(states, 0)[1][0].tolist()

    assert scores(nulls, same) == pytest.approx([3 / 19**0.5, np.nan], nan_ok=True)
    assert scores(nulls[:1]) == pytest.approx([np.nan], nan_ok=True)  # one null has no deviation
    assert scores([[0.0, 0.0], *nulls[1:]]) == pytest.approx([np.nan], nan_ok=True)


def test_attention_is_summarised_by_definition() -> None:
    # Two heads: one always reads the first token, one reads all tokens so far alike.
    first = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]])
    alike = torch.tensor([[1.0, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]])
    found = summarised(torch.stack([first, alike]), n_prompt=2).numpy()
    expected = [
        [0, 1, 1, np.nan],
        [np.log(2) / 2, (1 + 1 / 2) / 2, 1, (1 + 1 / 2) / 2],
        [np.log(3) / 2, (1 + 1 / 3) / 2, (1 + 2 / 3) / 2, (0 + 1 / 3) / 2],
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert summarised(first[None], n_prompt=0)[:, 2].isnan().all()  # no prompt, no share on it


def test_a_file_holds_what_its_states_come_to_by_definition(tmp_path, family, model, drawn) -> None:
    directions, nulls, groups = drawn
    path = write_directions(tmp_path / "d.safetensors", directions, groups, nulls)
    pooled = (Point(1, Component.RESIDUAL_OUT), Point(0, Component.RESIDUAL_MID))
    internals = (Point(1, Component.K), Point(1, Component.GATED))
    asked = request(
        tmp_path / "out",
        directions=path,
        projected=POINTS,
        pooled=pooled,
        positions=Positions.parse("response[-2:]"),
        raw=(LAST,),
        raw_dtype="float32",
        internals=internals,
        attention_layer=1,
        attention_summary=True,
    )
    captured = Capturer(model).capture(asked, sequences(), budget=1000)
    assert captured.failures == {}
    assert captured.n_batches == 1
    assert captured.largest_probe_difference < 1e-4
    for name, ids in IDS.items():
        found, about = read(tmp_path / "out" / f"{name}.safetensors")
        assert about == {
            "schema_version": "1",
            "n_prompt": str(N_PROMPT[name]),
            "points": json.dumps(labels(POINTS)),
            "traits": json.dumps(TRAITS),
            "pooled_points": json.dumps(labels(pooled)),
            "raw_dtype": "float32",
        }
        assert found["token_ids"].tolist() == list(ids)
        states = np.stack([plain(family, model, name, point) for point in POINTS], axis=1)  # [T, P, d]
        axes, null_axes = (each[groups].astype(float) for each in (directions, nulls))  # of each point
        along = np.einsum("tpd,pvd->tpv", states, axes) / np.linalg.norm(axes, axis=-1)
        by_chance = np.einsum("tpd,pvnd->tpvn", states, null_axes) / np.linalg.norm(null_axes, axis=-1)
        z = (along - by_chance.mean(axis=-1)) / by_chance.std(axis=-1, ddof=1)
        np.testing.assert_allclose(found["projections"], along, atol=1e-4)
        np.testing.assert_allclose(found["z"], z, atol=1e-3)
        np.testing.assert_allclose(found["norms"], np.linalg.norm(states, axis=-1), rtol=1e-4)
        expected = [plain(family, model, name, point)[N_PROMPT[name] :][-2:].mean(axis=0) for point in pooled]
        np.testing.assert_allclose(found["pooled"], expected, atol=1e-4)
        np.testing.assert_allclose(found[f"raw.{LAST.label}"], plain(family, model, name, LAST), atol=1e-4)
        for point in internals:
            np.testing.assert_allclose(
                found[f"internals.{point.label}"], plain(family, model, name, point), atol=1e-4
            )
        weights = attention_weights(model, list(ids))
        assert found["attention.1"].dtype == np.float16
        assert found["attention.1"].shape == (HEADS, len(ids), len(ids))
        np.testing.assert_allclose(found["attention.1"], weights[1], atol=1e-3)  # 11 bits
        heads = np.stack([each.numpy() for each in weights])
        first, before = heads[:, :, :, 0].mean(axis=1), np.diagonal(heads, -1, 2, 3).mean(axis=1)
        np.testing.assert_allclose(found["attention_summary"][:, :, 1], first, atol=1e-4)
        np.testing.assert_allclose(found["attention_summary"][:, 1:, 3], before, atol=1e-4)
    assert model.config._attn_implementation == "eager"


def test_weights_of_attention_leave_it_computed_as_it_was(tmp_path, family) -> None:
    sdpa = FAMILIES["llama"].model()
    expected = attention_weights(FAMILIES["llama"].model(attention="eager"), list(IDS["c"]))
    assert sdpa.config._attn_implementation == "sdpa"
    Capturer(sdpa).capture(request(tmp_path, attention_layer=2), sequences("c", "b"), budget=100)
    assert sdpa.config._attn_implementation == "sdpa"
    found, _ = read(tmp_path / "c.safetensors")
    np.testing.assert_allclose(found["attention.2"], expected[2], atol=1e-3)


def test_states_are_kept_in_the_dtype_that_was_asked_for(tmp_path, family, model) -> None:
    Capturer(model).capture(request(tmp_path, raw=(LAST,), raw_dtype="bfloat16"), sequences("c"), budget=100)
    kept = safetensors.torch.load_file(tmp_path / "c.safetensors")[f"raw.{LAST.label}"]
    assert kept.dtype == torch.bfloat16
    np.testing.assert_allclose(kept.float(), plain(family, model, "c", LAST), rtol=2**-8, atol=1e-3)  # 8 bits


def test_a_batch_that_does_not_fit_is_halved_and_one_sequence_fails_alone(
    tmp_path, family, model, monkeypatch
) -> None:
    # Memory for twelve tokens of padding and all: the longest sequence does not fit with another one; and one sequence
    # that has token 62 never does.
    capturer = Capturer(model)
    asked = request(tmp_path / "out", raw=(LAST,), raw_dtype="float32")
    passed, forgotten = [], []
    through = capturer._pass

    def limited(batch, until):
        passed.append([len(ids) for ids in batch])
        if len(batch) * max(map(len, batch)) > 12 or any(62 in ids for ids in batch):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")
        through(batch, until=until)

    capturer._architecture = capturing.Architecture(model)
    capturer._pass = limited
    capturer._forget = lambda: forgotten.append(True)
    captured = capturer.capture(asked, sequences(), budget=1000)
    assert list(captured.failures) == ["c"]
    assert captured.failures["c"].kind == "OutOfMemory"
    assert "a single sequence of 7 tokens does not fit" in captured.failures["c"].message
    assert captured.halvings >= 1
    assert len(forgotten) == captured.halvings + 1
    for name in ("a", "b", "d"):
        found, _ = read(tmp_path / "out" / f"{name}.safetensors")
        np.testing.assert_allclose(found[f"raw.{LAST.label}"], plain(family, model, name, LAST), atol=1e-4)
    assert not (tmp_path / "out" / "c.safetensors").exists()


def test_what_fitted_is_kept_for_the_next_states_at_places(tmp_path, model) -> None:
    # Vectors come in many requests: that too many do not fit is found out once.
    capturer = Capturer(model)
    capturer._architecture = capturing.Architecture(model)
    through = capturer._pass

    def limited(batch, until):
        if len(batch) * max(map(len, batch)) > 12:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")
        through(batch, until=until)

    capturer._pass = limited
    inputs = tuple(SequenceInput(id=name, text="-", places=(0,)) for name in IDS)
    asked = ActivationRequest(sequences=inputs, out=tmp_path, placed=(LAST,))
    read_by = [replace(each, places=(0,)) for each in sequences()]
    halvings = [capturer.capture(asked, read_by, budget=1000).halvings for _ in range(2)]
    assert halvings[0] >= 1
    assert halvings[1] == 0


def test_a_budget_counts_padding(tmp_path, model) -> None:
    rows = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    captured = Capturer(model).capture(request(tmp_path, raw=(LAST,)), sequences(), budget=14)
    hook.remove()
    # After the four tokens by which the model was read: the longest first, and the pair that was passed again alone.
    assert rows == [(1, 4), (1, 11), (2, 7), (1, 3), (1, 2)]
    assert captured.n_batches == 3


def test_a_sequence_without_the_tokens_that_are_averaged_fails_alone(tmp_path, model) -> None:
    asked = request(tmp_path, pooled=(LAST,), positions=Positions.parse("prompt[-1]"))
    captured = Capturer(model).capture(asked, sequences(), budget=100)
    assert list(captured.failures) == ["d"]  # a plain text
    assert captured.failures["d"].kind == "UsageError"
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_states_that_are_no_numbers_are_a_failure_and_no_file(tmp_path, model) -> None:
    # 1e6 is beyond float16: what is kept would be infinite.
    hook = model.model.layers[0].register_forward_hook(lambda _, __, output: output * 1e6)
    asked = request(tmp_path, raw=(Point(0, Component.RESIDUAL_OUT),), raw_dtype="float16")
    captured = Capturer(model).capture(asked, sequences("a", "b"), budget=100)
    hook.remove()
    assert {failure.kind for failure in captured.failures.values()} == {"BadResponse"}
    assert "0.residual_out" in captured.failures["a"].message
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_computed_once_nobody_waits(tmp_path, model) -> None:
    captured = Capturer(model).capture(
        request(tmp_path, raw=(LAST,)), sequences(), budget=100, is_wanted=lambda: False
    )
    assert captured.n_batches == 0
    assert list(tmp_path.iterdir()) == []


def test_directions_that_are_not_for_this_request_are_refused(tmp_path, model, drawn) -> None:
    directions, _, groups = drawn
    capturer = Capturer(model)

    def refused(said: str, path: Path) -> None:
        asked = request(tmp_path / "out", directions=path, projected=POINTS)
        with pytest.raises(UsageError, match=said):
            capturer.capture(asked, sequences(), budget=100)

    refused("cannot be read", tmp_path / "missing.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"not one of them")
    refused("cannot be read", tmp_path / "damaged.safetensors")
    other = write_directions(tmp_path / "o.safetensors", directions, groups[::-1].copy(), points=POINTS[::-1])
    refused("made for the points 2.residual_out", other)
    refused(
        "made of 16 numbers; 0.residual_in of Gemma2ForCausalLM has 32",
        write_directions(tmp_path / "w.safetensors", directions[..., :16].copy(), groups),
    )
    refused("names a group", write_directions(tmp_path / "g.safetensors", directions, groups + 1))
    refused(
        "for 1 traits", write_directions(tmp_path / "t.safetensors", directions, groups, traits=("calm",))
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, model) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file/out/a.safetensors: cannot be written"):
        Capturer(model).capture(request(tmp_path / "file" / "out", raw=(LAST,)), sequences("a"), budget=100)


def test_null_directions_that_traits_share_count_for_each_of_them(drawn) -> None:
    # They are projected on once: with one set of them, 100 null directions cost a sixth of what they do for six traits.
    directions, nulls, _ = (torch.tensor(each) for each in drawn)
    shared = nulls[:, :1].expand(-1, len(TRAITS), -1, -1)
    states = torch.tensor(np.random.default_rng(1).normal(size=(5, WIDTH)), dtype=torch.float32)
    together = Directions.made(TRAITS, {}, directions, shared)
    assert together.null_spreads_GVNd.shape[1] == 1
    for place in range(len(TRAITS)):
        alone = Directions.made(("t",), {}, directions[:, place : place + 1], nulls[:, :1])
        np.testing.assert_allclose(
            together.project(states, 1)[1][:, place], alone.project(states, 1)[1][:, 0], rtol=1e-5
        )


def test_states_at_places_are_those_of_the_model_whatever_is_padded(family, model, tmp_path) -> None:
    # Places in any order, one of them the last token; the longest sequence is in the same batch.
    places = {"a": (10, 0, 4), "b": (1,), "c": (6,), "d": (0, 1)}
    asked = ActivationRequest(
        sequences=tuple(SequenceInput(id=name, text="-", places=at) for name, at in places.items()),
        out=tmp_path,
        placed=(POINTS[5], POINTS[2]),
    )
    read_by = [replace(each, places=places[each.id]) for each in sequences()]
    captured = Capturer(model).capture(asked, read_by, budget=1000)
    assert captured.n_batches == 1
    for name, at in places.items():
        tensors, about = read(tmp_path / f"{name}.safetensors")
        assert tensors["placed"].shape == (len(at), 2, WIDTH)
        assert json.loads(about["placed_points"]) == labels((POINTS[5], POINTS[2]))
        for column, point in enumerate((POINTS[5], POINTS[2])):
            states = plain(family, model, name, point)[list(at)]
            assert tensors["placed"][:, column] == pytest.approx(states, rel=1e-4, abs=1e-4)
