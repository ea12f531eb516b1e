import numpy as np
import pyarrow as pa
import pytest

from benchmarks.frozen_consumers import Inputs, Rows, Vectors, inputs_of, mean_auc, ranker, ridge
from embedding_store.contracts import EmbeddingShard, embedding_table

draw = np.random.default_rng(7)
IDS = [f"u{number:03d}" for number in range(200)]
USERS = draw.normal(size=(200, 4)).astype(np.float32) * np.array([4, 2, 1, 0.1], dtype=np.float32)
EVERYBODY = np.ones(200, dtype=bool)


def shard(side: str, ids: list[str], vectors: np.ndarray) -> EmbeddingShard:
    return EmbeddingShard(embedding_table(side, pa.array(ids, pa.string()), vectors), side, 4)


VECTORS = Vectors(
    shard("user", IDS, USERS), shard("item", ["a", "b"], np.ones((2, 4), dtype=np.float32))
)


def rows(user_ids: list[str], item_ids: list[str] | None = None) -> Rows:
    context = np.zeros((len(user_ids), 1 if item_ids else 0))
    labels = np.zeros((len(user_ids), 1), dtype=np.int64)
    return Rows(user_ids, item_ids, labels, context, np.ones(context.shape[1], dtype=bool))


def test_who_has_no_vector_is_not_asked() -> None:
    found = inputs_of(rows(["u001", "nobody", "u002"], ["a", "a", "unknown"]), VECTORS)
    assert found.is_known.tolist() == [True, False, False]
    assert found.values[0, 1:].tolist() == [*USERS[1].tolist(), 1, 1, 1, 1, *USERS[1].tolist()]


def test_coordinates_are_one_block_unless_each_is_scaled() -> None:
    shared = inputs_of(rows(["u001"], ["a"]), VECTORS).block
    assert shared.tolist() == [0, *[1] * 4, *[2] * 4, *[3] * 4]
    assert inputs_of(rows(["u001"]), VECTORS, is_each_scaled=True).block.tolist() == [0, 1, 2, 3]


def test_a_rotation_before_learning_changes_nothing_but_afterwards_everything() -> None:
    labels = (USERS[:, :1] > 0).astype(np.int64)
    turn = np.linalg.qr(draw.normal(size=(4, 4)))[0]
    block = np.zeros(4, dtype=np.int64)

    def learned(vectors: np.ndarray) -> object:
        return ridge(Inputs(vectors, block, EVERYBODY), EVERYBODY, labels)

    plain, turned = learned(USERS), learned(USERS @ turn)
    np.testing.assert_allclose(turned(USERS @ turn), plain(USERS), atol=1e-6)
    assert np.corrcoef(plain(USERS @ turn)[:, 0], plain(USERS)[:, 0])[0, 1] < 0.95


def test_places_explain_choices_and_are_ignored_where_it_is_asked() -> None:
    values = draw.normal(size=(200, 2))
    labels = (values.sum(axis=1) > 0).astype(np.int64)[:, None]
    score = ranker(np.array([True, False]))(
        Inputs(values, np.array([0, 1]), EVERYBODY), EVERYBODY, labels
    )
    moved = values + np.array([5.0, 0.0])
    np.testing.assert_allclose(score(moved), score(values))


def test_a_question_with_few_answers_of_a_kind_is_left_out() -> None:
    labels = np.zeros((200, 2), dtype=np.int64)
    labels[:100, 0] = 1
    labels[:29, 1] = 1
    scores = -np.arange(200.0)[:, None] * np.array([[1.0, -1.0]])
    assert mean_auc(labels, scores, np.ones((1, 200), dtype=np.int64)) == pytest.approx([1.0])
