"""Sorted dictionaries of strings and int32 codes into them; -1 is null."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts import Int32


def sorted_codes(column: pa.StringArray) -> tuple[pa.StringArray, Int32]:
    """Return the values that occur, sorted and unique, and the code of each row."""
    encoded: Any = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.full(len(order) + 1, -1, dtype=np.int32)  # the last one is where code -1 looks
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(order), rank[encoded.indices.fill_null(-1).to_numpy()]


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
