"""The formats in which questions come, each with its reader."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overnight.datasets.formats.chats import chat_row, read_chats
from overnight.datasets.formats.items import read_items_file
from overnight.datasets.formats.nq_open import nq_open_row, read_nq_open
from overnight.datasets.formats.prompts import read_prompts
from overnight.datasets.formats.squad import read_squad, squad_row
from overnight.datasets.formats.svamp import read_svamp, svamp_row
from overnight.datasets.formats.table import read_csv, read_jsonl, table_row
from overnight.datasets.formats.texts import read_texts, text_row
from overnight.datasets.formats.triviaqa import read_triviaqa, read_triviaqa_tsv, triviaqa_row
from overnight.datasets.formats.truthfulqa import read_truthfulqa, truthfulqa_row
from overnight.datasets.rows import Place, Row
from overnight.spec.dataset import DatasetFormat, DatasetSpec

FileReader = Callable[[DatasetSpec, Path], Iterator[Row]]
RowReader = Callable[[DatasetSpec, Mapping[str, Any], Place], Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How a format is read."""

    file: FileReader
    hub_row: RowReader | None = None  # None: the hub has no such rows
    is_published: bool = True  # a row that stands twice is the publisher's, and is counted; ours is an error


READERS: Mapping[DatasetFormat, Reader] = {
    DatasetFormat.ITEMS: Reader(file=read_items_file, is_published=False),
    DatasetFormat.SQUAD: Reader(file=read_squad, hub_row=squad_row),
    DatasetFormat.TRIVIAQA: Reader(file=read_triviaqa, hub_row=triviaqa_row),
    DatasetFormat.TRIVIAQA_TSV: Reader(file=read_triviaqa_tsv),
    DatasetFormat.NQ_OPEN: Reader(file=read_nq_open, hub_row=nq_open_row),
    DatasetFormat.SVAMP: Reader(file=read_svamp, hub_row=svamp_row),
    DatasetFormat.TRUTHFULQA: Reader(file=read_truthfulqa, hub_row=truthfulqa_row),
    DatasetFormat.CSV: Reader(file=read_csv, is_published=False),
    DatasetFormat.JSONL: Reader(file=read_jsonl, hub_row=table_row, is_published=False),
    DatasetFormat.PROMPTS: Reader(file=read_prompts),
    DatasetFormat.TEXTS: Reader(file=read_texts, hub_row=text_row, is_published=False),
    DatasetFormat.CHATS: Reader(file=read_chats, hub_row=chat_row, is_published=False),
}
