from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedding_store.errors import UnusableIndexError
from embedding_store.indexes import recall_of
from embedding_store.item_index import (
    IndexManifest,
    IndexParameters,
    ItemIndex,
    _lifted,
    grow,
    library_version,
    load,
)
from embedding_store.item_search import best_by_index, best_of_all

NONE = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Items whose lengths differ as a model's do."""
    draw = np.random.default_rng(0)
    lengths = np.exp(draw.normal(scale=0.3, size=(4000, 1)))
    return (draw.normal(size=(4000, 12)) * lengths).astype(np.float32)


@pytest.fixture(scope="module")
def index(vectors: np.ndarray) -> ItemIndex:
    return grow(vectors, IndexParameters(expansion_search=512), threads=1)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(50, 12)).astype(np.float32)


def manifest_of(index: ItemIndex, **changes: object) -> IndexManifest:
    fields: dict = {
        "version": "d" * 64,
        "library": "usearch",
        "library_version": library_version(),
        "parameters": index.parameters,
        "num_items": 4000,
        "dim": 12,
        "recall_at_100": 0.995,
        "num_queries": 200,
        "sha256": "s" * 64,
    }
    return IndexManifest(**{**fields, **changes})


@given(arrays(np.float32, (7, 3), elements=st.floats(-8, 8, width=32)))
def test_lifted_items_are_equally_long_and_keep_the_order_of_scores(items: np.ndarray) -> None:
    items[0] = [8, 0, 0]  # the longest is not zero
    longest = float(np.linalg.norm(items, axis=1).max())
    lifted = _lifted(items, longest)
    np.testing.assert_allclose(np.linalg.norm(lifted, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(lifted[:, :-1] * longest, items, atol=1e-5)


def test_the_longest_items_are_looked_at_for_every_query(
    vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise outliers press the others together where the graph tells none apart."""
    stretched = vectors.copy()
    stretched[:30] *= 1000
    index = grow(stretched, IndexParameters(), threads=1)
    assert set(range(30)) <= set(index.long_rows.tolist())
    monkeypatch.setattr("embedding_store.item_index.LONGEST", len(vectors) + 1)
    whole = grow(stretched, IndexParameters(), threads=1)
    assert not len(whole.long_rows)
    assert recall_of(index, stretched, queries) > 0.9 > recall_of(whole, stretched, queries)


def test_it_finds_nearly_all_of_the_best(
    index: ItemIndex, vectors: np.ndarray, queries: np.ndarray
) -> None:
    assert recall_of(index, vectors, queries) >= 0.99


def test_scores_and_order_are_those_of_exact_search(
    index: ItemIndex, vectors: np.ndarray, queries: np.ndarray
) -> None:
    for query in queries:
        found = best_by_index(index, vectors, query, 50, NONE)
        scores = vectors @ query
        np.testing.assert_allclose(found.scores, scores[found.rows], rtol=1e-4, atol=1e-5)
        exact = best_of_all(vectors, query, 50, NONE)
        there = np.isin(exact.rows, found.rows)
        assert there.mean() >= 0.9
        np.testing.assert_array_equal(
            exact.rows[there], found.rows[np.isin(found.rows, exact.rows)]
        )


def test_ties_go_to_the_smaller_row(queries: np.ndarray) -> None:
    twins = np.repeat(np.random.default_rng(2).normal(size=(400, 12)), 2, axis=0)
    twins = twins.astype(np.float32)
    found = best_by_index(grow(twins, IndexParameters(), threads=1), twins, queries[0], 6, NONE)
    assert found.rows[::2].tolist() == [row - 1 for row in found.rows[1::2].tolist()]


def test_excluded_items_make_room_for_others(
    index: ItemIndex, vectors: np.ndarray, queries: np.ndarray
) -> None:
    seen = best_of_all(vectors, queries[0], 200, NONE).rows
    found = best_by_index(index, vectors, queries[0], 20, seen)
    exact = best_of_all(vectors, queries[0], 20, seen)
    assert len(found.rows) == 20
    assert not np.isin(found.rows, seen).any()
    assert np.isin(found.rows, exact.rows).mean() >= 0.9


def test_what_would_take_most_items_is_left_to_exact_search(
    index: ItemIndex, vectors: np.ndarray, queries: np.ndarray
) -> None:
    assert best_by_index(index, vectors, queries[0], 1000, NONE) is None


def test_a_query_of_zeros_is_answered(index: ItemIndex, vectors: np.ndarray) -> None:
    found = best_by_index(index, vectors, np.zeros(12, dtype=np.float32), 3, NONE)
    assert found.scores.tolist() == [0, 0, 0]


def test_threads_may_share_it(index: ItemIndex, vectors: np.ndarray, queries: np.ndarray) -> None:
    alone = [index.candidates(query, 50).tolist() for query in queries]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda query: index.candidates(query, 50).tolist(), queries)
        assert list(together) == alone


def test_what_was_saved_answers_the_same(
    index: ItemIndex, vectors: np.ndarray, queries: np.ndarray
) -> None:
    manifest = manifest_of(index)
    read = load(bytes(index.graph.save()), IndexManifest.from_bytes(manifest.to_bytes()), vectors)
    assert read.recall_at_100 == 0.995
    for query in queries:
        np.testing.assert_array_equal(read.candidates(query, 50), index.candidates(query, 50))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"library": "another"}, "another .* wrote it, usearch .* is installed"),
        ({"library_version": "2.999.0"}, "usearch 2.999.0 wrote it"),
        ({"library_version": "1.0.0"}, "usearch 1.0.0 wrote it"),
        ({"num_items": 5}, "want 4000 items, got 3960 beside 40 long ones"),
    ],
)
def test_an_index_of_another_kind_is_not_used(
    index: ItemIndex, vectors: np.ndarray, changes: dict, message: str
) -> None:
    with pytest.raises(UnusableIndexError, match=message):
        load(bytes(index.graph.save()), manifest_of(index, **changes), vectors)


def test_bytes_that_are_no_graph_are_not_used(index: ItemIndex, vectors: np.ndarray) -> None:
    with pytest.raises(UnusableIndexError, match="cannot load it"):
        load(b"no graph at all" * 100, manifest_of(index), vectors)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format_version": 2}', b"\xff"])
def test_a_damaged_manifest_says_so(data: bytes) -> None:
    with pytest.raises(UnusableIndexError):
        IndexManifest.from_bytes(data)
