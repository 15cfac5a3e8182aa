import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from overnight.captures.reading import read_captures
from overnight.report.capture import strips
from overnight.report.capture.reading import read_capture
from overnight.report.capture.strips import quantised, restored
from overnight.store.run_folder import RunFolder
from tests.unit.captures.made_up_run import write_capture_run

TRIAL = "tiny-uncertainty-00000000"


@given(arrays(np.float64, (5, 2, 3), elements=st.floats(-1e4, 1e4)))
def test_a_byte_keeps_a_number_to_two_percent_and_its_sign(values: np.ndarray) -> None:
    # Half a step of the mu-law is ln(256) / 127 / 2 = 2.2 % of itself plus 1/255 of that of the largest.
    largest = np.abs(values).max(axis=0)
    found = restored(quantised(values, largest), largest)
    half = math.expm1(math.log(256) / 127 / 2)
    assert (np.abs(found - values) <= half * (np.abs(values) + largest / 255) * 1.001 + 1e-12).all()
    assert (np.sign(found) * np.sign(values) >= 0).all()


def test_nothing_and_zero_are_not_the_same() -> None:
    values = np.array([[[np.nan, 0.0, -1.0, 1.0]]])
    found = quantised(values, np.ones((1, 4)))
    assert found.ravel().tolist() == [255, 127, 0, 254]
    assert np.isnan(restored(found, np.ones((1, 4))).ravel()[0])


def test_a_point_where_all_is_zero_stays_zero() -> None:
    found = quantised(np.zeros((3, 1, 1)), np.zeros((1, 1)))
    assert (found == 127).all()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_capture_run(tmp_path / "experiments")


def shown_data(folder: RunFolder) -> dict:
    view = read_capture(folder).strips
    assert view is not None
    return json.loads(view.data)


def test_the_page_holds_every_number_at_its_place(folder: RunFolder) -> None:
    data = shown_data(folder)
    (model,) = data["models"]
    prompt = next(read_captures(folder.path, folder.trial(TRIAL).results / "captures.jsonl"))
    row = next(row for row in data["rows"] if row[2] == prompt.prompt_id)
    held = np.frombuffer(base64.b64decode(row[6]), np.uint8)
    n_points, n_tokens = len(prompt.points), prompt.n_tokens
    scales = np.array(model["scales"]["projection"])
    for token, point, trait in [(0, 0, 0), (5, 7, 1), (n_tokens - 1, n_points - 1, 2)]:
        # As the script reads it: by trait, then point, then token.
        byte = held[(trait * n_points + point) * n_tokens + token]
        found = restored(np.array([byte]), scales[point, trait])[0]
        assert found == pytest.approx(
            prompt.projections[token, point, trait], rel=0.03, abs=0.001 * scales[point, trait]
        )
    assert model["layers"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (row[4], row[5]) == (prompt.n_prompt, list(prompt.tokens))


def test_the_first_token_does_not_stretch_the_colours(folder: RunFolder) -> None:
    # It is forty times as large as the others in the made-up run.
    (model,) = shown_data(folder)["models"]
    reach, scales = (np.array(model[name]["projection"]) for name in ("reach", "scales"))
    assert (reach[1:] < scales[1:] / 3).mean() > 0.8


def test_where_there_is_too_much_layers_are_left_out_and_no_prompt(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = read_capture(folder).strips
    assert everything is not None
    monkeypatch.setattr(strips, "MOST_BYTES", 2000)
    view = read_capture(folder).strips
    assert view is not None
    assert (view.n_shown, view.n_all) == (4, 4)
    kept, all_of_it = (json.loads(one.data)["rows"][0][6] for one in (view, everything))
    assert len(kept) * 2 == len(all_of_it)  # two layers of four
    # The layer that stands for the traits stays: the middle one of four.
    assert view.left_out == "of tiny layers 0, 2"
