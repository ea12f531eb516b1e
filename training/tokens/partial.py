"""Partial tokens: those of one bucket of one day, as they lie on disk.

::

    tokens-0000.arrow    one row per user, ascending:
        user_id          "a"                        "b"
        tokens           [A 0..5][B 6][A 7..9]      [C 4]        large_list<struct>
    ...
    tokenizer.json       TokenizerConfig
    schema.json          EventSchema

Files are Arrow IPC, uncompressed, read through memory maps. ``item_id`` and categorical request
facets are dictionaries, sorted, of one file. The day and the format version are in the metadata of
every file.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from training.codes import Column, sorted_codes
from training.contracts import UNKNOWN_INSTANT, Float64, Int32, Int64
from training.errors import ContractError
from training.schema import EventSchema, FacetKind
from training.sets import sorted_sets
from training.tokens.config import FORMAT_VERSION, TokenizerConfig
from training.tokens.merge import REQUEST_PREFIX, counts_matrix, request_facets

CONFIG_FILE = "tokenizer.json"
SCHEMA_FILE = "schema.json"

BETWEEN_MEMBERS = "\x1f"
"""The unit separator: no text that people write holds it."""

_REMEDY = "restore it from a copy, or remove its folder and run the day again"

Read = TypeVar("Read")


def bucket_file(bucket: int) -> str:
    """Return the name of a bucket's file."""
    return f"tokens-{bucket:04d}.arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialTokens:
    """Tokens by user; columns are views of the memory map where Arrow allows."""

    user_ids: pa.StringArray
    lengths: Int64
    """Tokens of each user, int64[U]."""
    items: pa.StringArray
    item_code: Int32
    """int32[T], index into ``items``."""
    first_at: Int64
    last_at: Int64
    duration_ms: Int64
    num_events: Int32
    action_counts: Int32
    """int32[T, A]"""
    request_categories: Mapping[str, tuple[pa.StringArray, Int32]]
    request_numbers: Mapping[str, Float64]
    request_sets: Mapping[str, tuple[pa.StringArray, Int32]]
    """Sets as texts: their members, sorted, with ``BETWEEN_MEMBERS`` between them."""
    request_instants: Mapping[str, Int64]


def read_config(folder: Path) -> TokenizerConfig:
    """Return the configuration that the folder's tokens were made with."""
    return _read_json(folder / CONFIG_FILE, TokenizerConfig.from_json)


def read_schema(folder: Path) -> EventSchema:
    """Return the schema of the events behind the folder's tokens."""
    return _read_json(folder / SCHEMA_FILE, EventSchema.from_json)


def _read_json(path: Path, read: Callable[[dict[str, Any]], Read]) -> Read:
    try:
        return read(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"{path}: damaged ({error}): {_REMEDY}") from error


