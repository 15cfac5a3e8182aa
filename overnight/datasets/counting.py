"""What became of every row of a dataset, from its file to the frozen items."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overnight.errors import UsageError

PREPARATION = "preparation.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCount:
    """The rows of one dataset, step by step."""

    dataset: str
    source: str
    format: str
    rule: str
    max_items: int | None
    n_rows: int  # read
    n_duplicates: int  # of a published file, left out
    n_blank_answers: int  # of a published file, left out of the golds
    n_items: int  # rows that are items, and wanted
    n_not_wanted: int = 0  # items without an answer, where only those with one are asked
    after_max_items: int
    expected_after_limit: int = 0
    after_limit_items: int = 0  # frozen
    n_unanswerable: int = 0  # among the frozen

    def require_sums(self) -> None:
        """Check that every row is accounted for.

        Raises:
            UsageError: a step has another number of rows than the one before it leaves.
        """
        wanted = self.n_items if self.max_items is None else min(self.max_items, self.n_items)
        for step, is_, should_be in (
            (
                "rows that are items or duplicates",
                self.n_items + self.n_not_wanted + self.n_duplicates,
                self.n_rows,
            ),
            ("items after max_items", self.after_max_items, wanted),
            ("items after experiment.limit_items", self.after_limit_items, self.expected_after_limit),
        ):
            if is_ != should_be:
                raise UsageError(
                    f"dataset {self.dataset}: {is_} {step}, {should_be} were expected; "
                    f"{self.source} changed while it was read, or this is a bug: nothing was kept"
                )

    def record(self) -> dict[str, Any]:
        """Return the counts as ``preparation.json`` has them."""
        record = {
            key: value
            for key, value in asdict(self).items()
            if key not in ("dataset", "expected_after_limit")
        }
        if self.max_items == 0:
            record["note"] = "max_items is 0: the dataset was not read and contributes no items"
        return record


def preparation_record(counts: Sequence[DatasetCount], limit_items: int | None) -> dict[str, Any]:
    """Return ``preparation.json``: every dataset's counts, and the sums over them."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "datasets": {count.dataset: count.record() for count in counts},
        "limit_items": limit_items,
        "n_rows": sum(count.n_rows for count in counts),
        "n_items": sum(count.n_items for count in counts),
        "after_max_items": sum(count.after_max_items for count in counts),
        "after_limit_items": sum(count.after_limit_items for count in counts),
    }
