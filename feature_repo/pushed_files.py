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
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ContractError(f"{path}: want a whole Parquet file ({error})") from error
    columns = [ID_COLUMNS["user"], EMBEDDING]
    if sorted(table.column_names) != sorted(columns):
        raise ContractError(f"{path} columns: want {columns}, got {table.column_names}")
    for name, wanted, is_right in zip(
        columns, ("strings", "lists of floats"), (_is_text, _is_vectors), strict=True
    ):
        if not is_right(table[name].type):
            raise ContractError(f"{path}: {name}: want {wanted}, got {table[name].type}")
        if table[name].null_count or not len(table):
            raise ContractError(
                f"{path}: {name}: want a value in every row, got {table[name].null_count} nulls in "
                f"{len(table)} rows"
            )
    embeddings = table[EMBEDDING].combine_chunks()
    lengths = sorted(pc.unique(pc.list_value_length(embeddings)).to_pylist())
    if len(lengths) != 1:
        raise ContractError(f"{path}: {EMBEDDING}: want vectors of one length, got {lengths}")
    fixed: Any = embeddings.cast(pa.list_(pa.float32(), lengths[0]))
    vectors: Float32 = fixed.flatten().to_numpy(zero_copy_only=False)
    # a number is no id: its text could be another user's
    ids: list[Any] = table[ID_COLUMNS["user"]].cast(pa.string()).to_pylist()
    return ids, vectors.reshape(-1, lengths[0])


def _is_text(kind: pa.DataType) -> bool:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(values) or pa.types.is_large_string(values))


def _is_vectors(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_list = is_list or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.field(0).type))
