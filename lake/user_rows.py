"""Tables of users in an artifact's folder: whose rows it has, and a copy without some of them.

A table is a Parquet or an Arrow file with a column ``user_id``, one row per event, token list,
vector or figure. Rows stay in their order and files are written as they were, so that the copy is,
byte by byte, what would have been written without these users.
"""

import base64
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.errors import CorruptArtifactError, ErasureError
from lake.row_groups import ROW_GROUP_ROWS
from lake.s3 import S3File

USER_ID = "user_id"

_Codec = Literal["gzip", "brotli", "lz4", "zstd", "snappy", "none"]


def users_of(files: Mapping[str, Path | S3File]) -> set[str]:
    """Return the users of every table of a folder; raises ErasureError, CorruptArtifactError.

    Of a file that is elsewhere only the column of users is read. A user id that is no column of a
    table, such as a field of a struct, is an error: nothing here could take it out.
    """
    found: set[str] = set()
    for name, source in files.items():
        if _is_table(name):
            found.update(_user_ids(name, source) or ())
    return found


def copy_without(folder: Path, gone: Collection[str], into: Path) -> int:
    """Copy a folder into an empty one, without the rows of some users; return how many there were.

    Files without such a row are copied as they are.
    """
    removed = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = into / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        ids = _user_ids(path.name, path) if _is_table(path.name) else None
        if ids is None or not ids.intersection(gone):
            shutil.copyfile(path, target)
        elif path.suffix == ".parquet":
            removed += _copy_parquet(path, gone, target)
        else:
            removed += _copy_arrow(path, gone, target)
    return removed


def count_rows(folder: Path) -> int:
    """Return the rows of all tables of users below ``folder``."""
    return sum(map(_num_rows, _tables(folder)))


def _is_table(name: str) -> bool:
    return PurePosixPath(name).suffix in {".parquet", ".arrow"}


def _tables(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file() and _is_table(path.name))


def _num_rows(path: Path) -> int:
    """Return the rows of a table of users; none where it is none of users."""
    with _opened(path) as file:
        table = _table(path.name, file, str(path))
        if isinstance(table, pq.ParquetFile):
            return int(table.metadata.num_rows) if USER_ID in table.schema_arrow.names else 0
        has_users = USER_ID in table.schema.names
        return sum(batch.num_rows for batch in _batches(file)) if has_users else 0


def _batches(source: Any, options: Any = None) -> Iterator[pa.RecordBatch]:
    file = pa.ipc.open_file(source, options=options)
    yield from (file.get_batch(number) for number in range(file.num_record_batches))


def _user_ids(name: str, source: Path | S3File) -> set[str] | None:
    """Return the users of a table, or None where it is none of users."""
    with _opened(source) as file:
        table = _table(name, file, str(source))
        schema = table.schema_arrow if isinstance(table, pq.ParquetFile) else table.schema
        if any(_is_named_inside(field.type) for field in schema):
            raise ErasureError(
                f"{source}: {USER_ID} is inside another column: remove the artifact, or its users "
                "stay"
            )
        number = schema.get_field_index(USER_ID)
        if number < 0:
            return None
        if isinstance(table, pq.ParquetFile):
            return _distinct([one.column(0) for one in table.iter_batches(columns=[USER_ID])])
        only = pa.ipc.IpcReadOptions(included_fields=[number])
        return _distinct([one.column(0) for one in _batches(file, only)])


def _opened(source: Path | S3File) -> pa.NativeFile:
    if isinstance(source, Path):
        return pa.memory_map(str(source))
    return pa.PythonFile(source, mode="r")


