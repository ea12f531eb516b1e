"""The folders of events: who writes which file, and how they are read back.

::

    raw_events/          events-*.parquet  schema.json   rows as they arrived, by user bucket
    valid_events/        events-*.parquet  schema.json   sorted, unique, every rule holds
    quarantined_events/  events-*.parquet  schema.json   and the rule that each row broke
    catalogue/           catalogue.parquet
    history_prefix/      prefix.parquet
"""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.atomic import replace_json
from lake.lake import Written
from training.buckets import BucketMap, one_by_one
from training.errors import ContractError, NoDataError, SourceError
from training.events.counts import Counts
from training.events.parts import (
    iterate_parts,
    part_file,
    part_paths,
    read_with_rivals,
    write_parquet,
    write_raw_parts,
)
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA, EventSource
from training.row_rules import Launches
from training.rules import SplitEvents, check_columns, split_rows
from training.schema import TIMESTAMP, EventSchema

SCHEMA_FILE = "schema.json"
CATALOGUE_FILE = "catalogue.parquet"
PREFIX_FILE = "prefix.parquet"
NUM_BUCKETS = 8
"""Files of a day, unless a workspace says otherwise."""

_ANY_TIME = datetime(9999, 12, 31, tzinfo=UTC)


def write_raw(
    source: EventSource,
    day: date,
    received_before: datetime,
    folder: Path,
    *,
    num_buckets: int = NUM_BUCKETS,
    erased: Container[str] | None = None,
) -> Written:
    """Write a day's events as they arrived before an instant; raises NoDataError when none did.

    A day that the source knows to be empty is written empty. What the source holds by now and
    arrived later is counted, as ``late``, and left out; so are the rows of ``erased`` users, before
    anything else looks at them.
    """
    delivered = source.read_day(day, received_before=_ANY_TIME)
    check_columns(delivered, source.schema)
    arrived = _without(erased, delivered)
    cut = pa.scalar(received_before, type=TIMESTAMP)
    received_at = arrived["received_at"]
    is_early = pc.less(received_at, cut)
    # a row without an instant of arrival is for the rules to reject, where it is counted
    is_raw = pc.or_kleene(is_early, received_at.is_null())
    raw = arrived if pc.all(is_raw).as_py() else arrived.filter(is_raw).combine_chunks()
    num_late = arrived.num_rows - raw.num_rows
    if arrived.num_rows and not raw.num_rows:
        raise NoDataError(f"{source.name} {day}: no events arrived before {received_before}")
    num_erased = delivered.num_rows - arrived.num_rows
    del delivered, arrived, received_at, is_early, is_raw  # a big day is in memory once
    write_raw_parts(raw, source.schema, folder, num_buckets=num_buckets)
    _write_schema(source.schema, folder)
    figures = {**Counts.of(raw).figures(), "late": num_late, "erased": num_erased}
    return Written(raw.num_rows, figures)


def write_valid(
    raw_folder: Path,
    catalogue_folder: Path,
    day: date,
    folder: Path,
    *,
    each_bucket: BucketMap = one_by_one,
) -> Written:
    """Write the events of a day that satisfy every rule; raises NoDataError when none does."""
    split = _Splitter.of(raw_folder, catalogue_folder, day)
    counts = Counts.total(each_bucket(partial(split.write_valid, folder), split.num_buckets))
    if counts.quarantined and not counts.rows:
        broken = {rule: count for rule, count in counts.by_rule.items() if count}
        raise NoDataError(
            f"{split.schema.name} {day}: no event satisfies every rule; broken: {broken}"
        )
    _write_schema(split.schema, folder)
    figures = {"quarantined": counts.quarantined, "duplicates": counts.duplicates}
    return Written(counts.rows, {**counts.figures(), **figures})


def write_quarantined(
    raw_folder: Path,
    catalogue_folder: Path,
    day: date,
    folder: Path,
    *,
    each_bucket: BucketMap = one_by_one,
) -> Written:
    """Write the events of a day that break a rule, with the first rule each one breaks."""
    split = _Splitter.of(raw_folder, catalogue_folder, day)
    written = each_bucket(partial(split.write_quarantined, folder), split.num_buckets)
    _write_schema(split.schema, folder)
    counts = Counts.total(written)
    return Written(counts.quarantined, {"rows": counts.quarantined, "by_rule": counts.by_rule})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splitter:
    """Tells the raw events of a bucket apart and writes one kind of them."""

    raw_folder: Path
    schema: EventSchema
    day: date
    launches: Launches
    num_buckets: int

    @classmethod
    def of(cls, raw_folder: Path, catalogue_folder: Path, day: date) -> "_Splitter":
        return cls(
            raw_folder=raw_folder,
            schema=read_schema(raw_folder),
            day=day,
            launches=Launches.of(read_catalogue(catalogue_folder)),
            num_buckets=len(part_paths(raw_folder)),
        )

    def write_valid(self, folder: Path, bucket: int) -> Counts:
        split = self._split(bucket)
        write_parquet(split.coded_valid, folder / part_file(bucket))
        return Counts.of(split.coded_valid, split)

    def write_quarantined(self, folder: Path, bucket: int) -> Counts:
        split = self._split(bucket)
        write_parquet(split.quarantined, folder / part_file(bucket))
        return Counts.of(split.quarantined, split)

    def _split(self, bucket: int) -> SplitEvents:
        raw, num_own = read_with_rivals(self.raw_folder, self.schema, bucket)
        return split_rows(
            raw, schema=self.schema, day=self.day, launches=self.launches, num_own=num_own
        )


