"""The folders of events: who writes which file, and how they are read back.

::

    raw_events/          events-*.parquet  schema.json   rows as they arrived, by user bucket
                         late.parquet                    those that came too late; nothing reads it
    valid_events/        events-*.parquet  schema.json   sorted, unique, every rule holds
    quarantined_events/  events-*.parquet  schema.json   and the rule that each row broke
    catalogue/           catalogue.parquet
    history_prefix/      prefix.parquet
"""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
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
from training.row_rules import Bool, Launches
from training.rules import check_columns, split_rows
from training.schema import TIMESTAMP, EventSchema

SCHEMA_FILE = "schema.json"
CATALOGUE_FILE = "catalogue.parquet"
PREFIX_FILE = "prefix.parquet"
LATE_FILE = "late.parquet"
"""What arrived of a day after it was final, in the columns of events."""
NUM_BUCKETS = 8
"""Files of a day, unless a workspace says otherwise."""

_ANY_TIME = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lateness:
    """From when on what arrives of a day is late, and from when on too late."""

    complete_at: datetime
    final_at: datetime
    """What is received from here on belongs to no day."""


def write_raw(  # noqa: PLR0913 - all but the first four are keywords
    source: EventSource,
    day: date,
    received_before: datetime,
    folder: Path,
    *,
    lateness: Lateness | None = None,
    num_buckets: int = NUM_BUCKETS,
    erased: Container[str] | None = None,
) -> Written:
    """Write a day's events as they arrived before an instant; raises NoDataError when none did.

    A day that the source knows to be empty is written empty. Rows of ``erased`` users are left out
    before anything else looks at them. Of what the source holds by now, what arrived too late goes
    into a file that nothing reads. Figures count events received once the day was complete:
    ``late`` altogether, ``late_taken`` those taken in, ``too_late`` once it was final. Without a
    ``lateness`` what is not taken in is too late.
    """
    lateness = lateness or Lateness(received_before, received_before)
    delivered = source.read_day(day, received_before=_ANY_TIME)
    check_columns(delivered, source.schema)
    arrived = _without(erased, delivered)
    is_raw = _is_received_before(arrived, received_before)
    is_early = _is_received_before(arrived, lateness.complete_at)
    # what is taken in is not too late, whatever a caller's instants are
    is_too_late = ~is_raw & ~_is_received_before(arrived, lateness.final_at)
    if arrived.num_rows and not is_raw.any():
        # whether a day may be without events is the source's to say: it raises NoDataError or not
        source.read_day(day, received_before=received_before)
    figures = {
        "late": int((~is_early).sum()),
        "late_taken": int((is_raw & ~is_early).sum()),
        "too_late": int(is_too_late.sum()),
        "erased": delivered.num_rows - arrived.num_rows,
    }
    too_late = arrived.filter(pa.array(is_too_late))
    raw = arrived if is_raw.all() else arrived.filter(pa.array(is_raw)).combine_chunks()
    del delivered, arrived  # a big day is in memory once
    write_raw_parts(raw, source.schema, folder, num_buckets=num_buckets)
    write_parquet(too_late, folder / LATE_FILE)
    _write_schema(source.schema, folder)
    return Written(raw.num_rows, {**Counts.of(raw).figures(), **figures})


def _is_received_before(rows: pa.Table, instant: datetime) -> Bool:
    """Return the rows of an earlier arrival; without one they are for the rules to reject."""
    is_before = pc.less(rows["received_at"], pa.scalar(instant, type=TIMESTAMP))
    found: Bool = is_before.fill_null(fill_value=True).to_numpy()
    return found


def write_valid(
    raw_folder: Path,
    catalogue_folder: Path,
    day: date,
    folder: Path,
    *,
    each_bucket: BucketMap = one_by_one,
) -> Written:
    """Write the events of a day that satisfy every rule; raises NoDataError when none does."""
    split = _Splitter.of(raw_folder, catalogue_folder, day, valid=folder)
    written, _ = split.written(each_bucket)
    require_valid(written, split.schema, day)
    return written


def write_quarantined(
    raw_folder: Path,
    catalogue_folder: Path,
    day: date,
    folder: Path,
    *,
    each_bucket: BucketMap = one_by_one,
) -> Written:
    """Write the events of a day that break a rule, with the first rule each one breaks."""
    split = _Splitter.of(raw_folder, catalogue_folder, day, quarantined=folder)
    return split.written(each_bucket)[1]


def write_split(
    raw_folder: Path,
    catalogue_folder: Path,
    day: date,
    folders: tuple[Path, Path],
    *,
    each_bucket: BucketMap = one_by_one,
) -> tuple[Written, Written]:
    """Write both, valid events into the first folder, in two thirds of the time.

    That none is valid is for ``require_valid`` to refuse.
    """
    valid, quarantined = folders
    split = _Splitter.of(raw_folder, catalogue_folder, day, valid=valid, quarantined=quarantined)
    return split.written(each_bucket)


def require_valid(valid: Written, schema: EventSchema, day: date) -> None:
    """Raise NoDataError, naming the rules that were broken, when no event is valid."""
    if valid.figures["quarantined"] and not valid.rows:
        by_rule: Mapping[str, int] = valid.figures["by_rule"]
        broken = {rule: count for rule, count in by_rule.items() if count}
        raise NoDataError(f"{schema.name} {day}: no event satisfies every rule; broken: {broken}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splitter:
    """Tells the raw events of a bucket apart and writes the kinds that have a folder."""

    raw_folder: Path
    schema: EventSchema
    day: date
    launches: Launches
    num_buckets: int
    valid: Path | None
    quarantined: Path | None

    @classmethod
    def of(
        cls,
        raw_folder: Path,
        catalogue_folder: Path,
        day: date,
        *,
        valid: Path | None = None,
        quarantined: Path | None = None,
    ) -> "_Splitter":
        return cls(
            raw_folder=raw_folder,
            schema=read_schema(raw_folder),
            day=day,
            launches=Launches.of(read_catalogue(catalogue_folder)),
            num_buckets=len(part_paths(raw_folder)),
            valid=valid,
            quarantined=quarantined,
        )

    def written(self, each_bucket: BucketMap) -> tuple[Written, Written]:
        """Write every bucket; return what there is of valid and of quarantined events."""
        counts = Counts.total(each_bucket(self.write, self.num_buckets))
        for folder in (self.valid, self.quarantined):
            if folder:
                _write_schema(self.schema, folder)
        by_rule = dict(counts.by_rule)
        figures = {"quarantined": counts.quarantined, "duplicates": counts.duplicates}
        return (
            Written(counts.rows, {**counts.figures(), **figures, "by_rule": by_rule}),
            Written(counts.quarantined, {"rows": counts.quarantined, "by_rule": by_rule}),
        )

    def write(self, bucket: int) -> Counts:
        """Write one bucket; without a folder for valid events they are not counted."""
        raw, num_own = read_with_rivals(self.raw_folder, self.schema, bucket)
        split = split_rows(
            raw, schema=self.schema, day=self.day, launches=self.launches, num_own=num_own
        )
        if self.quarantined:
            write_parquet(split.quarantined, self.quarantined / part_file(bucket))
        if self.valid is None:
            return Counts.of(split.quarantined, split)
        write_parquet(split.coded_valid, self.valid / part_file(bucket))
        return Counts.of(split.coded_valid, split)


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


def num_too_late(folder: Path) -> int:
    """Return how many rows of a folder of raw events came too late; earlier releases kept none."""
    path = folder / LATE_FILE
    return int(pq.read_metadata(path).num_rows) if path.is_file() else 0


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
