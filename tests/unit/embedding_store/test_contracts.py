import numpy as np
import pyarrow as pa
import pytest

from embedding_store.contracts import EmbeddingShard, embedding_table
from embedding_store.errors import ContractError
from lake.hashing import buckets, keyed_hash

GOOD = np.arange(1, 7, dtype=np.float32).reshape(3, 2)


def shard(ids: list[str | None], vectors: np.ndarray = GOOD, side: str = "item") -> EmbeddingShard:
    return EmbeddingShard(embedding_table(side, pa.array(ids, pa.string()), vectors), side, 2)


def test_holding_a_shard_gives_ids_and_vectors_without_a_copy() -> None:
    held = shard(["a", "b", "c"])
    assert held.ids.to_pylist() == ["a", "b", "c"]
    np.testing.assert_array_equal(held.vectors, GOOD)
    assert not held.vectors.flags.writeable


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "b"], "unique: item 'b'"),
        (["b", "a", "c"], "sorted: item 'b'"),
        (["a", None, "c"], "is null"),
    ],
)
def test_ids_are_unique_sorted_and_never_null(ids: list[str | None], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        shard(ids)


def test_ids_are_sorted_by_their_bytes() -> None:
    assert shard(["Z", "a", "é"]).ids.to_pylist() == ["Z", "a", "é"]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_vectors_are_finite(odd: float) -> None:
    vectors = GOOD.copy()
    vectors[1, 1] = odd
    with pytest.raises(ContractError, match="finite: item 'b'"):
        shard(["a", "b", "c"], vectors)


def test_vectors_are_not_zero() -> None:
    vectors = GOOD.copy()
    vectors[2] = 0
    with pytest.raises(ContractError, match="non-zero: item 'c'"):
        shard(["a", "b", "c"], vectors)


def test_a_user_is_named_by_a_keyed_hash_only() -> None:
    with pytest.raises(ContractError, match=keyed_hash("alice")) as caught:
        shard(["alice", "alice", "bob"], side="user")
    assert "alice" not in str(caught.value)


def table(**changes: object) -> pa.Table:
    columns = {
        "item_id": pa.array(["a"], pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2),
    }
    return pa.table({**columns, **changes})


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (table(extra=["x"]), "columns: want"),
        (table(item_id=pa.array([7])), "want string, got int64"),
        (table(embedding=pa.array([[1.0, 2.0]], pa.list_(pa.float32()))), "want fixed_size_list"),
        (
            table(embedding=pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2))),
            "want fixed_size_list",
        ),
        (table(embedding=pa.array([[1.0]], pa.list_(pa.float32(), 1))), "want fixed_size_list"),
        (table(embedding=pa.array([None], pa.list_(pa.float32(), 2))), "has nulls"),
        (table(embedding=pa.array([[1.0, None]], pa.list_(pa.float32(), 2))), "has nulls"),
    ],
)
def test_columns_and_types_are_fixed(odd: pa.Table, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        EmbeddingShard(odd, "item", 2)


def test_an_empty_shard_is_valid() -> None:
    empty = shard([], np.empty((0, 2), dtype=np.float32))
    assert len(empty.ids) == 0
    assert empty.vectors.shape == (0, 2)


def test_a_sliced_shard_holds_its_own_rows() -> None:
    sliced = EmbeddingShard(shard(["a", "b", "c"]).table.slice(1, 2), "item", 2)
    assert sliced.ids.to_pylist() == ["b", "c"]
    np.testing.assert_array_equal(sliced.vectors, GOOD[1:])


def test_a_user_in_the_wrong_bucket_is_refused_by_its_hash() -> None:
    users = shard(["alice", "bob", "carol"], side="user")
    own = int(buckets(["alice"], 4)[0])
    stranger = next(b for b in range(4) if b != own)
    with pytest.raises(ContractError, match=f"user {keyed_hash('alice')} is not of bucket"):
        users.check_bucket(stranger, 4)
