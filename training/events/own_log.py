"""Somebody's own event log: Parquet or CSV files, read as a mapping says.

::

    file ──► rows of the day ──► row_events ──► events of the day

A row never goes missing: what is no action, or has a value that cannot be read, comes out as an
event that breaks a rule. Only rows without a usable time belong to no day; ``days`` counts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from lake.days import end_of, start_of
from lake.digests import digest_file, digest_json
from training.errors import NoDataError, SourceError
from training.events import columns
from training.events.day_rows import DayRows, FileDays
from training.events.log_files import LogFile, log_files
from training.events.mapping import LogMapping
from training.events.own_catalogue import (
    catalogue_before,
    described_items,
    item_columns,
    item_rows,
    seen_items,
)
from training.events.row_events import ROW, row_events, source_columns
from training.events.source import PREFIX_SCHEMA
from training.schema import EventSchema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OwnLog:
    """An ``EventSource`` over files and a mapping."""

    name = "parquet"
    schema: EventSchema

    def __init__(self, mapping: LogMapping) -> None:
        """Look at the files' columns; raises SourceError when files or columns are missing."""
        self.mapping = mapping
        self.schema = mapping.schema
        self.files = log_files(mapping.events.files)
        named = source_columns(mapping)
        self._rows = DayRows(self.files, named, mapping.events.occurred_at)
        for file in self.files:
            file.require(named)
            file.try_out(lambda rows: row_events(rows.with_row_index(ROW), mapping))
        described = mapping.catalogue.files
        self._catalogue_files = log_files(described) if described else ()
        for file in self._catalogue_files:
            file.require(item_columns(mapping.catalogue))
            file.try_out(lambda rows: item_rows(rows, mapping.catalogue, _EPOCH))
        world = mapping.world
        self.first_day: date = world.first_day or min(self._found_days)
        self.last_day: date = world.last_day or max(self._found_days)

    @property
    def days(self) -> tuple[FileDays, ...]:
        """When the rows of every file occurred."""
        return self._rows.days

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
        """Return what the mapping says of rows, and the digests of the files."""
        return {
            "name": self.name,
            "mapping": self.mapping.content(),
            "days": [self.first_day.isoformat(), self.last_day.isoformat()],
            "events": self._digests,
            "catalogue": _digests(self._catalogue_files),
        }

    def fingerprint(self, day: date) -> str:
        """Return a digest of the files of events and the day."""
        return digest_json({"files": self._digests, "day": day.isoformat()})

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
        found = self._rows.numbered(day) if is_numbered else self._rows.of(day)
        for file, rows in found:
            yield file, row_events(rows, self.mapping).filter(is_here)

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
        for file in self.files:
            for rows in file.frames([events.item_id, events.occurred_at.column]):
                seen = rows.select(
                    item_id=columns.identifiers(rows.schema, events.item_id),
                    occurred_at=columns.instants(rows.schema, events.occurred_at),
                )
                yield seen.filter(pl.col("occurred_at").is_between(begins, ends, closed="left"))

    @cached_property
    def _digests(self) -> list[str]:
        return _digests(self.files)


def _digests(files: Sequence[LogFile]) -> list[str]:
    """Return the digests of files, each content once: neither names nor copies matter."""
    return sorted({digest_file(file.path) for file in files})
