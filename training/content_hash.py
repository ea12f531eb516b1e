"""Hashes of rows by content: names for events that came without one.

Fixed for good: ids that are already stored depend on every step below.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Lanes = npt.NDArray[np.uint64]

_NULL = (np.uint64(0x6E756C6C00000001), np.uint64(0x6E756C6C00000002))


def content_ids(rows: pa.Table) -> list[str]:
    """Return 32 hex digits per row: a 128-bit hash of the row's values under their column names.

    The order of rows and columns does not matter, nor do lists' order and repeats: a list is read
    as a set. Text is hashed by blake2b once per distinct value, everything else is arithmetic.
    """
    lanes = np.zeros((2, rows.num_rows), dtype=np.uint64)
    for name in rows.column_names:
        salt = _text_lanes([name])
        values = _column_lanes(rows[name])
        for lane in range(2):
            lanes[lane] += _mixed(values[lane] ^ salt[lane])
    both = np.stack([_mixed(lanes[0]), _mixed(lanes[1])], axis=1)
    digits = both.astype(">u8").tobytes().hex()
    return np.frombuffer(digits.encode(), dtype="S32").astype(str).tolist() if digits else []


def _column_lanes(column: "pa.ChunkedArray[Any]") -> Lanes:
    series = pl.Series(values=column) if column.num_chunks else pl.Series([], dtype=pl.Null)
    if isinstance(series.dtype, pl.List):
        series = series.list.eval(pl.element().fill_null("\x00")).list.unique().list.sort()
        series = series.list.join("\x1f")
    if series.dtype == pl.String:
        return _coded_lanes(series)
    is_null = series.is_null().to_numpy()
    bits = _bits(series)
    lanes = np.stack([_mixed(bits), _mixed(bits ^ np.uint64(0x5555555555555555))])
    lanes[0, is_null], lanes[1, is_null] = _NULL
    return lanes


def _bits(series: pl.Series) -> Lanes:
    """Return 64 bits per value; nulls as zero, every NaN alike, minus zero as zero."""
    if series.dtype.is_float():
        numbers = series.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    return series.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype(np.uint64)


def _coded_lanes(series: pl.Series) -> Lanes:
    distinct = series.unique(maintain_order=False).drop_nulls()
    if distinct.is_empty():
        codes = np.zeros(len(series), dtype=np.int64)
    else:
        order = distinct.sort()
        codes = order.search_sorted(series.fill_null(order[0])).to_numpy().astype(np.int64)
        distinct = order
    table = _text_lanes(distinct.to_list()) if len(distinct) else np.zeros((2, 1), dtype=np.uint64)
    lanes = table[:, codes]
    is_null = series.is_null().to_numpy()
    lanes[0, is_null], lanes[1, is_null] = _NULL
    return lanes


def _text_lanes(values: list[str]) -> Lanes:
    joined = b"".join(hashlib.blake2b(v.encode(), digest_size=16).digest() for v in values)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64).reshape(-1, 2).T


def _mixed(state: Lanes) -> Lanes:
    """Mix bits: splitmix64's finalizer (Steele et al., OOPSLA 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
