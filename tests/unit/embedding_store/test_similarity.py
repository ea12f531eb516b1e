import numpy as np
import pyarrow as pa
import pytest

from embedding_store.contracts import EmbeddingShard, embedding_table
from embedding_store.similarity import (
    common_rows,
    mean_cosine,
    neighbour_overlap,
    probe_rows,
    similarity,
)


def shard(ids: list[str], vectors: np.ndarray) -> EmbeddingShard:
    table = embedding_table("item", pa.array(ids, pa.string()), vectors.astype(np.float32))
    return EmbeddingShard(table, "item", vectors.shape[1])


def test_common_rows_pair_equal_ids() -> None:
    old, new = pa.array(["a", "c", "d"]), pa.array(["b", "c", "d", "e"])
    rows_old, rows_new = common_rows(old, new)
    assert (rows_old.tolist(), rows_new.tolist()) == ([1, 2], [1, 2])


def test_the_probe_stays_when_the_catalogue_grows() -> None:
    few = pa.array([f"i{n}" for n in range(1000)])
    more = pa.array([f"i{n}" for n in range(1100)])
    one = {few[int(row)].as_py() for row in probe_rows(few, 100)}
    other = {more[int(row)].as_py() for row in probe_rows(more, 100)}
    assert len(one & other) >= 85


def test_the_probe_does_not_depend_on_the_order_of_ids() -> None:
    ids = [f"i{n}" for n in range(50)]
    forward, backward = pa.array(ids), pa.array(ids[::-1])
    assert {forward[int(n)].as_py() for n in probe_rows(forward, 7)} == {
        backward[int(n)].as_py() for n in probe_rows(backward, 7)
    }


def test_the_mean_cosine_ignores_lengths() -> None:
    old = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert mean_cosine(old, old * 5) == pytest.approx(1.0)
    assert mean_cosine(old, old[::-1]) == pytest.approx(0.0)


def test_overlap_counts_shared_neighbours_of_the_old_vector() -> None:
    """Twelve items on a circle: eleven others, ten of them are neighbours."""
    angles = np.arange(12) * 2 * np.pi / 12
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = np.arange(12)
    assert neighbour_overlap(circle, circle, rows) == 1.0
    # half a turn makes the farthest the nearest: the old farthest is now found, one old
    # neighbour is now the farthest, and the other nine stay among the ten
    assert neighbour_overlap(circle, -circle, rows) == pytest.approx(0.9)


def test_overlap_of_another_space_is_that_of_chance() -> None:
    draw = np.random.default_rng(0)
    old, new = draw.normal(size=(2, 400, 16)).astype(np.float32)
    assert neighbour_overlap(old, new, np.arange(64)) < 0.1


def test_nothing_in_common_is_no_similarity() -> None:
    vectors = np.ones((1, 2))
    assert similarity(shard(["a"], vectors), shard(["b"], vectors)) is None


def test_equal_versions_are_wholly_similar() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    items = shard([f"i{n:02d}" for n in range(30)], vectors)
    found = similarity(items, items, [(vectors[:3], vectors[:3])])
    assert found is not None
    assert found.item_mean_cosine == pytest.approx(1.0)
    assert found.item_overlap_at_10 == 1.0
    assert found.user_mean_cosine == pytest.approx(1.0)
    assert (found.probe_items, found.probe_users) == (30, 3)
