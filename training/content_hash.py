"""Hashes of rows by content: names for events that came without one.

Fixed for good: ids that are already stored depend on every step below.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from training.codes import Column, coded
from training.sets import sorted_sets

_DIGITS = 32
Lanes = npt.NDArray[np.uint64]
"""uint64[2, N]: two hashes side by side make 128 bits."""


def content_ids(rows: pa.Table) -> pa.StringArray:
    """Return 32 hex digits per row: a 128-bit hash of the row's values under their column names.

    The order of rows and columns does not matter, nor do lists' order and repeats: a list is read
    as a set. A null counts as no column at all, so ids outlive the adding of columns. Text is
    hashed by blake2b once per distinct value, everything else is arithmetic.
    """
    total: Lanes = np.zeros((2, rows.num_rows), dtype=np.uint64)
    for name in rows.column_names if rows.num_rows else ():
        column = rows[name].combine_chunks()
        salted = _mixed(_mixed(_value_lanes(column)) ^ _text_lanes([name]))
        is_null = column.is_null().to_numpy(zero_copy_only=False)
        total += np.where(is_null, np.uint64(0), salted)
    digits = _mixed(total).T.astype(">u8").tobytes().hex()
    offsets = np.arange(rows.num_rows + 1, dtype=np.int32) * _DIGITS
    return pa.StringArray.from_buffers(
        rows.num_rows, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits.encode())
    )


def _value_lanes(column: Column) -> Lanes:
    """Return hashes of a column's values; anything where it is null."""
    if pa.types.is_nested(column.type):
        lists = pl.Series(column).list.eval(pl.element().fill_null("\x00"))
        column = sorted_sets(lists).list.join("\x1f").to_arrow()
    if pa.types.is_primitive(column.type):
        bits = _bits(column)
        return np.stack([_mixed(bits), _mixed(bits ^ np.uint64(0x5555555555555555))])
    values, codes = coded(column)
    texts: list[Any] = values.to_pylist()
    return np.append(_text_lanes(texts), np.zeros((2, 1), dtype=np.uint64), axis=1)[:, codes]


def _bits(column: Column) -> Lanes:
    """Return 64 bits per value; every NaN alike, minus zero as zero."""
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()).fill_null(0.0).to_numpy() + 0.0
        floats: Lanes = np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
        return floats
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    whole: Lanes = column.cast(pa.int64()).fill_null(0).to_numpy().astype(np.uint64)
    return whole


def _text_lanes(values: list[str]) -> Lanes:
    """Return the two halves of each text's blake2b, uint64[2, len(values)]."""
    joined = b"".join(hashlib.blake2b(one.encode(), digest_size=16).digest() for one in values)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64).reshape(-1, 2).T


def _mixed(state: Lanes) -> Lanes:
    """Mix bits: splitmix64's finalizer (Steele et al., OOPSLA 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
