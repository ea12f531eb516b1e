"""What the store reads: holding one of these is the proof that it is valid.

::

    user/part-<bucket>.parquet   user_id string | embedding fixed_size_list<float32>[dim]
    item/part-<n>.parquet        item_id string | embedding fixed_size_list<float32>[dim]
    user_default.parquet         one row, user_id ""

Users lie in the bucket of their id (``lake.hashing.buckets``, 2^k parts) and are sorted inside it;
item parts follow each other in the order of ids. So an id can stand only once in a whole version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedding_store.errors import ContractError
from lake.hashing import buckets, keyed_hash

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Ids: TypeAlias = pa.StringArray
Side = Literal["user", "item"]

SIDES: tuple[Side, ...] = ("user", "item")
ID_COLUMNS: dict[Side, str] = {"user": "user_id", "item": "item_id"}
EMBEDDING = "embedding"
DEFAULT_USER_ID = ""
"""The id in ``user_default.parquet``: nobody's."""


@dataclass(frozen=True)
class EmbeddingShard:
    """Embeddings of some users or some items.

    Columns: ``<side>_id`` string, unique and sorted by its bytes. ``embedding`` float32[dim],
    finite, not zero. Raises ContractError, naming the rule and the first offending key, which for
    a user is a keyed hash.
    """

    table: pa.Table
    side: Side
    dim: int

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
        """The embeddings, float32[rows, dim], read-only."""
        return vectors_of(self.table.column(EMBEDDING), self.dim)

    def check_bucket(self, bucket: int, num_buckets: int) -> None:
        """Raise ContractError unless every user belongs to ``bucket``."""
        misplaced = np.flatnonzero(buckets(strings(self.ids), num_buckets) != bucket)
        if len(misplaced):
            self._refuse("bucket", f"is not of bucket {bucket} of {num_buckets}", misplaced[0])

    def _check_schema(self) -> None:
        want = [ID_COLUMNS[self.side], EMBEDDING]
        if self.table.column_names != want:
            raise ContractError(
                f"{self.side} embeddings columns: want {want}, got {self.table.column_names}"
            )
        id_type, vector_type = (self.table.schema.field(name).type for name in want)
        if id_type != pa.string():
            raise ContractError(f"{self.side} embeddings {want[0]}: want string, got {id_type}")
        if (
            not pa.types.is_fixed_size_list(vector_type)
            or vector_type.value_type != pa.float32()
            or vector_type.list_size != self.dim
        ):
            raise ContractError(
                f"{self.side} embeddings embedding: want fixed_size_list<float>[{self.dim}], "
                f"got {vector_type}"
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
        odd = ~np.isfinite(self.vectors).all(axis=1)
        if odd.any():
            self._refuse("finite", "has a vector that is not finite", int(odd.argmax()))
        zero = ~self.vectors.any(axis=1)
        if zero.any():
            self._refuse("non-zero", "has a vector of zeros", int(zero.argmax()))

    def _refuse(self, rule: str, what: str, row: int) -> None:
        key = self.ids[int(row)].as_py()
        name = f"user {keyed_hash(key)}" if self.side == "user" else f"item {key!r}"
        raise ContractError(f"{self.side} embeddings, rule {rule}: {name} {what}")


def _first_true(mask: pa.BooleanArray) -> int | None:
    index = pc.index(mask, value=True).as_py()
    return None if index < 0 else int(index)


def vectors_of(column: "pa.ChunkedArray[Any]", dim: int) -> Float32:
    """Return a fixed-size-list column as float32[rows, dim], without a copy where possible."""
    flat: Float32 = pc.list_flatten(column).to_numpy()
    return flat.reshape(-1, dim)


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


def embedding_table(side: Side, ids: Ids, vectors: Float32) -> pa.Table:
    """Return ids and float32[rows, dim] as a table of the contract's layout."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({ID_COLUMNS[side]: ids, EMBEDDING: column})
