from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_store.errors import ContractError
from feature_repo.pushed_files import read_pushed


def file_of(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "fresh.parquet")
    return folder / "fresh.parquet"


def broken_text() -> pa.Array:
    """A string that is no UTF-8."""
    data = pa.array([b"\xff\xfe"])
    return pa.Array.from_buffers(pa.string(), 1, data.buffers())


def test_lists_of_doubles_become_vectors(tmp_path: Path) -> None:
    path = file_of(tmp_path, user_id=["b", "a"], embedding=[[1.0, 2.0], [3.0, 4.0]])

    ids, vectors = read_pushed(path)

    assert ids == ["b", "a"]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"user": ["a"], "embedding": [[1.0]]}, "columns: want"),
        ({"user_id": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}, "of one length, got .1, 2."),
        ({"user_id": ["a", None], "embedding": [[1.0], [2.0]]}, "user_id: want a value in every"),
        ({"user_id": ["a", "b"], "embedding": [[1.0], None]}, "embedding: want a value in every"),
        ({"user_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))},
         "got 0 nulls in 0 rows"),
        ({"user_id": [b"a"], "embedding": [[1.0]]}, "user_id: want strings, got binary"),
        ({"user_id": [7], "embedding": [[1.0]]}, "user_id: want strings, got int64"),
        ({"user_id": [["a"]], "embedding": [[1.0]]}, "user_id: want strings, got list"),
        ({"user_id": ["a"], "embedding": ["1.0"]}, "embedding: want lists of floats, got string"),
        ({"user_id": ["a"], "embedding": [1.0]}, "embedding: want lists of floats, got double"),
        ({"user_id": ["a"], "embedding": [[1]]}, "embedding: want lists of floats, got list"),
        ({"user_id": ["a"], "embedding": [{"x": 1.0}]}, "embedding: want lists of floats"),
        ({"user_id": broken_text(), "embedding": [[1.0]]}, "want a whole Parquet file"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_vectors_is_refused(
    tmp_path: Path, columns: dict[str, Any], why: str
) -> None:
    with pytest.raises(ContractError, match=why):
        read_pushed(file_of(tmp_path, **columns))


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fresh.parquet").write_text("user_id,embedding\n")
    with pytest.raises(ContractError, match="want a whole Parquet file"):
        read_pushed(tmp_path / "fresh.parquet")


def test_ids_of_a_dictionary_are_strings(tmp_path: Path) -> None:
    ids = pa.array(["b", "a", "b"]).dictionary_encode()
    read, _ = read_pushed(file_of(tmp_path, user_id=ids, embedding=[[1.0], [2.0], [3.0]]))

    assert read == ["b", "a", "b"]
