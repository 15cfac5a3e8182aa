from pathlib import Path

import pytest

from overnight.cli.fitting import find_model
from overnight.memory.bench import bench_memory
from overnight.memory.fitting import estimate_model
from overnight.memory.free import free_memory
from overnight.memory.peaks import read_peaks
from overnight.spec.execution import Execution
from overnight.telemetry.environment import machine_identity


def test_the_estimate_is_within_ten_percent_of_the_peak_and_is_corrected_by_it(weights: Path) -> None:
    # What a plan starts on, or steps down from, hangs on this. The settings differ in slots and in context.
    model = find_model(str(weights))
    rows = list(bench_memory(model, [(1, 512), (4, 768)], threads=2))
    for row in rows:
        assert row.relative_error == pytest.approx(0, abs=0.10)
    digest = weights.parent.name
    assert len(read_peaks(digest, "llama_cpp", machine_identity())) == 2
    known = model.model_copy(update={"sha256": digest})
    better, _ = estimate_model(known, 4, 768, Execution(), free_memory(), saved_tokens=0)
    assert better is not None
    assert better.is_measured
