"""``analysis.json``: the analysis of a run as figures and reports take it, so that it is made once."""

import json
from collections.abc import Sequence
from functools import cache

from pydantic import TypeAdapter, ValidationError

import overnight
from overnight.errors import StoreError
from overnight.ids import digest, file_digest
from overnight.planning.plan import Plan
from overnight.store.files import read_json, write_text
from overnight.store.run_folder import RunFolder
from overnight.uncertainty.analysis import Analysis

SCHEMA_VERSION = 1


def inputs_digest(folder: RunFolder, plan: Plan, slugs: Sequence[str]) -> str:
    """Return the digest of everything that an analysis of these trials is made of, this version included."""
    datasets = dict.fromkeys(part.dataset for part in plan.parts if part.dataset is not None)
    files = [folder.effective_config, *map(folder.items, datasets)]
    for slug in slugs:
        trial = folder.trial(slug)
        files += [trial.uncertainty, trial.uncertainty_columns, trial.journal]
    found = [
        [file.relative_to(folder.path).as_posix(), file_digest(file) if file.is_file() else None]
        for file in files
    ]
    return digest([overnight.__version__, list(slugs), found])


def write_analysis_file(folder: RunFolder, analysis: Analysis, inputs: str) -> None:
    """Write an analysis beside the digest of what it was made of."""
    value = _analyses().dump_python(analysis, mode="json")
    record = {"schema_version": SCHEMA_VERSION, "inputs": inputs, "analysis": value}
    write_text(folder.analysis, json.dumps(record, allow_nan=False) + "\n")  # long, and nobody reads it


def read_analysis_file(folder: RunFolder, inputs: str) -> Analysis | None:
    """Return the analysis that was made of these inputs; None where there is none that can be read."""
    try:
        value = read_json(folder.analysis)
    except StoreError:
        return None
    if not isinstance(value, dict) or (value.get("schema_version"), value.get("inputs")) != (
        SCHEMA_VERSION,
        inputs,
    ):
        return None
    try:
        return _analyses().validate_python(value.get("analysis"))
    except ValidationError:
        return None


@cache
def _analyses() -> TypeAdapter[Analysis]:
    return TypeAdapter(Analysis)
