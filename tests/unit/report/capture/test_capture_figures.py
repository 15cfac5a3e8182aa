from pathlib import Path

import numpy as np
import pytest

from overnight.captures.reading import read_captures
from overnight.report.capture.group_figure import group_figure
from overnight.report.capture.prompt_figures import curves, heat_map, reach_of
from overnight.report.capture.reading import read_capture
from overnight.report.capture.vector_figures import superposition_figure, validity_figure
from tests.unit.captures.made_up_run import write_capture_run


def test_colours_end_where_nearly_all_tokens_but_the_first_do() -> None:
    # Sizes 1 to 100 after a first token of 5,000: the 98th percentile of 1..100 is 98.02.
    values = np.array([[5000.0, *range(1, 101)]])
    assert reach_of(values) == (pytest.approx(98.02), 5000.0)
    assert reach_of(np.full((1, 3), np.nan)) == (1.0, 0.0)
    assert reach_of(np.zeros((1, 3))) == (1.0, 0.0)


def test_every_figure_of_a_run_is_made_and_undefined_cells_are_named(tmp_path: Path) -> None:
    folder = write_capture_run(
        tmp_path / "experiments", n_layers=2, n_tokens=10, has_z=False, hostile="$a_b$"
    )
    report = read_capture(folder)
    (model,) = report.models
    prompt = next(read_captures(folder.path, next(folder.path.glob("*/results/captures.jsonl"))))
    frames = [
        heat_map(report, prompt, model.traits[2]),
        curves(report, prompt, model.traits),
        validity_figure(report, model),
        superposition_figure(report, model),
        group_figure(report, model),
    ]
    assert all(frame is not None for frame in frames)
    # The vector of the third trait has no length at the first layer.
    said = " ".join(text.get_text() for text in frames[0].figure.texts) if frames[0] else ""
    assert "Hatched: undefined" in said
