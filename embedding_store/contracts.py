"""What the store reads: holding one of these is the proof that it is valid.

::

    user/part-<bucket>.parquet   user_id string | embedding fixed_size_list[dim] | scale
    item/part-<n>.parquet        item_id string | embedding fixed_size_list[dim] | scale
    user_default.parquet         one row, user_id ""

What the lists are of, and whether there is a ``scale``, follows from the version's dtype
(``embedding_store.dtypes``): float32 unless the version says otherwise, and in what it is made of.

Users lie in the bucket of their id (``lake.hashing.buckets``, 2^k parts) and are sorted inside it;
item parts follow each other in the order of ids. So an id can stand only once in a whole version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.dtypes import DEFAULT_DTYPE, decode, encode, encoding_of
from embedding_store.errors import ContractError
from lake.hashing import buckets, keyed_hash

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Ids: TypeAlias = pa.StringArray
Side = Literal["user", "item"]

SIDES: tuple[Side, ...] = ("user", "item")
ID_COLUMNS: dict[Side, str] = {"user": "user_id", "item": "item_id"}
EMBEDDING = "embedding"
SCALE = "scale"
DEFAULT_USER_ID = ""
"""The id in ``user_default.parquet``: nobody's."""


@dataclass(frozen=True)
class EmbeddingShard:
    """Embeddings of some users or some items.

    Columns: ``<side>_id`` string, unique and sorted by its bytes. ``embedding`` of the dtype's
    numbers; ``scale`` float32, positive, where the dtype has one. As float32, vectors are finite
    and not zero. Raises ContractError, naming the rule and the first offending key, which for a
    user is a keyed hash.
    """

    table: pa.Table
    """As it is stored."""
    side: Side
    dim: int
    dtype: str = DEFAULT_DTYPE

    def __post_init__(self) -> None:
        """Prove the rules; the cheap ones first."""
        self._check_schema()
        if not self.table.num_rows:
            return
        self._check_ids()
        self._check_vectors()

    @cached_property
    def ids(self) -> Ids:
        """The ids, string, in order."""
        chunks = self.table.column(ID_COLUMNS[self.side]).chunks
        return cast(
            "Ids",
            chunks[0]
            if len(chunks) == 1
            else pa.concat_arrays(chunks or [pa.nulls(0, pa.string())]),
        )

    @cached_property
    def vectors(self) -> Float32:
        """The embeddings, float32[rows, dim], read-only; what every reader is answered from."""
        flat = pc.list_flatten(self.table.column(EMBEDDING)).to_numpy()
        vectors = decode(flat.reshape(-1, self.dim), self._scales)
        vectors.flags.writeable = False
        return vectors

    @property
    def decoded(self) -> pa.Table:
        """The embeddings as a table of float32, whatever they are stored as."""
        if self.dtype == DEFAULT_DTYPE:
            return self.table
        return embedding_table(self.side, self.ids, self.vectors)

    def stored_as(self, dtype: str) -> "EmbeddingShard":
        """Return the embeddings as that dtype holds them, proven."""
        table = embedding_table(self.side, self.ids, self.vectors, dtype)
        return EmbeddingShard(table, self.side, self.dim, dtype)

    def take(self, rows: npt.NDArray[np.int64]) -> "EmbeddingShard":
        """Return some rows, ascending, as they are stored."""
        schema = _schema(self.side, self.dim, self.dtype)
        return EmbeddingShard(self.table.take(rows).cast(schema), self.side, self.dim, self.dtype)

    def check_bucket(self, bucket: int, num_buckets: int) -> None:
        """Raise ContractError unless every user belongs to ``bucket``."""
        misplaced = np.flatnonzero(buckets(strings(self.ids), num_buckets) != bucket)
        if len(misplaced):
            self._refuse("bucket", f"is not of bucket {bucket} of {num_buckets}", misplaced[0])

    @property
    def _scales(self) -> Float32 | None:
        if not encoding_of(self.dtype).has_scale:
            return None
        scales: Float32 = self.table.column(SCALE).to_numpy()
        return scales

    def _check_schema(self) -> None:
        schema = _schema(self.side, self.dim, self.dtype)
        if self.table.column_names != schema.names:
            raise ContractError(
                f"{self.side} embeddings columns: want {schema.names} of {self.dtype}, got "
                f"{self.table.column_names}"
            )
        for want, got in zip(schema, self.table.schema, strict=True):
            if not _is_same_type(want.type, got.type):
                raise ContractError(
                    f"{self.side} embeddings {want.name}: want {_said(want.type)}, got {got.type}"
                )

    def _check_ids(self) -> None:
        if self.ids.null_count:
            raise ContractError(f"{self.side} embeddings {ID_COLUMNS[self.side]}: is null")
        if len(self.ids) == 1:
            return
        before, after = self.ids[:-1], self.ids[1:]
        repeats = _first_true(pc.equal(before, after))
        if repeats is not None:
            self._refuse("unique", "repeats", repeats)
        unsorted = _first_true(pc.greater(before, after))
        if unsorted is not None:
            self._refuse("sorted", "comes before a smaller id", unsorted)

    def _check_vectors(self) -> None:
        column = self.table.column(EMBEDDING)
        if column.null_count or pc.list_flatten(column).null_count:
            raise ContractError(f"{self.side} embeddings embedding: has nulls")
        self._check_scales()
        odd = ~np.isfinite(self.vectors).all(axis=1)
        if odd.any():
            self._refuse("finite", "has a vector that is not finite", int(odd.argmax()))
        zero = ~self.vectors.any(axis=1)
        if zero.any():
            self._refuse("non-zero", "has a vector of zeros", int(zero.argmax()))

    def _check_scales(self) -> None:
        if self._scales is None:
            return
        if self.table.column(SCALE).null_count:
            raise ContractError(f"{self.side} embeddings {SCALE}: has nulls")
        odd = ~(self._scales > 0) | np.isinf(self._scales)
        if odd.any():
            self._refuse("scale", "has a scale that is not positive and finite", int(odd.argmax()))

    def _refuse(self, rule: str, what: str, row: int) -> None:
        key = self.ids[int(row)].as_py()
        name = f"user {keyed_hash(key)}" if self.side == "user" else f"item {key!r}"
        raise ContractError(f"{self.side} embeddings, rule {rule}: {name} {what}")


