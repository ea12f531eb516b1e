from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_store.contracts import embedding_table
from embedding_store.errors import ContractError
from embedding_store.parts import (
    dim_of,
    parts_of,
    read_default_user,
    read_shard,
    shards,
    write_part,
)


def part(path: Path, ids: list[str], side: str = "item") -> None:
    vectors = np.ones((len(ids), 3), dtype=np.float32)
    write_part(path, embedding_table(side, pa.array(ids, pa.string()), vectors))


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        part(tmp_path / name / "part-0.parquet", ["a", "b"])
    one, other = (tmp_path / name / "part-0.parquet" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_parts_come_by_number(tmp_path: Path) -> None:
    for number in (10, 2, 0, 1, *range(3, 10)):
        part(tmp_path / f"part-{number}.parquet", [f"i{number:02d}"])
    assert [one.number for one in parts_of(tmp_path, "item")] == list(range(11))
    ids = [shard.ids[0].as_py() for shard in shards(tmp_path, "item", 3)]
    assert ids == [f"i{number:02d}" for number in range(11)]


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", ["a"])
    part(tmp_path / "part-2.parquet", ["b"])
    with pytest.raises(ContractError, match=r"want part-0.parquet, part-1.parquet"):
        parts_of(tmp_path, "item")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="want part-0"):
        parts_of(tmp_path, "item")


def test_users_come_in_a_power_of_two_parts(tmp_path: Path) -> None:
    for number in range(3):
        part(tmp_path / f"part-{number}.parquet", [], side="user")
    with pytest.raises(ContractError, match="2\\^k"):
        parts_of(tmp_path, "user")


def test_an_item_in_two_parts_is_refused(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", ["a", "c"])
    part(tmp_path / "part-1.parquet", ["c", "d"])
    with pytest.raises(ContractError, match="unique: item 'c'"):
        list(shards(tmp_path, "item", 3))


def test_the_default_user_is_one_row_of_nobody(tmp_path: Path) -> None:
    part(tmp_path / "default.parquet", [""], side="user")
    part(tmp_path / "somebody.parquet", ["alice"], side="user")
    assert len(read_default_user(tmp_path / "default.parquet", 3).ids) == 1
    with pytest.raises(ContractError, match="one row with user_id ''"):
        read_default_user(tmp_path / "somebody.parquet", 3)


def test_the_dim_is_read_from_the_schema(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", [])
    assert dim_of(tmp_path / "part-0.parquet") == 3
    lists = pa.table({"item_id": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float32()))})
    pq.write_table(lists, tmp_path / "lists.parquet")
    with pytest.raises(ContractError, match="fixed_size_list"):
        dim_of(tmp_path / "lists.parquet")


def test_vectors_are_stored_plain_and_ids_compressed(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", ["a"])
    group = pq.read_metadata(tmp_path / "part-0.parquet").row_group(0)
    assert [group.column(n).compression for n in range(2)] == ["ZSTD", "UNCOMPRESSED"]


def test_encoded_vectors_take_the_bytes_of_their_dtype(tmp_path: Path) -> None:
    """Parquet alone keeps an int8 in four bytes."""
    rows, dim = 2000, 64
    vectors = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    ids = pa.array([f"i{number:04d}" for number in range(rows)])
    for dtype, width in {"float16": 2, "int8": 1}.items():
        path = tmp_path / f"{dtype}.parquet"
        write_part(path, embedding_table("item", ids, vectors, dtype))
        column = pq.read_metadata(path).row_group(0).column(1)
        assert column.total_compressed_size < 1.05 * width * rows * dim
        assert read_shard(path, "item", dim, dtype).table.num_rows == rows
