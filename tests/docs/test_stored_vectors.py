"""The page about stored vectors: its SQL runs in DuckDB and gives what the client answers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_store.client import EmbeddingClient
from embedding_store.dtypes import ENCODINGS
from embedding_store.pinned import PinnedVersion
from tests.docs.commands import ROOT
from tests.unit.embedding_store.small_world import SmallWorld

duckdb = pytest.importorskip("duckdb", reason="the extra `dev` is older than this test")

PAGE = (ROOT / "docs" / "stored-vectors.md").read_text()
PLAIN, SCALED, SCORES = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def served(folder: Path, dtype: str) -> PinnedVersion:
    world = SmallWorld(folder, dtype=dtype)
    world.serve(0)
    return EmbeddingClient(world.store.root).pin()


def asked(sql: str, version: PinnedVersion) -> list[tuple[Any, ...]]:
    place = version.files("item")[0].parent.parent
    rows: list[tuple[Any, ...]] = duckdb.sql(sql.replace("<version>", str(place))).fetchall()
    return rows


@pytest.mark.parametrize("dtype", ENCODINGS)
def test_the_vectors_are_those_that_the_client_answers(tmp_path: Path, dtype: str) -> None:
    version = served(tmp_path, dtype)
    rows = asked(SCALED if dtype == "int8" else PLAIN, version)
    items = version.items([name for name, _ in rows])
    assert items.is_found.sum() == len(version.all_items()[0])
    got = np.array([vector for _, vector in rows])
    np.testing.assert_array_equal(got, items.vectors.astype(np.float64))


def test_the_scores_are_inner_products(tmp_path: Path) -> None:
    version = served(tmp_path, "int8")
    rows = asked(SCORES, version)
    assert len(rows) == 60 * 40
    users, items = (
        version.users([row[0] for row in rows]),
        version.items([row[1] for row in rows]),
    )
    want = (users.vectors * items.vectors).sum(axis=1)
    np.testing.assert_allclose([row[2] for row in rows], want, rtol=1e-3, atol=1e-5)
