"""What days add to the vocabulary's items: events by item, and which items are gone.

::

    vocabulary       2026-01-01   A  B           rows never move, so the counts of a day
                     2026-01-02   A  B  C        line up with those of every later day
    item_statistics  2026-01-01   3  1
                     2026-01-02   0  2  5
    read as of the second day     3  3  5

A day holds its own counts only: late events rewrite their own day's, and no later one. Counts are
of events, which add up over days; tokens do not, where a session crosses midnight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.days import end_of
from lake.lake import Written
from training.contracts import Int64
from training.errors import ContractError, NoDataError
from training.features.catalogue import read_catalogue
from training.tokens.measures import events_by_item
from training.vocabulary import VOCABULARY_FILE, Vocabulary

STATISTICS_FILE = "item_statistics.parquet"
FORMAT_VERSION = 1

_FIELDS: list[Any] = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("num_events", pa.int64(), nullable=False),
    pa.field("is_retired", pa.bool_(), nullable=False),
]
_SCHEMA = pa.schema(_FIELDS, metadata={"format_version": str(FORMAT_VERSION)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStatistics:
    """Items by vocabulary row, as of the end of a day."""

    item_ids: pa.StringArray
    num_events: Int64
    """Events in tokens up to the day."""
    is_retired: npt.NDArray[np.bool_]
    """The catalogue holds no description that is still valid; the row stays."""


def write_item_statistics(
    vocabulary_folder: Path, catalogue_folder: Path, token_folder: Path, day: date, folder: Path
) -> Written:
    """Write one row per item of the day's vocabulary, in its order; return rows and figures."""
    vocabulary = Vocabulary.from_parquet(vocabulary_folder / VOCABULARY_FILE)
    ids: Any = vocabulary.table["item_id"].combine_chunks()
    items, counts = events_by_item(token_folder)
    place = pc.index_in(ids, value_set=items).fill_null(len(items)).to_numpy()
    num_events = np.append(counts, 0)[place]
    is_retired = _is_retired(ids, catalogue_folder, day)
    table = pa.table([ids, pa.array(num_events), pa.array(is_retired)], schema=_SCHEMA)
    pq.write_table(table, folder / STATISTICS_FILE)
    figures = {
        "items": len(ids),
        "retired_items": int(is_retired.sum()),
        "items_with_events": int((num_events > 0).sum()),
        # a vocabulary is history: an item that a later catalogue brought into the day has no row
        "events_without_row": int(counts.sum() - num_events.sum()),
    }
    return Written(len(ids), figures)


def read_item_statistics(folders: Sequence[Path]) -> ItemStatistics:
    """Return the statistics as of the last day, given all days up to it, the newest one last.

    Raises ContractError where the newest day's items do not begin with those of another.
    """
    if not folders:
        raise NoDataError("item statistics: want at least one day, got none")
    tables = [_read(folder / STATISTICS_FILE) for folder in folders]
    newest = tables[-1]
    ids: Any = newest["item_id"].combine_chunks()
    total = np.zeros(len(ids), dtype=np.int64)
    for folder, table in zip(folders, tables, strict=True):
        if not ids[: table.num_rows].equals(table["item_id"].combine_chunks()):
            raise ContractError(f"item statistics {folder}: {folders[-1]} does not begin with them")
        total[: table.num_rows] += table["num_events"].to_numpy()
    return ItemStatistics(
        item_ids=ids, num_events=total, is_retired=newest["is_retired"].to_numpy()
    )


def _is_retired(ids: pa.StringArray, catalogue_folder: Path, day: date) -> npt.NDArray[np.bool_]:
    as_of = end_of(day)
    catalogue = read_catalogue(catalogue_folder, as_of=as_of)
    gone = pa.array(np.append(catalogue.ended_by(as_of), [True]))
    place = pc.index_in(ids, value_set=pa.array(catalogue.item_ids, pa.string()))
    of_items: Any = gone.take(place.fill_null(len(catalogue.item_ids)))
    retired: npt.NDArray[np.bool_] = of_items.to_numpy(zero_copy_only=False)
    return retired


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        table = file.read()
    version = (table.schema.metadata or {}).get(b"format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise ContractError(f"item statistics {path}: read format {FORMAT_VERSION}, got {version}")
    if not table.schema.equals(_SCHEMA):
        raise ContractError(f"item statistics {path}: want {_SCHEMA}, got {table.schema}")
    return table
