"""What the first rows of a log's files look like, column by column."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from training.errors import SourceError
from training.events import columns
from training.events.log_files import LogFile, log_files
from training.events.mapping import FileFormat, FileSet, InstantColumn, TimeUnit

SAMPLE_ROWS = 200_000
_MIN_READABLE = 0.95
_DELIMITERS = ("::", "\t", ";", "|", ",")
# the epochs of these years lie in ranges of their own for every unit
_PLAUSIBLE = (pl.datetime(1990, 1, 1, time_zone="UTC"), pl.datetime(2060, 1, 1, time_zone="UTC"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the sample."""

    name: str
    dtype: pl.DataType
    distinct: int
    missing: float
    """Share of rows without a value."""
    values: tuple[str, ...]
    """The commonest values, the most frequent first; none of a column of lists."""
    is_number: bool
    """The column holds numbers, or text that reads as numbers."""
    is_flag: bool
    """Two values at most, which read as yes and no."""
    time: InstantColumn | None
    """How the column reads as instants, where it does; the zone is not known."""
    needs_zone: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Files and the columns of their first rows."""

    layout: FileSet
    num_files: int
    rows: int
    """Rows looked at."""
    columns: tuple[Column, ...]
    is_headless: bool
    """The CSV files have no header: the names of the columns are ours."""


def profile(paths: list[Path]) -> Profile:
    """Return what the first rows of files look like; raises SourceError."""
    layout, is_headless = _layout(paths)
    files = log_files(layout)
    names = files[0].schema.names
    for file in files:
        file.require(names)
    rows = pl.concat(_sample(files, names), how="vertical_relaxed")
    if rows.is_empty():
        raise SourceError(f"{files[0].path}: there are no rows")
    found = tuple(_column(rows, name) for name in names)
    return Profile(layout, len(files), rows.height, found, is_headless)


def _sample(files: tuple[LogFile, ...], names: list[str]) -> Iterator[pl.DataFrame]:
    wanted = max(1, SAMPLE_ROWS // len(files))
    for file in files:
        left = wanted
        for rows in file.frames(names):
            yield rows.head(left)
            left -= rows.height
            if left <= 0:
                break


def _layout(paths: list[Path]) -> tuple[FileSet, bool]:
    """Return how the files seem to be written, and whether they lack a header."""
    first = next((one for path in paths for one in _files(path)), None)
    if first is None:
        raise SourceError(f"no file in {', '.join(map(str, paths))}")
    layout = FileSet(
        paths=tuple(path.resolve() for path in paths),
        format=FileFormat.PARQUET,
        delimiter=",",
        quote='"',
        encoding="utf8",
        nulls=("",),
        columns=(),
    )
    with first.open("rb") as file:
        if file.read(4) == b"PAR1":
            return layout, False
        file.seek(0)
        line = file.readline(1 << 16)
    text, encoding = _decoded(first, line)
    delimiter = max(_DELIMITERS, key=text.count)
    cells = [cell.strip('"') for cell in text.rstrip("\r\n").split(delimiter)]
    is_headless = len(delimiter) > 1 or any(_is_number(cell) for cell in cells)
    names = tuple(f"column_{n}" for n in range(1, len(cells) + 1)) if is_headless else ()
    as_csv = replace(layout, format=FileFormat.CSV, delimiter=delimiter, encoding=encoding)
    return replace(as_csv, columns=names), is_headless


def _files(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise SourceError(f"no file or folder {path}")
    candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
    for one in candidates:
        if one.is_file() and not one.name.startswith((".", "_")):
            yield one


def _decoded(path: Path, line: bytes) -> tuple[str, str]:
    if b"\0" in line:
        raise SourceError(f"{path}: want Parquet or CSV, this is neither (uncompressed text only)")
    with path.open("rb") as file:
        start = file.read(1 << 20)
    try:
        start.decode("utf8")
    except UnicodeDecodeError as error:
        if error.end < len(start) - 4:  # a character cut by the end of the sample is no fault
            return line.decode("latin-1"), "latin-1"
    return line.decode("utf8", errors="replace"), "utf8"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdigit()


def _column(rows: pl.DataFrame, name: str) -> Column:
    series = rows[name]
    time, needs_zone = _time(rows, name)
    values: tuple[str, ...] = ()
    if not series.dtype.is_nested():
        texts = series.drop_nulls().cast(pl.String, strict=False)
        counted = texts.alias("value").value_counts()  # the column may be called "count"
        commonest = counted.sort(["count", "value"], descending=[True, False]).head(60)
        values = tuple(str(value) for value in commonest["value"])
    given = series.drop_nulls()
    as_number = given.cast(pl.Float64, strict=False) if not series.dtype.is_nested() else None
    is_number = as_number is not None and as_number.null_count() == 0 and len(given) > 0
    flags = {value.lower() for value in values}
    is_flag = series.dtype == pl.Boolean or (
        bool(flags) and (flags <= {"true", "false"} or flags == {"0", "1"})
    )
    return Column(
        name=name,
        dtype=series.dtype,
        distinct=given.n_unique(),
        missing=series.null_count() / len(series),
        values=values,
        is_number=is_number and series.dtype != pl.Boolean,
        is_flag=is_flag,
        time=time,
        needs_zone=needs_zone,
    )


def _time(rows: pl.DataFrame, name: str) -> tuple[InstantColumn | None, bool]:
    """Return how a column reads as instants, and whether they lack a zone."""
    dtype = rows.schema[name]
    if isinstance(dtype, pl.Datetime):
        is_bare = dtype.time_zone is None
        spec = InstantColumn(column=name, unit=TimeUnit.TIMESTAMP, zone="UTC" if is_bare else None)
        return spec, is_bare
    given = rows.select(name).drop_nulls()
    if given.is_empty() or not (dtype.is_numeric() or dtype == pl.String):
        return None, False
    for unit in columns.PER_SECOND:
        spec = InstantColumn(column=name, unit=unit, zone=None)
        if _readable(given, spec) >= _MIN_READABLE:
            return spec, False
    if dtype != pl.String:
        return None, False
    for zone in (None, "UTC"):
        spec = InstantColumn(column=name, unit=TimeUnit.ISO, zone=zone)
        if _readable(given, spec) >= _MIN_READABLE:
            return spec, zone is not None
    return None, False


def _readable(given: pl.DataFrame, spec: InstantColumn) -> float:
    """Return the share of values that are plausible instants."""
    read: Any = given.select(
        columns.instants(given.schema, spec).is_between(*_PLAUSIBLE).fill_null(value=False).mean()
    ).item()
    return float(read)
