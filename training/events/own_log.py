"""Somebody's own event log: Parquet or CSV files, read as a mapping says.

::

    file ──► frames ──► rows of the day ──► row_events ──► events of the day

A file of many days is told apart by day when a second one is asked for.

A row never goes missing: what is no action, or has a value that cannot be read, comes out as an
event that breaks a rule. Only rows without a usable time belong to no day; ``days`` counts them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.days import end_of, start_of
from lake.digests import digest_file, digest_json
from training.errors import NoDataError, SourceError
from training.events import columns
from training.events.day_split import DaySplit
from training.events.file_columns import FileColumns, grouped, kinds, refused
from training.events.file_facts import ROW, FileDays, days_of, numbered
from training.events.log_files import LogFile, log_files
from training.events.mapping import InstantColumn, LogMapping
from training.events.own_catalogue import (
    catalogue_before,
    described_items,
    item_columns,
    item_rows,
    seen_items,
)
from training.events.row_events import row_events, source_columns
from training.events.source import PREFIX_SCHEMA
from training.schema import EventSchema

# a reader may skip what a file says lies elsewhere; zones move a time by less than a day
_MARGIN = timedelta(days=1)
# a file of so few days is read again for each
_FEW_DAYS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OwnLog:
    """An ``EventSource`` over files and a mapping."""

    name = "parquet"
    schema: EventSchema

    def __init__(self, mapping: LogMapping, *, cache: Path | None = None) -> None:
        """Look at the files' columns; raises SourceError when files or columns are missing.

        What is known of files is kept below ``cache``; removing it costs a pass over them.
        """
        self.mapping = mapping
        self._cache = cache
        self._scanned: set[Path] = set()
        self._splits: dict[Path, DaySplit] = {}
        self.schema = mapping.schema
        self.files = log_files(mapping.events.files)
        self._columns = source_columns(mapping)
        self._require_readable()
        described = mapping.catalogue.files
        self._catalogue_files = log_files(described) if described else ()
        for file in self._catalogue_files:
            file.require(item_columns(mapping.catalogue))
            file.try_out(lambda rows: item_rows(rows, mapping.catalogue, _EPOCH))
        world = mapping.world
        self.first_day: date = world.first_day or min(self._found_days)
        self.last_day: date = world.last_day or max(self._found_days)

    def _require_readable(self) -> None:
        """Raise SourceError, with the columns of both, at the first file that cannot be read."""
        faults = {file.path: self._fault(file) for file in self.files}
        for file in self.files:
            if fault := faults[file.path]:
                sound = next((one for one in self.files if not faults[one.path]), None)
                expected = f"the mapping's columns {', '.join(self._columns)}"
                if sound:
                    shown = kinds(sound.stored).items()
                    expected = (
                        f"{', '.join(f'{n} {kind}' for n, kind in shown)} ({sound.path.name})"
                    )
                raise refused(str(file.path), fault, expected=expected, found=kinds(file.stored))

    def _fault(self, file: LogFile) -> str | None:
        try:
            file.require(self._columns)
            file.try_out(self._tried)
        except SourceError as error:
            # the refusal lists the columns of the file itself
            return str(error).removeprefix(f"{file.path}: ").partition("; there are: ")[0]
        return None

    @property
    def columns_read(self) -> Sequence[str]:
        """The columns that events are made of."""
        return self._columns

    def columns_on(self, day: date) -> Sequence[FileColumns]:
        """Return the columns of the files that have rows of a day."""
        files = (one.file for one in self.days if day in one.rows_by_day)
        return grouped((file.path.name, kinds(file.stored)) for file in files)

    def _tried(self, rows: pl.DataFrame) -> pl.DataFrame:
        return row_events(rows.select(self._columns).with_row_index(ROW), self.mapping)

    @cached_property
    def days(self) -> tuple[FileDays, ...]:
        """When the rows of every file occurred."""
        spec = self.mapping.events.occurred_at
        return tuple(days_of(file, spec, cache=self._cache) for file in self.files)

    @cached_property
    def _found_days(self) -> set[date]:
        found = {day for one in self.days for day in one.rows_by_day}
        if not found:
            spec = self.mapping.events.occurred_at
            raise SourceError(
                f"{self.name}: no value of column {spec.column!r} is a time between 1970 and 2100 "
                f"when read as {spec.unit.value!r}; text that names no zone needs `zone`"
            )
        return found

    def identity(self) -> Mapping[str, Any]:
        """Return what the mapping says of rows, and the first day; files make no other source."""
        return {
            "name": self.name,
            "mapping": self.mapping.content(),
            "first_day": self.first_day.isoformat(),
        }

    def fingerprint(self, day: date) -> str:
        """Return a digest of the files that have rows of the day."""
        return self._digest_of_files(lambda found: found == day)

    def catalogue_fingerprint(self, *, as_of: datetime) -> str:
        """Return a digest of what the catalogue is made of before an instant."""
        if self._catalogue_files:
            return self._described_digest
        last = (as_of - timedelta(microseconds=1)).date()
        return self._digest_of_files(lambda found: self.first_day <= found <= last)

    @cached_property
    def _described_digest(self) -> str:
        return digest_json(sorted({digest_file(one.path) for one in self._catalogue_files}))

    def _digest_of_files(self, is_meant: Callable[[date], bool]) -> str:
        """Return one digest of files by their days: neither names nor copies of files matter."""
        return digest_json(
            sorted({one.digest for one in self.days if any(map(is_meant, one.rows_by_day))})
        )

    def read_day(self, day: date, *, received_before: datetime) -> pa.Table:
        """Return the events of a UTC day; where the log does not say, they arrive as they occur.

        There may be none on a day of the log whose mapping says that days may be empty.
        """
        wanted, frames = self.schema.arrow_schema, []
        is_inside = self.first_day <= day <= self.last_day
        if is_inside:
            frames = [rows for _, rows in self.located(day, received_before=received_before)]
        if not any(rows.height for rows in frames):
            if is_inside and self.mapping.world.empty_days:
                return wanted.empty_table()
            raise NoDataError(
                f"{self.name}: no events on {day} before {received_before}; the log lasts from "
                f"{self.first_day} to {self.last_day} (a sparse log says `empty_days = true` in "
                "[world])"
            )
        return pl.concat(frames).select(wanted.names).to_arrow().cast(wanted).combine_chunks()

    def located(
        self, day: date, *, received_before: datetime, is_numbered: bool = False
    ) -> Iterator[tuple[LogFile, pl.DataFrame]]:
        """Yield the events of a day, file by file; ``ROW`` holds only where ``is_numbered``."""
        # an event that does not say when it arrived is for the rules to refuse
        is_here = (pl.col("received_at") < received_before).fill_null(value=True)
        for one in self.days:
            if day in one.rows_by_day:
                rows = self._rows(one, day, is_numbered=is_numbered)
                yield one.file, row_events(rows, self.mapping).filter(is_here)

    def _rows(self, known: FileDays, day: date, *, is_numbered: bool) -> pl.DataFrame:
        """Return a file's rows of a day: by a scan the first time, then by telling all apart."""
        file, spec = known.file, self.mapping.events.occurred_at
        occurred = columns.instants(file.nothing.schema, spec)
        if len(known.rows_by_day) > _FEW_DAYS and file.path in self._scanned:
            if file.path not in self._splits:
                frames = numbered(file.frames(self._columns))
                split = DaySplit(frames, occurred, cache=self._cache)
                known.require_unchanged()
                self._splits[file.path] = split
            return self._splits[file.path].rows(day)
        self._scanned.add(file.path)
        only = None if is_numbered else _only_around(file, spec, day)
        on_day = occurred.is_between(start_of(day), end_of(day), closed="left")
        frames = numbered(file.frames(self._columns, only=only))
        found = [near for rows in frames if (near := rows.filter(on_day)).height]
        known.require_unchanged()
        return pl.concat(found)

    def catalogue(self, *, as_of: datetime) -> pa.Table:
        """Return the items that the catalogue, or without one the log, knows before an instant."""
        return catalogue_before(self._items, as_of)

    def history_prefix(self) -> pa.Table:
        """Return no rows: whatever is known has a time, and so is an event."""
        return PREFIX_SCHEMA.empty_table()

    @cached_property
    def _items(self) -> pl.DataFrame:
        begins, spec = start_of(self.first_day), self.mapping.catalogue
        if self._catalogue_files:
            return described_items(self._catalogue_files, spec, begins=begins)
        assert spec.kind is not None
        return seen_items(self._seen(begins, end_of(self.last_day)), kind=spec.kind)

    def _seen(self, begins: datetime, ends: datetime) -> Iterator[pl.DataFrame]:
        events = self.mapping.events
        for known in self.days:
            for rows in known.file.frames([events.item_id, events.occurred_at.column]):
                seen = rows.select(
                    item_id=columns.identifiers(rows.schema, events.item_id),
                    occurred_at=columns.instants(rows.schema, events.occurred_at),
                )
                yield seen.filter(pl.col("occurred_at").is_between(begins, ends, closed="left"))
            known.require_unchanged()


def _only_around(file: LogFile, spec: InstantColumn, day: date) -> pc.Expression | None:
    """Return a bound that lets a reader skip parts of the file, or None where it cannot."""
    kind = file.schema.field(spec.column).type
    bounds = (start_of(day) - _MARGIN, end_of(day) + _MARGIN)
    low: pa.Scalar[Any]
    high: pa.Scalar[Any]
    if isinstance(kind, pa.TimestampType):
        local = (one if kind.tz else one.replace(tzinfo=None) for one in bounds)
        low, high = (pa.scalar(one, pa.timestamp("us", kind.tz)).cast(kind) for one in local)
    elif pa.types.is_signed_integer(kind) and spec.unit in columns.PER_SECOND:
        second = columns.PER_SECOND[spec.unit]
        low, high = (pa.scalar((one - _EPOCH) // timedelta(seconds=1) * second) for one in bounds)
    else:
        return None
    return (pc.field(spec.column) >= low) & (pc.field(spec.column) < high)
