"""The rows of a log's files by UTC day, read ahead where days are asked for one after another.

A file that states no order has to be read whole for any of its days: a thousand days of a small log
would read it a thousand times. So the second of two neighbouring days brings those after it along,
as many as together have few rows, and what is held stays bounded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.days import end_of, start_of
from training.events import columns
from training.events.log_files import LogFile
from training.events.mapping import InstantColumn
from training.events.row_events import ROW

AHEAD_ROWS = 1 << 17
"""Most rows of several days that are held at once."""

_ONE_DAY = timedelta(days=1)
# a reader may skip what a file says lies elsewhere; zones move a time by less than a day
_MARGIN = _ONE_DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = "day of the row"

Rows = list[tuple[LogFile, pl.DataFrame]]
"""Rows of a day by file, in the order of the files."""


@dataclass(frozen=True, slots=True)
class FileDays:
    """When the rows of a file occurred."""

    file: LogFile
    rows_by_day: Mapping[date, int]
    num_untimed: int
    """Rows without a usable time."""
    first_untimed: int | None
    """Number of the first of them."""


class DayRows:
    """Some columns of files, by the day of one of them."""

    def __init__(
        self, files: Sequence[LogFile], names: Sequence[str], occurred_at: InstantColumn
    ) -> None:
        """Read nothing yet."""
        self.files = files
        self._names = names
        self._occurred_at = occurred_at
        self._ahead: dict[date, Rows] = {}
        self._asked: date | None = None

    @cached_property
    def days(self) -> tuple[FileDays, ...]:
        """When the rows of every file occurred: one pass over the column of times."""
        return tuple(_days_of(file, self._occurred_at) for file in self.files)

    def of(self, day: date) -> Rows:
        """Return the rows of a day; the column ``ROW`` means nothing."""
        if day not in self._ahead:
            is_next = self._asked is not None and day - self._asked == _ONE_DAY
            last = self._reach(day) if is_next else day
            self._ahead = self._read(day, last, is_narrowed=True)
        self._asked = day
        return self._ahead.pop(day)

    def numbered(self, day: date) -> Rows:
        """Return the rows of a day, with their numbers in the file as ``ROW``."""
        return self._read(day, day, is_narrowed=False)[day]

    def _reach(self, day: date) -> date:
        """Return the last of the days from ``day`` on that together have few rows."""
        end = max((max(one.rows_by_day, default=day) for one in self.days), default=day)
        last, num_rows = day, 0
        while last <= end:
            num_rows += sum(one.rows_by_day.get(last, 0) for one in self.days)
            if num_rows > AHEAD_ROWS:
                break
            last += _ONE_DAY
        return max(day, last - _ONE_DAY)

    def _read(self, first: date, last: date, *, is_narrowed: bool) -> dict[date, Rows]:
        num_days = (last - first).days + 1
        found: dict[date, Rows] = {first + n * _ONE_DAY: [] for n in range(num_days)}
        for file in self._files_of(first, last):
            only = only_around(file, self._occurred_at, first, last) if is_narrowed else None
            occurred = columns.instants(file.nothing.schema, self._occurred_at)
            is_near = occurred.is_between(start_of(first), end_of(last), closed="left")
            frames = _numbered(file.frames(self._names, only=only))
            near = [part for rows in frames if (part := rows.filter(is_near)).height]
            if near:
                dated = pl.concat(near).with_columns(occurred.dt.date().alias(_DAY))
                for day, rows in dated.partition_by(_DAY, as_dict=True, include_key=False).items():
                    found[day[0]].append((file, rows))
        return found

    def _files_of(self, first: date, last: date) -> list[LogFile]:
        # a single file has to be read either way: looking for its days first would read it twice
        if len(self.files) == 1:
            return list(self.files)
        return [
            one.file for one in self.days if any(first <= day <= last for day in one.rows_by_day)
        ]


def _numbered(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    seen = 0
    for rows in frames:
        yield rows.with_row_index(ROW, offset=seen + 1)
        seen += rows.height


def _days_of(file: LogFile, spec: InstantColumn) -> FileDays:
    counted: dict[date, int] = {}
    num_untimed, first_untimed = 0, None
    for rows in _numbered(file.frames([spec.column])):
        timed = rows.select(ROW, at=columns.instants(rows.schema, spec))
        days = timed["at"].drop_nulls().dt.date().value_counts()
        for day, count in days.iter_rows():
            counted[day] = counted.get(day, 0) + count
        untimed = timed.filter(pl.col("at").is_null())
        num_untimed += untimed.height
        if first_untimed is None and untimed.height:
            first_untimed = untimed[ROW][0]
    return FileDays(file, dict(sorted(counted.items())), num_untimed, first_untimed)


def only_around(
    file: LogFile, spec: InstantColumn, first: date, last: date
) -> pc.Expression | None:
    """Return a bound that lets a reader skip parts of the file, or None where it cannot."""
    kind = file.schema.field(spec.column).type
    bounds = (start_of(first) - _MARGIN, end_of(last) + _MARGIN)
    low: pa.Scalar[Any]
    high: pa.Scalar[Any]
    if isinstance(kind, pa.TimestampType):
        local = (one if kind.tz else one.replace(tzinfo=None) for one in bounds)
        low, high = (pa.scalar(one, pa.timestamp("us", kind.tz)).cast(kind) for one in local)
    elif pa.types.is_integer(kind) and spec.unit in columns.PER_SECOND:
        second = columns.PER_SECOND[spec.unit]
        low, high = (pa.scalar((one - _EPOCH) // timedelta(seconds=1) * second) for one in bounds)
    else:
        return None
    return (pc.field(spec.column) >= low) & (pc.field(spec.column) < high)