def _table(name: str, file: pa.NativeFile, where: str) -> Any:
    try:
        return pq.ParquetFile(file) if name.endswith(".parquet") else pa.ipc.open_file(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptArtifactError(
            f"{where}: want a table, cannot read it ({error}): restore it from a copy, or remove it"
        ) from error


def _is_named_inside(kind: pa.DataType) -> bool:
    children = [kind.field(number) for number in range(kind.num_fields)]
    return any(child.name == USER_ID or _is_named_inside(child.type) for child in children)


def _distinct(columns: list[Any]) -> set[str]:
    found: set[str] = set()
    for column in columns:
        found.update(pc.unique(column.cast(pa.string())).drop_null().to_pylist())
    return found


def _others(rows: Any, gone: Collection[str]) -> Any:
    """Return the rows of other users of a table or a batch; those of nobody stay."""
    users = rows.column(USER_ID).cast(pa.string())
    wanted = pa.array(sorted(gone), pa.string())
    return rows.filter(pc.invert(pc.is_in(users, value_set=wanted)))


def _copy_parquet(path: Path, gone: Collection[str], target: Path) -> int:
    """Write the file again with the codecs, dictionaries and groups that it has."""
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        rows = file.read()
        stored = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if stored:  # reading gives the values of lists another name
        rows = rows.cast(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored))))
    columns = [group.column(number) for number in range(group.num_columns)]
    codecs: dict[str, _Codec] = {one.path_in_schema: _codec(one.compression) for one in columns}
    left = _others(rows, gone).combine_chunks()
    pq.write_table(
        left,
        target,
        compression=codecs,
        use_dictionary=[one.path_in_schema for one in columns if one.has_dictionary_page],  # type: ignore[arg-type]  # stubs know bool only
        row_group_size=max(group.num_rows, ROW_GROUP_ROWS),
    )
    return int(rows.num_rows - left.num_rows)


def _codec(name: str) -> _Codec:
    codec: Any = "none" if name == "UNCOMPRESSED" else name.lower()
    found: _Codec = codec
    return found


def _copy_arrow(path: Path, gone: Collection[str], target: Path) -> int:
    """Write the file again batch by batch; dictionaries lose what only these users had.

    An Arrow file has one dictionary for all batches of a column, so they are looked at twice.
    """
    removed = 0
    found: list[_Dictionary] = []
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        for batch in _batches(source):
            left = _others(batch, gone)
            here = [one for column in left.columns for one in _dictionaries(column)]
            found = [a.joined(b) for a, b in zip(found or here, here, strict=True)]
        with pa.ipc.new_file(str(target), file.schema) as writer:
            for batch in _batches(source):
                left = _others(batch, gone)
                removed += batch.num_rows - left.num_rows
                in_order = iter(found)
                columns = [_compact(column, in_order) for column in left.columns]
                writer.write_batch(pa.record_batch(columns, schema=file.schema))
    return removed


@dataclass(frozen=True, slots=True)
class _Dictionary:
    """A dictionary of a column, and those of its codes that occur."""

    values: Any
    codes: Any

    def joined(self, other: "_Dictionary") -> "_Dictionary":
        """Return what occurs in either; a batch that has no value may have no dictionary."""
        codes = pc.unique(pa.concat_arrays([self.codes, other.codes])).sort()
        return _Dictionary(max(self.values, other.values, key=len), codes)


def _dictionaries(column: Any) -> Iterator[_Dictionary]:
    """Yield the dictionaries of a column, in the order in which ``_compact`` takes them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield _Dictionary(column.dictionary, pc.unique(column.indices.drop_null()))
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _dictionaries(part)
    elif _is_list(kind):
        yield from _dictionaries(column.flatten())


def _compact(column: Any, used: Iterator[_Dictionary]) -> Any:
    """Return the column with what occurs of its dictionaries, in their order."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        known = next(used)
        codes = pc.index_in(column.indices, value_set=known.codes).cast(kind.index_type)
        values = known.values.take(known.codes)
        return pa.DictionaryArray.from_arrays(codes, values, ordered=kind.ordered)
    nothing = column.is_null() if column.null_count else None
    if pa.types.is_struct(kind):
        parts = [_compact(part, used) for part in column.flatten()]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=nothing)
    if _is_list(kind):
        # a filter leaves whole lists, but their values may still begin elsewhere
        is_large = pa.types.is_large_list(kind)
        ends = pc.cumulative_sum(pc.list_value_length(column).fill_null(0))
        size = pa.int64() if is_large else pa.int32()
        offsets = pa.concat_arrays([pa.array([0], size), ends.cast(size)])
        made = pa.LargeListArray if is_large else pa.ListArray
        values = _compact(column.flatten(), used)
        return made.from_arrays(offsets, values, type=kind, mask=nothing)
    return column


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)
