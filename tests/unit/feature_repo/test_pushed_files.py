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


def test_lists_of_doubles_become_vectors(tmp_path: Path) -> None:
    path = file_of(tmp_path, user_id=["b", "a"], embedding=[[1.0, 2.0], [3.0, 4.0]])

    ids, vectors = read_pushed(path)

    assert ids == ["b", "a"]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_what_is_no_table_of_vectors_is_refused(tmp_path: Path) -> None:
    for columns, why in (
        ({"user": ["a"], "embedding": [[1.0]]}, "columns: want"),
        ({"user_id": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}, "of one length"),
        ({"user_id": ["a", None], "embedding": [[1.0], [2.0]]}, "of one length"),
    ):
        with pytest.raises(ContractError, match=why):
            read_pushed(file_of(tmp_path, **columns))
    (tmp_path / "fresh.parquet").write_text("user_id,embedding\n")
    with pytest.raises(ContractError, match="want a Parquet file"):
        read_pushed(tmp_path / "fresh.parquet")
