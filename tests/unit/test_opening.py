import gc
import weakref
from pathlib import Path

import pytest

from overnight.cli.sweep_options import load_sweep
from overnight.runs.opening import create_run, load_plan, load_spec
from overnight.runs.resolving import resolve
from overnight.spec.config_root import ConfigRoot
from overnight.spec.run_options import RunOptions
from overnight.store.files import write_text
from overnight.store.run_folder import RunFolder


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> RunFolder:
    path = project / "sweeps" / "s.yaml"
    spec = resolve(load_sweep(str(path), changes={"dry_run": True}).spec, ConfigRoot.of_sweep(path))
    return create_run(spec, RunOptions(run_id="r", experiments_dir=tmp_path))


def test_all_trials_of_a_run_share_its_plan(folder: RunFolder) -> None:
    # Each asks for it: a plan anew for each would take time and memory with the square of their number.
    spec = load_spec(folder)
    assert load_spec(folder) is spec
    assert load_plan(folder, load_spec(folder)) is load_plan(folder, spec)


def test_a_plan_goes_with_whoever_has_it(folder: RunFolder) -> None:
    # It has all items; a process that serves runs for days is not to keep those of the last one.
    plan = load_plan(folder, load_spec(folder))
    gone = weakref.ref(plan)
    del plan
    gc.collect()
    assert gone() is None


def test_another_configuration_or_other_items_are_another_plan(folder: RunFolder) -> None:
    spec = load_spec(folder)
    plan = load_plan(folder, spec)
    text = folder.effective_config.read_text()
    assert "parts_per_dataset: 1\n" in text
    write_text(folder.effective_config, text.replace("parts_per_dataset: 1\n", "parts_per_dataset: 2\n"))
    changed = load_spec(folder)
    assert len(load_plan(folder, changed).parts) == 2 * len(plan.parts)
    items = folder.items("facts")
    write_text(items, "".join(items.read_text().splitlines(keepends=True)[:-1]))
    assert len(load_plan(folder, changed).items) == len(plan.items) - 1
