import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT
from training.evaluation.asked import Sequences

pytest.importorskip("scipy")

from training.evaluation.baselines.item_knn import ItemKnnConfig, item_knn


def sequences(*rows: list[int]) -> Sequences:
    flat = np.array([item for row in rows for item in row], dtype=np.int64)
    return Sequences(
        offsets=np.cumsum([0, *(len(row) for row in rows)]),
        candidate_T=flat,
        first_at_T=np.full(len(flat), UNKNOWN_INSTANT),
        num_candidates=4,
    )


# sets of users: 0: {a, b}, 1: {a, b, c}, 2: {b}, 3: {c}
LEARNED = sequences([0, 1, 0], [0, 1, 2], [1, 3])


def test_a_score_is_the_sum_of_shrunk_cosines() -> None:
    config = ItemKnnConfig(num_neighbours=3, shrinkage=1.0)

    scores = item_knn(LEARNED, config)(sequences([0, 0], [0, 3]))(slice(0, 2))

    of_0 = np.array([0, 2 / (np.sqrt(6) + 1), 1 / (np.sqrt(2) + 1), 0])
    of_3 = np.array([0, 1 / (np.sqrt(3) + 1), 0, 0])
    np.testing.assert_allclose(scores, [of_0, of_0 + of_3], rtol=1e-6)


def test_only_the_nearest_neighbours_count() -> None:
    config = ItemKnnConfig(num_neighbours=1, shrinkage=0.0)

    scores = item_knn(LEARNED, config)(sequences([0]))(slice(0, 1))

    np.testing.assert_allclose(scores, [[0, 2 / np.sqrt(6), 0, 0]], rtol=1e-6)
