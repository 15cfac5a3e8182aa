"""Scores as files: ``per_item_scores.csv``, and the official SQuAD figures beside it where items have them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overnight.ids import temperature_label
from overnight.records import Condition
from overnight.runs.tables import SCORE_COLUMNS, RowWriter, cell, table_writer
from overnight.scoring.aggregate import ItemScores
from overnight.scoring.squad import SquadTally
from overnight.store.files import write_json


class ScoreTable:
    """Takes the scores of one item and arm after the other; keeps sums, not rows."""

    def __init__(self, table: RowWriter) -> None:
        self._table = table
        self._tallies: dict[tuple[str, Condition, float], SquadTally] = {}
        self.n_rows = 0

    def add(self, scores: ItemScores) -> None:
        """Write one row."""
        self._table.writerow([_cell(scores, column) for column in SCORE_COLUMNS])
        self.n_rows += 1
        if scores.squad_exact is not None and scores.squad_f1 is not None:
            arm = scores.dataset, scores.condition, scores.temp
            self._tallies.setdefault(arm, SquadTally()).add(
                has_answer=bool(scores.answerable), exact=scores.squad_exact, f1=scores.squad_f1
            )

    def squad_record(self) -> dict[str, Any] | None:
        """Return ``squad.json``, or None where no dataset asks what its passage does not answer."""
        datasets = {dataset for (dataset, _, _), tally in self._tallies.items() if tally.n_unanswerable}
        if not datasets:
            return None
        return {
            "schema_version": 1,
            "unit": "per cent",
            "counts": "items; with several draws an item counts by its mean over them; failed draws are left out",
            "abstention": "handed in as the empty string, which the official evaluator takes for 'no answer'",
            "arms": [
                {
                    "dataset": dataset,
                    "condition": condition.value,
                    "temp": temperature,
                    **tally.figures(),
                }
                for (dataset, condition, temperature), tally in self._tallies.items()
                if dataset in datasets
            ],
        }


def _cell(scores: ItemScores, column: str) -> Any:
    return temperature_label(scores.temp) if column == "temp" else cell(getattr(scores, column))


@contextmanager
def writing_scores(scores: Path, squad: Path) -> Iterator[ScoreTable]:
    """Give a table of scores; both files are written when the block ends well.

    Figures of an earlier scoring do not stay beside scores that have none.
    """
    with table_writer(scores, SCORE_COLUMNS) as rows:
        table = ScoreTable(rows)
        yield table
    record = table.squad_record()
    if record is None:
        squad.unlink(missing_ok=True)
    else:
        write_json(squad, record)
