"""External item ids and the rows of the model's tables that stand for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.lake import Written
from training.contracts import Int32
from training.errors import ContractError

VOCABULARY_FILE = "vocabulary.parquet"
FORMAT_VERSION = 1

_FIELDS: list[Any] = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("first_seen", pa.date32(), nullable=False),
]
_SCHEMA = pa.schema(
    _FIELDS,
    metadata={"format_version": str(FORMAT_VERSION)},
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Item ids by row: holding one is proof that no id repeats.

    It only grows: a row once given to an item stays its row, so a model's weight rows stay valid.
    Special rows (an unknown item, the begin of a history) are the model's business.
    """

    table: pa.Table
    """Columns ``item_id`` string, ``first_seen`` date32; the position is the row."""

    def __post_init__(self) -> None:
        """Check columns, nulls and repetition; raises ContractError."""
        if not self.table.schema.equals(_SCHEMA):
            raise ContractError(f"vocabulary schema: want {_SCHEMA}, got {self.table.schema}")
        for name in _SCHEMA.names:
            if self.table[name].null_count:
                raise ContractError(f"vocabulary {name}: {self.table[name].null_count} nulls")
        counts: Any = pc.value_counts(self.table["item_id"].combine_chunks())
        repeated = counts.field("values").filter(pc.greater(counts.field("counts"), pa.scalar(1)))
        if len(repeated):
            raise ContractError(f"vocabulary item_id repeats: {repeated[0].as_py()!r}")

    @classmethod
    def empty(cls) -> "Vocabulary":
        """Return a vocabulary without items."""
        return cls(_SCHEMA.empty_table())

    @classmethod
    def from_parquet(cls, path: Path) -> "Vocabulary":
        """Read what ``write`` wrote; raises ContractError."""
        try:
            with pq.ParquetFile(path) as file:
                table = file.read().combine_chunks()
            table.validate(full=True)
        except (OSError, pa.ArrowException) as error:
            raise ContractError(
                f"vocabulary {path}: missing or damaged ({error}): restore it from a copy"
            ) from error
        version = (table.schema.metadata or {}).get(b"format_version", b"none").decode()
        if version != str(FORMAT_VERSION):
            raise ContractError(f"vocabulary {path}: read format {FORMAT_VERSION}, got {version}")
        return cls(table)

    def write(self, path: Path) -> None:
        """Write the rows; equal vocabularies give equal bytes."""
        pq.write_table(self.table.combine_chunks(), path)

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self.table.num_rows)

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Item ids by row."""
        ids: list[Any] = self.table["item_id"].to_pylist()
        return tuple(ids)

    def grown(self, new_ids: Iterable[str], day: date) -> "Vocabulary":
        """Return this vocabulary followed by the ids it does not hold yet, sorted."""
        candidates = pa.array(sorted(set(new_ids)), pa.string())
        unseen = candidates.filter(
            pc.invert(pc.is_in(candidates, value_set=self.table["item_id"].combine_chunks()))
        )
        first_seen = pa.array(np.full(len(unseen), np.datetime64(day, "D")), pa.date32())
        added = pa.table([unseen, first_seen], schema=_SCHEMA)
        return Vocabulary(pa.concat_tables([self.table, added]).combine_chunks())

    def rows(self, ids: Sequence[str] | pa.StringArray) -> Int32:
        """Return the row of each id, int32; raises ContractError naming the first unknown id."""
        wanted = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
        found = pc.index_in(wanted, value_set=self.table["item_id"].combine_chunks())
        if found.null_count:
            unknown = wanted.filter(found.is_null())
            raise ContractError(
                f"vocabulary: {len(unknown)} of {len(wanted)} ids are unknown, "
                f"the first is {unknown[0].as_py()!r}"
            )
        rows: Int32 = found.to_numpy()
        return rows


def write_vocabulary(
    catalogue_folder: Path, previous_folder: Path | None, day: date, folder: Path
) -> Written:
    """Write the previous vocabulary, grown by the catalogue's items; return rows and figures."""
    previous = (
        Vocabulary.from_parquet(previous_folder / VOCABULARY_FILE)
        if previous_folder
        else Vocabulary.empty()
    )
    with pq.ParquetFile(catalogue_folder / "catalogue.parquet") as file:
        catalogue_ids: list[Any] = file.read(["item_id"])["item_id"].unique().to_pylist()
    vocabulary = previous.grown(catalogue_ids, day)
    vocabulary.write(folder / VOCABULARY_FILE)
    return Written(
        len(vocabulary),
        {"items": len(vocabulary), "new_items": len(vocabulary) - len(previous)},
    )
