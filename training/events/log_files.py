"""Files of a log, Parquet or CSV, as a stream of frames: never a whole file at once.

CSV is read as text throughout: a type guessed from the first rows would make numbers of ids, and
fail, or change its mind, at a later row.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import csv
from pyarrow.fs import LocalFileSystem

from training.errors import SourceError
from training.events.mapping import FileFormat, FileSet

_BATCH_ROWS = 1 << 17
# batches in flight: the default of 16 holds some hundred MB of a wide log
_READAHEAD = 4
_LINE = "line"
# separates nothing in a text file: the whole line is one column
_NO_DELIMITER = "\x1f"
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file and its columns."""

    path: Path
    layout: FileSet
    schema: pa.Schema
    """Columns and types as they are read: everything in CSV is text, and so are dictionaries of it;
    instants are UTC. Columns of types that nothing here is made of are left out.
    """
    stored: pa.Schema
    """Columns and types as the file has them."""

    def frames(
        self, columns: Sequence[str], *, only: pc.Expression | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of some columns in order; ``only`` may drop rows that it excludes.

        Raises:
            SourceError: a column is missing, or the file cannot be read.
        """
        self.require(columns)
        try:
            yield from self._frames(list(dict.fromkeys(columns)), only)
        except (pa.ArrowException, UnicodeError, OSError) as error:
            raise SourceError(f"{self.path}: {_told(error)}") from error

    def require(self, columns: Sequence[str]) -> None:
        """Raise SourceError unless the file has the columns."""
        for name in columns:
            if name not in self.schema.names:
                if name in self.stored.names:
                    raise SourceError(
                        f"{self.path}: column {name!r} is {self.stored.field(name).type}: want "
                        "text, numbers, times or lists of text"
                    )
                raise SourceError(
                    f"{self.path}: column {name!r} is missing; there are: "
                    f"{', '.join(self.schema.names)}"
                )

    @property
    def nothing(self) -> pl.DataFrame:
        """The file's columns and their types, without rows."""
        rows = pl.from_arrow(self.schema.empty_table())
        assert isinstance(rows, pl.DataFrame)
        return rows

    def try_out(self, read: Callable[[pl.DataFrame], object]) -> None:
        """Raise SourceError, naming the file, unless its columns have types that can be read."""
        try:
            read(self.nothing)
        except (SourceError, pl.exceptions.PolarsError) as error:
            raise SourceError(f"{self.path}: {error}") from error

    def _frames(self, columns: list[str], only: pc.Expression | None) -> Iterator[pl.DataFrame]:
        is_split = self._is_split_here
        schema = pa.schema([(_LINE, pa.string())]) if is_split else self.schema
        data = ds.dataset(self.path, schema=schema, format=_format(self.layout))
        batches = data.scanner(
            columns=[_LINE] if is_split else columns,
            filter=only,
            batch_size=_BATCH_ROWS,
            batch_readahead=_READAHEAD,
            fragment_readahead=1,
        ).to_batches()
        for batch in batches:
            self._require_utf8(batch)
            rows = pl.from_arrow(batch)
            assert isinstance(rows, pl.DataFrame)
            yield _split(rows, self.layout).select(columns) if is_split else rows

    def _require_utf8(self, batch: pa.RecordBatch) -> None:
        """Raise SourceError where text is none: nobody looks at its bytes again."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise SourceError(
                    f"{self.path}: column {name!r}: {error}: write the file again in UTF-8"
                ) from error

    @property
    def _is_split_here(self) -> bool:
        return self.layout.format is FileFormat.CSV and len(self.layout.delimiter) > 1


def log_files(layout: FileSet) -> tuple[LogFile, ...]:
    """Return the files of a layout, in the order of their paths, each one once.

    Raises:
        SourceError: a path does not exist, a folder holds no file of the format, or a file's
            columns cannot be told.
    """
    paths = {one.resolve() for path in layout.paths for one in _below(path, layout.format)}
    return tuple(_log_file(path, layout) for path in sorted(paths))


def _log_file(path: Path, layout: FileSet) -> LogFile:
    stored = _columns(path, layout)
    kinds = {field.name: _as_read(field.type) for field in stored}
    schema = pa.schema([(name, kind) for name, kind in kinds.items() if kind is not None])
    return LogFile(path, layout, schema=schema, stored=stored)


def _as_read(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that values are read as, None where they are nothing to read."""
    if isinstance(kind, pa.DictionaryType):
        return _as_read(kind.value_type)  # a code is no number to read
    if isinstance(kind, pa.TimestampType) and kind.tz:
        return pa.timestamp(kind.unit, "UTC")  # polars 2.1 panics at a zone that is an offset
    if pa.types.is_string_view(kind) or any(test(kind) for test in _BYTES):
        return pa.string()  # pyarrow 25 filters no views; text that a writer did not mark as such
    if isinstance(kind, (pa.ListType, pa.LargeListType)):
        inner = _as_read(kind.value_type)
        return pa.list_(inner) if inner else None
    # polars 2.1 panics at decimals of 256 bits
    is_refused = isinstance(kind, (pa.BaseExtensionType, pa.Decimal256Type, pa.MapType))
    return None if is_refused else kind


def _below(path: Path, kind: FileFormat) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(f"no file or folder {path}")
    found = [
        one
        for one in path.rglob("*")
        if one.is_file()
        and f".{kind}" in one.suffixes
        # what other tools leave beside their output, such as _SUCCESS and .part.crc
        and not any(part.startswith((".", "_")) for part in one.relative_to(path).parts)
    ]
    if not found:
        raise SourceError(f"no .{kind} file in the folder {path}")
    return found


def _columns(path: Path, layout: FileSet) -> pa.Schema:
    if layout.format is FileFormat.CSV and layout.columns:
        return _texts(path, layout.columns)
    try:
        schema = _format(layout).inspect(str(path), filesystem=LocalFileSystem())
        names = schema.names  # decoded only now
    except (pa.ArrowException, UnicodeError, OSError) as error:
        raise SourceError(f"{path}: want a {layout.format} file, got: {_told(error)}") from error
    if layout.format is FileFormat.CSV:
        return _texts(path, names)
    return _unrepeated(path, schema)


def _texts(path: Path, names: Sequence[str]) -> pa.Schema:
    return _unrepeated(path, pa.schema([(name, pa.string()) for name in names]))


def _unrepeated(path: Path, schema: pa.Schema) -> pa.Schema:
    repeated = [name for name in schema.names if schema.names.count(name) > 1]
    if repeated:
        raise SourceError(f"{path}: column {repeated[0]!r} repeats")
    return schema


def _format(layout: FileSet) -> ds.FileFormat:
    if layout.format is FileFormat.PARQUET:
        return ds.ParquetFileFormat()
    is_split = len(layout.delimiter) > 1
    names = [_LINE] if is_split else list(layout.columns)
    return ds.CsvFileFormat(
        parse_options=csv.ParseOptions(
            delimiter=_NO_DELIMITER if is_split else layout.delimiter,
            quote_char=(not is_split and layout.quote) or False,
            newlines_in_values=not is_split and bool(layout.quote),
        ),
        read_options=csv.ReadOptions(column_names=names or None, encoding=layout.encoding),
        convert_options=csv.ConvertOptions(
            null_values=list(layout.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _split(rows: pl.DataFrame, layout: FileSet) -> pl.DataFrame:
    """Split whole lines at a delimiter of several characters."""
    parts = pl.col(_LINE).str.split(layout.delimiter)
    values = {name: parts.list.get(n, null_on_oob=True) for n, name in enumerate(layout.columns)}
    given = rows.select(**values)
    nulls = list(layout.nulls)
    return given.with_columns(pl.when(~pl.all().is_in(nulls)).then(pl.all()))


def _told(error: Exception) -> str:
    """Return what went wrong, without the rows that a reader quotes: they name users."""
    first = re.sub(r"^Could not open CSV input source '.*?': Invalid: ", "", str(error))
    first = first.partition("\n")[0]
    return re.sub(r"(Expected \d+ columns, got \d+).*", r"\1", first)
