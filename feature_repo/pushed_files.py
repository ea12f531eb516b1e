"""Files of fresh user embeddings, as whoever encodes users hands them over."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embedding_store.contracts import EMBEDDING, ID_COLUMNS, Float32
from embedding_store.errors import ContractError


def read_pushed(path: Path) -> tuple[list[str], Float32]:
    """Return users and float32[users, dim] of a Parquet file; raises ContractError.

    The columns are ``user_id``, strings, and ``embedding``, lists of floats that are equally long.
    """
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ContractError(f"{path}: want a Parquet file ({error})") from error
    columns = [ID_COLUMNS["user"], EMBEDDING]
    if sorted(table.column_names) != sorted(columns):
        raise ContractError(f"{path} columns: want {columns}, got {table.column_names}")
    ids, embeddings = (table[name].combine_chunks() for name in columns)
    lengths = pc.unique(pc.list_value_length(embeddings)).to_pylist()
    if len(lengths) != 1 or lengths[0] is None or ids.null_count:
        raise ContractError(f"{path}: want users and vectors of one length, got {lengths}")
    fixed: Any = embeddings.cast(pa.list_(pa.float32(), lengths[0]))
    vectors: Float32 = fixed.flatten().to_numpy(zero_copy_only=False)
    return [str(one) for one in ids.to_pylist()], vectors.reshape(-1, lengths[0])