def write_catalogue(source: EventSource, as_of: datetime, folder: Path) -> Written:
    """Write what is known of items before an instant; raises NoDataError when it is nothing."""
    catalogue = source.catalogue(as_of=as_of)
    _check_schema(catalogue, CATALOGUE_SCHEMA, f"catalogue of {source.name}")
    if catalogue.num_rows == 0:
        raise NoDataError(f"{source.name}: the catalogue is empty before {as_of}")
    write_parquet(catalogue, folder / CATALOGUE_FILE)
    figures = {
        "rows": catalogue.num_rows,
        "items": pc.count_distinct(catalogue["item_id"]).as_py(),
        "by_kind": _counts(catalogue["kind"]),
    }
    return Written(catalogue.num_rows, figures)


def write_prefix(
    source: EventSource, folder: Path, *, erased: Container[str] | None = None
) -> Written:
    """Write users' histories of which only the order is known; often there are none."""
    delivered = source.history_prefix()
    _check_schema(delivered, PREFIX_SCHEMA, f"history prefix of {source.name}")
    prefix = _without(erased, delivered)
    write_parquet(prefix, folder / PREFIX_FILE)
    figures = {**prefix_figures(prefix), "erased": delivered.num_rows - prefix.num_rows}
    return Written(prefix.num_rows, figures)


def read_schema(folder: Path) -> EventSchema:
    """Return the schema of a folder's events."""
    return EventSchema.from_json(json.loads(_present(folder / SCHEMA_FILE).read_bytes()))


def read_events(folder: Path, columns: Sequence[str] | None = None) -> tuple[EventSchema, pa.Table]:
    """Return the schema and the events of a folder; quarantined ones have ``rule`` as well."""
    return read_schema(folder), pa.concat_tables(iterate_parts(folder, columns))


def scan_events(folder: Path) -> tuple[EventSchema, pl.LazyFrame]:
    """Return the schema and the events of a folder, of which a query reads what it needs."""
    return read_schema(folder), pl.scan_parquet(part_paths(folder), glob=False)


def read_catalogue(folder: Path) -> pa.Table:
    """Return the catalogue of a folder, ``CATALOGUE_SCHEMA``."""
    table = pq.read_table(_present(folder / CATALOGUE_FILE))
    _check_schema(table, CATALOGUE_SCHEMA, str(folder))
    return table


def read_prefix(folder: Path) -> pa.Table:
    """Return the history prefix of a folder, ``PREFIX_SCHEMA``."""
    table = pq.read_table(_present(folder / PREFIX_FILE))
    _check_schema(table, PREFIX_SCHEMA, str(folder))
    return table


def _write_schema(schema: EventSchema, folder: Path) -> None:
    replace_json(folder / SCHEMA_FILE, schema.to_json())


def _without(erased: Container[str] | None, rows: pa.Table) -> pa.Table:
    """Return the rows of other users; one without a user stays, for the rules to reject."""
    if erased is None:
        return rows  # to list the users of a large day takes a second
    users = pc.unique(rows["user_id"]).drop_null().to_pylist()
    gone = [user for user in users if user in erased]
    if not gone:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["user_id"], value_set=pa.array(gone, pa.string()))))


def event_figures(events: pa.Table) -> dict[str, Any]:
    """Return what is counted of raw or valid events."""
    return Counts.of(events).figures()


def prefix_figures(prefix: pa.Table) -> dict[str, Any]:
    """Return what is counted of a history prefix."""
    items = pc.sum(pc.list_value_length(prefix["item_ids"])).as_py() or 0
    return {"users": prefix.num_rows, "items": items}


def _counts(column: "pa.ChunkedArray[Any]") -> dict[str, int]:
    """Return how often each value occurs, the commonest first."""
    counted = pl.Series("value", column).cast(pl.String).value_counts()
    return {
        str(value): n
        for value, n in counted.sort(["count", "value"], descending=[True, False]).iter_rows()
    }


def _check_schema(table: pa.Table, want: pa.Schema, what: str) -> None:
    if not table.schema.equals(want):
        raise ContractError(f"{what}: want columns {want}, got {table.schema}")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise SourceError(f"{path} is missing: build its folder again")
    return path
