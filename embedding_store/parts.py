"""Parquet parts of embeddings: found, read whole into a proven shard, written with fixed bytes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from embedding_store.contracts import DEFAULT_USER_ID, EMBEDDING, EmbeddingShard, Side
from embedding_store.dtypes import DEFAULT_DTYPE
from embedding_store.errors import ContractError

_Codec = Literal["gzip", "brotli", "lz4", "zstd", "snappy", "none"]
ROW_GROUP = 1 << 16
_NUMBERS = f"{EMBEDDING}.list.element"
_PART = re.compile(r"part-(0|[1-9]\d*)\.parquet")


@dataclass(frozen=True, slots=True)
class Part:
    """One parquet file of a folder of parts; ``number`` is a user bucket or an item position."""

    path: Path
    number: int


def parts_of(folder: Path, side: Side) -> list[Part]:
    """Return the parts below ``folder`` by number; raises ContractError where some are missing.

    Users come in 2^k parts, one per bucket, empty ones included; items in any number of parts.
    """
    found = [(path, _PART.fullmatch(path.name)) for path in folder.glob("*.parquet")]
    parts = sorted(
        (Part(path, int(match.group(1))) for path, match in found if match),
        key=lambda part: part.number,
    )
    numbers = [part.number for part in parts]
    if not parts or numbers != list(range(len(parts))):
        raise ContractError(f"{folder}: want part-0.parquet, part-1.parquet, ..., got {numbers}")
    if side == "user" and len(parts) & (len(parts) - 1):
        raise ContractError(f"{folder}: want one part per bucket of 2^k, got {len(parts)} parts")
    return parts


def dim_of(path: Path) -> int:
    """Return the vectors' length as the file's schema states it."""
    try:
        kind = pq.read_schema(path).field(EMBEDDING).type
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ContractError(f"{path} has no embeddings that can be read ({error})") from error
    if not pa.types.is_fixed_size_list(kind):
        raise ContractError(f"{path.name} embedding: want a fixed_size_list of float, got {kind}")
    return int(kind.list_size)


def read_shard(
    source: Path | pa.Buffer, side: Side, dim: int, dtype: str = DEFAULT_DTYPE
) -> EmbeddingShard:
    """Return the file's embeddings, proven; raises ContractError, also where it is damaged."""
    opened = pa.BufferReader(source) if isinstance(source, pa.Buffer) else source
    try:
        table = pq.ParquetFile(opened).read().replace_schema_metadata()
        table.validate(full=True)  # strings in UTF-8 and offsets in range, or reading may crash
    except (OSError, pa.ArrowException) as error:
        name = "bytes" if isinstance(source, pa.Buffer) else source
        raise ContractError(f"{side} embeddings: {name} cannot be read ({error})") from error
    return EmbeddingShard(table, side, dim, dtype)


def shards(
    folder: Path, side: Side, dim: int, *, has_proven_buckets: bool = False
) -> Iterator[EmbeddingShard]:
    """Yield every part of ``folder`` by number, proven; together they hold each id once.

    ``has_proven_buckets`` skips hashing every user id again in a second pass over the same files.
    Raises ContractError naming the rule and the first offending key.
    """
    parts = parts_of(folder, side)
    last: str | None = None
    for part in parts:
        shard = read_shard(part.path, side, dim)
        if side == "user":
            if not has_proven_buckets:
                shard.check_bucket(part.number, len(parts))
        elif shard.table.num_rows:
            first = shard.ids[0].as_py()
            if last is not None and first.encode() <= last.encode():
                raise ContractError(
                    f"item embeddings, rule unique: item {first!r} of {part.path.name} does not "
                    f"follow {last!r} of the part before"
                )
            last = shard.ids[-1].as_py()
        yield shard


def read_default_user(path: Path, dim: int, dtype: str = DEFAULT_DTYPE) -> EmbeddingShard:
    """Return the one-row shard of the declared default user, proven."""
    shard = read_shard(path, "user", dim, dtype)
    if shard.ids.to_pylist() != [DEFAULT_USER_ID]:
        raise ContractError(f"{path.name}: want one row with user_id '', got {len(shard.ids)} rows")
    return shard


def write_part(path: Path, table: pa.Table) -> None:
    """Write ``table`` to ``path``; equal tables give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_part(path, table.schema) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)


def open_part(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer with fixed settings.

    float32 does not compress, so only the other columns pay for it. Parquet keeps an int8 in four
    bytes, unless as a place in a dictionary of its 255 values, which takes one.
    """
    codecs: dict[str, _Codec] = {name: "zstd" for name in schema.names if name != EMBEDDING}
    kind = schema.field(EMBEDDING).type.value_type if EMBEDDING in schema.names else None
    codecs[_NUMBERS] = "none" if kind in {None, pa.float32()} else "zstd"
    with_dictionary: Any = [_NUMBERS] if kind == pa.int8() else False  # stubs know bool only
    return pq.ParquetWriter(path, schema, compression=codecs, use_dictionary=with_dictionary)
