"""Ways in which a file can be damaged: by a disk, by a transfer, by a program, by a person."""

import json
import random
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Mutation = Callable[[random.Random, bytes, bytes], bytes]
"""From a draw, a file's bytes and those of another file, the damaged bytes."""

_HUGE = (b"\xff" * 8, b"\xff" * 4, struct.pack("<q", 2**62), struct.pack("<i", 2**31 - 1))
_MARK = '"\u2063"'
_LEAVES = (
    *("NaN", "Infinity", "1e400", "-1", "0", "2", "9" * 5_000, str(2**63), "1.5", "null", "true"),
    *('""', '"v9"', '"../../x"', '"\\ud800"', "[]", "{}", '{"a": 1}', "[1, [2]]"),
    *("[" * 100_000, '{"a":' * 100_000),
)


def _flip(draw: random.Random, data: bytes, _: bytes) -> bytes:
    damaged = bytearray(data or b"\0")
    for _one in range(draw.choice((1, 1, 1, 2, 8))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _truncate(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: draw.randrange(len(data) or 1)]


def _swap(draw: random.Random, data: bytes, _: bytes) -> bytes:
    one, two, three = sorted(draw.randrange(len(data) + 1) for _one in range(3))
    return data[:one] + data[two:three] + data[one:two] + data[three:]


def _repeat(draw: random.Random, data: bytes, _: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(data) + 1) for _one in range(2))
    return data[:end] + data[begin:end] + data[end:]


def _zero(draw: random.Random, data: bytes, _: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(data) + 1) for _one in range(2))
    return data[:begin] + bytes(end - begin) + data[end:]


def _empty(_: random.Random, _data: bytes, _other: bytes) -> bytes:
    return b""


def _garbage(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return draw.randbytes(len(data))


def _of_another(_: random.Random, _data: bytes, other: bytes) -> bytes:
    return other


def _no_utf8(draw: random.Random, data: bytes, _: bytes) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80")) + data[place:]


def _longer(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return data + draw.randbytes(draw.randrange(1, 64))


def _huge(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Claim a huge length, most often where Parquet and safetensors keep theirs."""
    number = draw.choice(_HUGE)
    place = draw.choice((0, len(data) - 8, draw.randrange(len(data) or 1)))
    return data[: max(place, 0)] + number + data[max(place, 0) + len(number) :]


BYTES: tuple[Mutation, ...] = (
    *(_flip, _flip, _truncate, _swap, _repeat, _zero, _empty),
    *(_garbage, _of_another, _no_utf8, _longer, _huge),
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def _leaf(draw: random.Random, data: bytes, _: bytes) -> bytes:
    value = json.loads(data)
    holder, key = draw.choice(_places(value))
    holder[key] = json.loads(_MARK)
    return json.dumps(value, ensure_ascii=False).replace(_MARK, draw.choice(_LEAVES)).encode()


def _lost(draw: random.Random, data: bytes, _: bytes) -> bytes:
    value = json.loads(data)
    holder, key = draw.choice(_places(value))
    del holder[key]
    return json.dumps(value).encode()


def _key_twice(draw: random.Random, data: bytes, _: bytes) -> bytes:
    value = json.loads(data)
    key = draw.choice(sorted(value))
    again = f"{json.dumps(key)}: {draw.choice(_LEAVES[:-2])}"
    text = json.dumps(value)
    return (f"{{{again}, {text[1:]}" if draw.random() < 0.5 else f"{text[:-1]}, {again}}}").encode()


JSON: tuple[Mutation, ...] = (*BYTES, _leaf, _leaf, _leaf, _leaf, _lost, _key_twice)


def _table(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Write a table that reads well and is wrong."""
    table = pq.read_table(BytesIO(data))
    change = draw.choice((_repeated, _reversed, _with_nulls, _renamed, _retyped, _odd_numbers))
    target = BytesIO()
    pq.write_table(change(table, draw), target)
    return target.getvalue()


def _repeated(table: pa.Table, _: random.Random) -> pa.Table:
    return pa.concat_tables([table, table])


def _reversed(table: pa.Table, _: random.Random) -> pa.Table:
    return table.take(pa.array(range(table.num_rows - 1, -1, -1)))


def _with_nulls(table: pa.Table, draw: random.Random) -> pa.Table:
    column = draw.randrange(table.num_columns)
    nulls = pa.nulls(table.num_rows, table.schema.types[column])
    return table.set_column(column, table.column_names[column], nulls)


def _renamed(table: pa.Table, draw: random.Random) -> pa.Table:
    return table.rename_columns(draw.choice((["a", "b"], ["a", "a"], table.column_names[::-1])))


def _retyped(table: pa.Table, draw: random.Random) -> pa.Table:
    column = draw.randrange(table.num_columns)
    kind = draw.choice((pa.int64(), pa.string(), pa.float64()))
    other = pa.array(range(table.num_rows)).cast(kind)
    return table.set_column(column, table.column_names[column], other)


def _odd_numbers(table: pa.Table, draw: random.Random) -> pa.Table:
    kind = table.schema.types[-1]
    if not pa.types.is_fixed_size_list(kind):
        return _repeated(table, draw)
    odd = draw.choice((float("nan"), float("inf"), 0.0, 1e30))
    flat = pa.array(np.full(table.num_rows * kind.list_size, odd, np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    return table.set_column(table.num_columns - 1, table.column_names[-1], vectors)


PARQUET: tuple[Mutation, ...] = (*BYTES, _table, _table, _table)


def _header(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Damage what safetensors says of names, types, shapes and places, its length put right."""
    (length,) = struct.unpack("<Q", data[:8])
    header = draw.choice((_leaf, _lost, _key_twice))(draw, data[8 : 8 + length], other)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _weights(draw: random.Random, data: bytes, _: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    odd = draw.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\x3f"))  # nan, inf, 1
    place = 8 + length + 4 * draw.randrange((len(data) - 8 - length) // 4)
    return data[:place] + odd + data[place + 4 :]


SAFETENSORS: tuple[Mutation, ...] = (*BYTES, _header, _header, _header, _weights, _weights)

OF_SUFFIX = {".json": JSON, ".parquet": PARQUET, ".safetensors": SAFETENSORS}


def damaged(draw: random.Random, suffix: str, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Return the name of a mutation and what it makes of a file."""
    mutation = draw.choice(OF_SUFFIX[suffix])
    return mutation.__name__.strip("_"), mutation(draw, data, other)
