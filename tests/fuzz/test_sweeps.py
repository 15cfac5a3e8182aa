from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.cli.planning import plan_of
from overnight.cli.sweep_options import load_sweep
from overnight.errors import OvernightError
from overnight.planning.plan import Plan
from overnight.runs.opening import config_text
from overnight.spec.base import Spec
from overnight.spec.config_root import shipped_config
from overnight.spec.reading import read_mapping
from overnight.spec.sweep import KINDS, SweepSpec, validate_sweep
from tests.fuzz.effort import effort
from tests.fuzz.mutations import damaged
from tests.fuzz.refusals import outcome
from tests.fuzz.test_config_values import WRITTEN

# A shipped sweep of each kind; what needs activations cannot be rehearsed, and is planned with its model.
SWEEPS = {
    "prompt-sweep": ("quickstart", True),
    "uncertainty-sweep": ("uncertainty-quickstart", True),
    "trait-capture": ("traits-quickstart", None),
    "best-of-k-sweep": ("k-sweep-quickstart", None),
}
PLAUSIBLE = [
    *("3", "17", "256", "9223372036854775807", "1.0e+308", "1.0e-300", "0.25"),
    *("[2]", "[0.5]", "[1, 2]", "[9223372036854775807]"),
]


def keys_of(model: type[Spec], prefix: str = "") -> Iterator[str]:
    """Yield every key that ``--set`` can reach, dotted."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        parts = (field.annotation, *(getattr(field.annotation, "__args__", None) or ()))
        for part in parts:
            if isinstance(part, type) and issubclass(part, Spec):
                yield from keys_of(part, f"{prefix}{name}.")


@cache
def keys(kind: str) -> list[str]:
    return [key for key in keys_of(KINDS[kind]) if key != "kind"]


def planned(name: str, is_rehearsed: bool | None, assignments: list[str]) -> tuple[SweepSpec, Plan]:
    loaded = load_sweep(name, changes={"dry_run": is_rehearsed, "limit_items": 4}, assignments=assignments)
    return loaded.spec, plan_of(loaded.spec)


def test_a_sweep_of_every_kind_is_tried_and_can_be_planned_as_it_is() -> None:
    assert set(SWEEPS) == set(KINDS)
    for name, is_rehearsed in SWEEPS.values():
        assert planned(name, is_rehearsed, [])[1].n_requests


@pytest.mark.parametrize("kind", SWEEPS)
@effort(0.3)
@given(data=st.data())
def test_an_assignment_ends_in_a_plan_of_what_was_said_or_in_one_line(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, is_rehearsed = SWEEPS[kind]
    one = st.tuples(st.sampled_from(keys(kind)), st.sampled_from(PLAUSIBLE) | st.sampled_from(WRITTEN))
    assignments = [f"{key}={value}" for key, value in data.draw(st.lists(one, min_size=1, max_size=2))]
    found, message = outcome(planned, name, is_rehearsed, assignments, by=OvernightError)
    if found is None:
        assert message is not None
        assert len(message) < 1000
        return
    # What a resume reads is what was planned.
    path = tmp_path_factory.getbasetemp() / "effective_config.yaml"
    path.write_text(config_text(found[0]), encoding="utf-8")
    assert validate_sweep(read_mapping(path, "a sweep", expand=False), path) == found[0]


FILES = {
    "sweeps/s.yaml": (shipped_config() / "sweeps" / "quickstart.yaml").read_bytes(),
    "datasets/facts.yaml": b"type: closed\npath: facts.jsonl\nmax_items: 3\n",
    "datasets/facts.jsonl": b'{"id": "1", "question": "Who?", "answers": ["Ann"]}\n' * 1,
    "prompts/brief.yaml": b"control: plain.txt\ntreatment: terse.txt\n",
    "prompts/plain.txt": b"You answer questions.\n",
    "prompts/terse.txt": "Du antwortest kurz: \u00e9.\n".encode(),
    "models/tiny.yaml": b"source: tiny.gguf\nfamily: f\nparams_billion: 0.1\nquantization: Q4_0\n"
    b"context_tokens: 2048\n",
    "models/tiny.gguf": b"GGUF and nothing else",
    "presets/night.yaml": b"execution: {engine: {threads: 2}}\nexperiment: {defaults: {temps: [0.5]}}\n",
}
NAMED = [
    "experiment.datasets=[facts]",
    "experiment.defaults.model=tiny",
    "experiment.sweep.prompt_sets=[brief]",
    "experiment.sweep.models=[tiny]",
]


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith(".gguf")])
@effort(0.2)
@given(data=st.data())
def test_a_damaged_file_of_a_project_ends_in_a_plan_or_in_one_line_with_its_name(
    file: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp() / "project"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.draw(damaged(content)) if name == file else content)
    found, message = outcome(project_plan, root, by=OvernightError)
    assert (found is None) == (message is not None)
    if message is not None:
        assert Path(file).stem in message or str(root) in message or message.startswith(("--", "experiment"))


def project_plan(root: Path) -> Any:
    loaded = load_sweep(
        str(root / "sweeps" / "s.yaml"), changes={"limit_items": 1}, assignments=NAMED, preset="night"
    )
    return plan_of(loaded.spec)
