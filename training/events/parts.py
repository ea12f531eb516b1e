"""Files of events by user bucket.

::

    events-0000.parquet     every event of the users whose keyed hash falls into bucket 0
    events-0001.parquet
    shared_ids.parquet      of raw events: ids that occur in more than one bucket, mostly none
    schema.json             EventSchema

A day that was written before there were buckets lies in one file, and is read as one bucket.
An event's bucket is its user's; what names no user lies in bucket 0. A bucket needs nothing of the
others but the rows of shared ids, of which one alone may stay.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.hashing import buckets
from lake.row_groups import ROW_GROUP_ROWS
from training.codes import Column, coded, of_each_row, plain
from training.contracts import Int32
from training.errors import SourceError
from training.repeats import ids_of
from training.schema import EventSchema

SHARED_IDS_FILE = "shared_ids.parquet"

_WHOLE_FILE = "events.parquet"  # of days written before there were buckets


def part_file(bucket: int) -> str:
    """Return the name of a bucket's file."""
    return f"events-{bucket:04d}.parquet"


def part_paths(folder: Path) -> list[Path]:
    """Return the files of a folder, by bucket; raises SourceError when one is missing."""
    paths = sorted(folder.glob("events-*.parquet"))
    if not paths and (folder / _WHOLE_FILE).is_file():
        return [folder / _WHOLE_FILE]
    wanted = [folder / part_file(bucket) for bucket in range(len(paths) or 1)]
    if paths != wanted or len(paths) & (len(paths) - 1):
        missing = next(
            (path for path in wanted if path not in paths), folder / part_file(len(paths))
        )
        raise SourceError(f"{missing} is missing: build its folder again")
    return paths


def write_parts(events: pa.Table, folder: Path, *, num_buckets: int) -> None:
    """Write events by bucket, in the order in which they stand."""
    _write_buckets(events, _bucket_of_rows(events, num_buckets), folder, num_buckets=num_buckets)


def write_raw_parts(
    events: pa.Table, schema: EventSchema, folder: Path, *, num_buckets: int
) -> None:
    """Write raw events by bucket, and the ids that occur in more than one."""
    bucket_of = _bucket_of_rows(events, num_buckets)
    _write_buckets(events, bucket_of, folder, num_buckets=num_buckets)
    # hashes find the few candidates in a tenth of the time that texts take
    ids = pl.Series("event_id", ids_of(events, schema))
    found = np.flatnonzero(ids.hash().is_duplicated().to_numpy())
    some = pl.DataFrame({"event_id": ids.gather(found), "bucket": bucket_of[found]})
    several = (
        some.group_by("event_id").agg(pl.col("bucket").n_unique()).filter(pl.col("bucket") > 1)
    )
    write_parquet(several.select("event_id").sort("event_id").to_arrow(), folder / SHARED_IDS_FILE)


def narrow_shared_ids(folder: Path, schema: EventSchema) -> None:
    """Write the shared ids again for raw events that lost rows: some are in one bucket by now."""
    shared = pq.read_table(folder / SHARED_IDS_FILE)["event_id"].combine_chunks()
    if not len(shared):
        return
    num_buckets = np.zeros(len(shared), dtype=np.int64)
    for path in part_paths(folder):
        is_here = pc.is_in(shared, value_set=ids_of(read_part(path), schema))
        num_buckets += is_here.to_numpy(zero_copy_only=False)
    left = shared.filter(pa.array(num_buckets > 1))
    write_parquet(pa.table({"event_id": left}), folder / SHARED_IDS_FILE)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a bucket's events, or some columns of them; texts but ids are dictionaries."""
    texts = [field.name for field in pq.read_schema(path) if field.type == pa.string()]
    repeating = [name for name in texts if name != "event_id"]
    with pq.ParquetFile(path, memory_map=True, read_dictionary=repeating) as file:
        rows = file.read(list(columns) if columns is not None else None)
    return rows.unify_dictionaries().combine_chunks()


def read_with_rivals(folder: Path, schema: EventSchema, bucket: int) -> tuple[pa.Table, int]:
    """Return a bucket's raw events, the rows of others that share an id, and how many are its own.

    Its own rows come first.
    """
    paths = part_paths(folder)
    own = read_part(paths[bucket])
    if len(paths) == 1:  # there is nobody to share an id with
        return own, own.num_rows
    shared = pq.read_table(folder / SHARED_IDS_FILE)["event_id"].combine_chunks()
    if len(shared):  # what this bucket does not have is the others' to settle
        is_ours: Column = pc.is_in(shared, value_set=ids_of(own, schema))
        shared = shared.filter(is_ours)
    if not len(shared):
        return own, own.num_rows
    rivals = []
    for path in (*paths[:bucket], *paths[bucket + 1 :]):
        rows = read_part(path)
        is_rival: Column = pc.is_in(ids_of(rows, schema), value_set=shared)
        rivals.append(rows.filter(is_rival))
    table = pa.concat_tables([own, *rivals]).unify_dictionaries().combine_chunks()
    return table, own.num_rows


def iterate_parts(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the events of each bucket, plain."""
    for path in part_paths(folder):
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file.read(list(columns) if columns is not None else None)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table so that equal content gives equal bytes; it appears whole or not at all."""
    rows = plain(table.replace_schema_metadata(None))  # as dictionaries they give other bytes
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(
        rows,
        unfinished,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=_repeating(rows.schema),  # type: ignore[arg-type]  # stubs know bool only
    )
    unfinished.replace(path)


def _repeating(schema: pa.Schema) -> list[str]:
    """Return the columns, as Parquet names them, whose values repeat: text that is no event id.

    A dictionary of ids or instants is given up half-way, after the work and the bytes of it.
    """
    texts = [field.name for field in schema if field.type == pa.string()]
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    return [name for name in (*texts, *lists) if name != "event_id"]


def _write_buckets(events: pa.Table, bucket_of: Int32, folder: Path, *, num_buckets: int) -> None:
    for bucket in range(num_buckets):
        inside = events.take(np.flatnonzero(bucket_of == bucket))
        write_parquet(inside, folder / part_file(bucket))


def _bucket_of_rows(events: pa.Table, num_buckets: int) -> Int32:
    values, codes = coded(events["user_id"])
    users: list[Any] = values.to_pylist()
    of_users = buckets(users, num_buckets)
    of_rows: Int32 = of_each_row(of_users, codes, missing=0)
    return of_rows
