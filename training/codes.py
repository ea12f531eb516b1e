"""Text columns as int32 codes into their distinct values; -1 is null.

Rows are compared, sorted and moved by their codes: a day has millions of rows and few texts.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts import Int32

Column: TypeAlias = Any
"""An Arrow column; what compute functions return is typed too narrowly to name it better."""


def coded(column: Column) -> tuple[pa.StringArray, Int32]:
    """Return the distinct values of a column, in any order, and the code of each row."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # dictionaries of several chunks
        array = array.unify_dictionaries().combine_chunks()
    encoded: Any = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    codes: Int32 = encoded.indices.fill_null(-1).to_numpy()
    return encoded.dictionary, codes.astype(np.int32, copy=False)


def sorted_codes(column: Column) -> tuple[pa.StringArray, Int32]:
    """Return the values that occur, sorted and unique, and the code of each row."""
    values, codes = coded(column)
    is_used = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    used = np.flatnonzero(is_used)
    kept = values.take(pa.array(used, pa.int64()))
    order = pc.sort_indices(kept)
    rank = np.full(len(values) + 1, -1, dtype=np.int32)  # the last one is where code -1 looks
    rank[used[order.to_numpy()]] = np.arange(len(used), dtype=np.int32)
    return kept.take(order), rank[codes]


def as_dictionary(column: Column) -> Column:
    """Return a text column as a dictionary: equal columns become equal to the byte."""
    values, codes = sorted_codes(column)
    indices: Any = pa.array(codes, mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, values)


def plain(rows: pa.Table) -> pa.Table:
    """Return a table whose dictionaries are the texts that they stand for."""
    return rows.cast(plain_schema(rows.schema)).combine_chunks()


def plain_schema(columns: pa.Schema) -> pa.Schema:
    """Return columns with dictionaries as what they stand for."""
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in columns
        ]
    )


def of_each_row(of_values: npt.NDArray[Any], codes: Int32, *, missing: Any) -> npt.NDArray[Any]:
    """Return for each row what is known of its value, ``missing`` where it is null."""
    return np.append(of_values, np.array(missing, dtype=of_values.dtype))[codes]


def unified(parts: Sequence[tuple[pa.StringArray, Int32]]) -> tuple[pa.StringArray, Int32]:
    """Return one dictionary for several coded columns, and their rows, one after the other."""
    values, code_of = sorted_codes(pa.concat_arrays([values for values, _ in parts]))
    code_of = np.append(code_of, np.int32(-1))
    bases = np.cumsum([0, *(len(values) for values, _ in parts)])
    shifted = [
        np.where(codes < 0, -1, codes + base)
        for base, (_, codes) in zip(bases[:-1], parts, strict=True)
    ]
    return values, code_of[np.concatenate(shifted)]


def compacted(values: pa.StringArray, codes: Int32) -> tuple[tuple[str, ...], Int32]:
    """Return the values that some code names, and codes into these."""
    is_used = np.bincount(codes[codes >= 0], minlength=len(values)) > 0
    relabelled = np.append(np.cumsum(is_used) - 1, -1).astype(np.int32)
    used: list[Any] = values.filter(pa.array(is_used)).to_pylist()
    return tuple(used), relabelled[codes]