def open_bucket(path: Path, *, is_proven: bool = False) -> pa.RecordBatch:
    """Return the rows of one bucket's file, memory-mapped; raises ContractError.

    Every value is looked at where the file ``is_proven``: offsets and codes that a damaged file
    holds lead out of the map, where reading ends the process. It takes 0.2 ms per MB.
    """
    try:
        with pa.memory_map(str(path)) as source:
            rows = pa.ipc.open_file(source).get_batch(0)
        if is_proven:
            rows.validate(full=True)
    except (OSError, MemoryError, pa.ArrowException) as error:
        raise ContractError(
            f"token file {path}: missing or no Arrow file ({error}): {_REMEDY}"
        ) from error
    version = (rows.schema.metadata or {}).get(b"format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise ContractError(f"token file {path}: read format {FORMAT_VERSION}, got {version}")
    return rows


def day_of(rows: pa.RecordBatch) -> date | None:
    """Return the day of a file's tokens; None when that day had no events."""
    day = rows.schema.metadata[b"day"].decode()
    return date.fromisoformat(day) if day else None


def read_bucket(
    rows: pa.RecordBatch, schema: EventSchema, *, users: pa.StringArray | None = None
) -> PartialTokens:
    """Return a file's rows, or those of ``users``, as arrays."""
    if users is not None:
        rows = rows.filter(pc.is_in(rows["user_id"], value_set=users))
    tokens: Column = rows["tokens"]
    lengths = pc.list_value_length(tokens).to_numpy()
    return _as_arrays(rows["user_id"], lengths, tokens.flatten(), schema, coded=_as_stored)


def read_newest(
    rows: pa.RecordBatch, schema: EventSchema, *, user: str, at_most: int
) -> PartialTokens | None:
    """Return the newest tokens of one user, or None; touches their pages and a binary search's."""
    users: Column = rows["user_id"]  # ascending by bytes of UTF-8, which is Python's order too
    row = bisect_left(range(len(users)), user, key=lambda one: users[one].as_py())
    if row == len(users) or users[row].as_py() != user:
        return None
    tokens: Column = rows["tokens"]
    begin, end = (tokens.offsets[one].as_py() for one in (row, row + 1))
    begin = max(begin, end - at_most)
    values = tokens.values.slice(begin, end - begin)
    return _as_arrays(users.slice(row, 1), np.array([end - begin]), values, schema, coded=_as_used)


def _as_arrays(
    user_ids: Column,
    lengths: Int64,
    values: Column,
    schema: EventSchema,
    *,
    coded: Callable[[Column], tuple[pa.StringArray, Int32]],
) -> PartialTokens:
    items, item_code = coded(values.field("item_id"))
    return PartialTokens(
        user_ids=user_ids,
        lengths=lengths,
        items=items,
        item_code=item_code,
        first_at=values.field("first_at").cast(pa.int64()).to_numpy(),
        last_at=values.field("last_at").cast(pa.int64()).to_numpy(),
        duration_ms=values.field("duration_ms").to_numpy(),
        num_events=values.field("num_events").to_numpy(),
        action_counts=counts_matrix(values.field("action_counts")),
        request_categories={
            name: coded(values.field(REQUEST_PREFIX + name))
            for name in _request_names(schema, FacetKind.CATEGORICAL)
        },
        request_numbers={
            name: values.field(REQUEST_PREFIX + name).fill_null(np.nan).to_numpy()
            for name in _request_names(schema, FacetKind.NUMERIC)
        },
        request_sets={
            name: sorted_codes(_as_texts(values.field(REQUEST_PREFIX + name)))
            for name in _request_names(schema, FacetKind.MULTI_CATEGORICAL)
        },
        request_instants={
            name: _as_microseconds(values.field(REQUEST_PREFIX + name))
            for name in _request_names(schema, FacetKind.INSTANT)
        },
    )


def timeless_tokens(
    user_ids: pa.StringArray,
    lengths: Int64,
    item_ids: pa.StringArray,
    action_code: Int32,
    schema: EventSchema,
) -> PartialTokens:
    """Return tokens of one event each, of which only user, order, item and action are known."""
    items, item_code = sorted_codes(item_ids)
    num_tokens = len(item_code)
    unknown = np.full(num_tokens, UNKNOWN_INSTANT, dtype=np.int64)
    no_value = np.full(num_tokens, -1, dtype=np.int32)
    return PartialTokens(
        user_ids=user_ids,
        lengths=lengths,
        items=items,
        item_code=item_code,
        first_at=unknown,
        last_at=unknown,
        duration_ms=np.zeros(num_tokens, dtype=np.int64),
        num_events=np.ones(num_tokens, dtype=np.int32),
        action_counts=np.eye(len(schema.token_actions), dtype=np.int32)[action_code],
        request_categories={
            name: (pa.array([], pa.string()), no_value)
            for name in _request_names(schema, FacetKind.CATEGORICAL)
        },
        request_numbers={
            name: np.full(num_tokens, np.nan) for name in _request_names(schema, FacetKind.NUMERIC)
        },
        request_sets={
            name: (pa.array([], pa.string()), no_value)
            for name in _request_names(schema, FacetKind.MULTI_CATEGORICAL)
        },
        request_instants=dict.fromkeys(_request_names(schema, FacetKind.INSTANT), unknown),
    )


def _request_names(schema: EventSchema, kind: FacetKind) -> list[str]:
    return [facet.name for facet in request_facets(schema) if facet.kind is kind]


def _as_stored(column: Column) -> tuple[pa.StringArray, Int32]:
    """Return the dictionary of the whole file, and codes into it."""
    return column.dictionary, column.indices.fill_null(-1).to_numpy()


def _as_used(column: Column) -> tuple[pa.StringArray, Int32]:
    """Return a dictionary of the column's own rows, and codes into it."""
    return sorted_codes(column.dictionary_decode())


def _as_texts(sets: Column) -> Column:
    """Return each set as one text; an empty set is the empty text, a missing one null."""
    members = sorted_sets(pl.Series(sets.cast(pa.large_list(pa.string()))))
    texts: Column = members.list.drop_nulls().list.join(BETWEEN_MEMBERS).to_arrow()
    return texts.cast(pa.string())


def _as_microseconds(column: Column) -> Int64:
    at: Int64 = column.cast(pa.int64()).fill_null(UNKNOWN_INSTANT).to_numpy()
    return at