def _first_true(mask: pa.BooleanArray) -> int | None:
    index = pc.index(mask, value=True).as_py()
    return None if index < 0 else int(index)


def _schema(side: Side, dim: int, dtype: str) -> pa.Schema:
    """Return the columns of a part."""
    encoding = encoding_of(dtype)
    columns: dict[str, pa.DataType] = {
        ID_COLUMNS[side]: pa.string(),
        EMBEDDING: pa.list_(encoding.value_type, dim),
    }
    return pa.schema(columns | ({SCALE: pa.float32()} if encoding.has_scale else {}))


def _is_same_type(want: pa.DataType, got: pa.DataType) -> bool:
    """Return whether types are equal but for the name of a list's values, which Parquet changes."""
    if not (pa.types.is_fixed_size_list(want) and pa.types.is_fixed_size_list(got)):
        return bool(want == got)
    return bool(want.value_type == got.value_type and want.list_size == got.list_size)


def _said(kind: pa.DataType) -> str:
    if not pa.types.is_fixed_size_list(kind):
        return str(kind)
    return f"fixed_size_list<{kind.value_type}>[{kind.list_size}]"


def strings(ids: Ids) -> list[str]:
    """Return ids as Python strings."""
    return cast("list[str]", ids.to_pylist())


def asked_ids(ids: Sequence[str]) -> Ids:
    """Return ids as Arrow has them; raises ContractError unless each is a string in UTF-8."""
    if isinstance(ids, (str, bytes)):  # a sequence too, of ids of one letter
        raise ContractError(f"ids: want strings in a list, got one alone of length {len(ids)}")
    try:
        asked = pa.array(ids, pa.string())
    except (TypeError, pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise ContractError(f"ids: want strings ({error})") from error
    if asked.null_count:
        raise ContractError(f"ids: want strings, got {asked.null_count} nulls")
    return asked


def embedding_table(side: Side, ids: Ids, vectors: Float32, dtype: str = DEFAULT_DTYPE) -> pa.Table:
    """Return ids and float32[rows, dim] as a table of the contract's layout, encoded."""
    numbers, scales = encode(vectors, dtype)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), vectors.shape[1])
    columns = {ID_COLUMNS[side]: ids, EMBEDDING: column}
    return pa.table(columns if scales is None else {**columns, SCALE: pa.array(scales)})
