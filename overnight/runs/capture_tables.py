"""The tables of a captured trial, made of what was read of its prompts: no model is needed."""

import json

from overnight.captures.index import write_index
from overnight.captures.lines import read_lines
from overnight.captures.reading import read_captures
from overnight.captures.summary import write_summary
from overnight.captures.table import write_projections
from overnight.ids import custom_id
from overnight.planning.plan import Plan
from overnight.planning.trial import Trial
from overnight.runs.captured import effective_captures
from overnight.store.files import atomic_writer
from overnight.store.run_folder import RunFolder


def write_capture_tables(folder: RunFolder, plan: Plan, trial: Trial) -> int:
    """Write ``captures.jsonl``, the projections, their summary and the index of files; return the rows of projections.

    Prompts come in the order of the plan, not in that in which they were read, so that a resumed run has the same
    tables as one that was never stopped.

    Raises:
        StoreError: the journal or a file of a sequence is damaged.
    """
    files = folder.trial(trial.slug)
    rows = effective_captures(folder, trial.slug)
    (arm,) = trial.arms(plan.conditions)
    with atomic_writer(files.captures) as lines:
        for item in plan.items_of(trial):
            name = custom_id(item.key, arm.condition.value, arm.temperature, 0, item.type.value)
            row = rows.get(name) or {
                "prompt_id": item.item_id,
                "group": item.dataset,
                "prompt": item.question,
                "error": "it was not captured",
            }
            lines.write(json.dumps({k: v for k, v in row.items() if k != "status"}, allow_nan=False) + "\n")
    n_rows = write_projections(files.projections, read_captures(folder.path, files.captures))
    write_summary(files.projection_summary, read_captures(folder.path, files.captures))
    write_index(files.capture_index, folder.path, read_lines(files.captures))
    return n_rows
