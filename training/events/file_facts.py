"""What is known of a log's file without reading it again: its digest, and when its rows occurred.

A file that still has its size and its times is taken for the same one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from lake.atomic import replace_json
from lake.code_identity import code_identity
from lake.digests import digest_file, digest_json
from training.errors import SourceError
from training.events import columns
from training.events.log_files import LogFile
from training.events.mapping import InstantColumn

FORMAT_VERSION = 1

ROW = "__row__"
"""Number of a row in its file, from 1, without a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDays:
    """When the rows of a file occurred."""

    file: LogFile
    state: Sequence[int]
    """The file's size and times when it was looked at."""
    digest: str
    """Of the whole file."""
    rows_by_day: Mapping[date, int]
    num_untimed: int
    """Rows without a usable time."""
    first_untimed: int | None
    """Number of the first of them."""

    def require_unchanged(self) -> None:
        """Raise SourceError unless the file is what ``digest`` is of.

        Whoever has read rows asks afterwards: rows of two states under one digest stay for good.
        """
        try:
            is_same = _state(self.file.path) == self.state
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise SourceError(f"{self.file.path}: changed while it was read: run again")


def days_of(file: LogFile, spec: InstantColumn, *, cache: Path | None) -> FileDays:
    """Return when the rows of a file occurred: from the cache, or by a pass over its times."""
    kept = None
    if cache is not None:
        stands = {
            "path": str(file.path),
            "time": asdict(spec),
            "layout": repr(file.layout),
            "code": code_identity(__name__),  # another way to read times finds other days
        }
        kept = cache / "files" / f"{digest_json(stands)[:32]}.json"
        if (found := _kept(kept, file)) is not None:
            return found
    found = _looked_at(file, spec)
    if kept is not None:
        days = {day.isoformat(): count for day, count in found.rows_by_day.items()}
        replace_json(
            kept,
            {
                "format_version": FORMAT_VERSION,
                "state": found.state,
                "digest": found.digest,
                "rows_by_day": days,
                "num_untimed": found.num_untimed,
                "first_untimed": found.first_untimed,
            },
        )
    return found


def numbered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Add ``ROW`` to the frames of a file."""
    seen = 0
    for rows in frames:
        yield rows.with_row_index(ROW, offset=seen + 1)
        seen += rows.height


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _kept(path: Path, file: LogFile) -> FileDays | None:
    """Return what a cache's file says, or None where it says nothing of this state."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
        if value["format_version"] != FORMAT_VERSION or value["state"] != _state(file.path):
            return None
        return FileDays(
            file=file,
            state=value["state"],
            digest=value["digest"],
            rows_by_day={date.fromisoformat(day): n for day, n in value["rows_by_day"].items()},
            num_untimed=value["num_untimed"],
            first_untimed=value["first_untimed"],
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # a cache that is gone or damaged is made again


def _looked_at(file: LogFile, spec: InstantColumn) -> FileDays:
    state = _state(file.path)  # before the file is read: what comes meanwhile is another state
    counted: dict[date, int] = {}
    num_untimed, first_untimed = 0, None
    for rows in numbered(file.frames([spec.column])):
        timed = rows.select(ROW, at=columns.instants(rows.schema, spec))
        days = timed["at"].drop_nulls().dt.date().value_counts()
        for day, count in days.iter_rows():
            counted[day] = counted.get(day, 0) + count
        untimed = timed.filter(pl.col("at").is_null())
        num_untimed += untimed.height
        if first_untimed is None and untimed.height:
            first_untimed = untimed[ROW][0]
    found = FileDays(
        file=file,
        state=state,
        digest=digest_file(file.path),
        rows_by_day=dict(sorted(counted.items())),
        num_untimed=num_untimed,
        first_untimed=first_untimed,
    )
    found.require_unchanged()
    return found
