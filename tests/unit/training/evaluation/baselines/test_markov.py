import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT
from training.evaluation.asked import Sequences

pytest.importorskip("scipy")

from training.evaluation.baselines.markov import markov


def sequences(*rows: list[int], num_candidates: int = 4) -> Sequences:
    flat = np.array([item for row in rows for item in row], dtype=np.int64)
    return Sequences(
        offsets=np.cumsum([0, *(len(row) for row in rows)]),
        candidate_T=flat,
        first_at_T=np.full(len(flat), UNKNOWN_INSTANT),
        num_candidates=num_candidates,
    )


def test_a_score_is_how_often_it_followed_and_popularity_orders_the_rest() -> None:
    # 0 -> 1 twice, 1 -> 2 once; chosen: 0 twice, 1 twice, 2 once, 3 once, alone
    learned = sequences([0, 1, 2], [0, 1], [3])

    scores = markov(learned, sequences([2, 0], [1]))(slice(0, 2))

    counts = np.array([[0, 2, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(scores, counts + np.array([2, 2, 1, 1]) / 3, rtol=1e-6)


def test_one_user_never_follows_another() -> None:
    scores = markov(sequences([0], [1]), sequences([0]))(slice(0, 1))

    assert scores.max() < 1


def test_an_empty_history_gets_popularity() -> None:
    scores = markov(sequences([0, 1], [0, 1]), sequences([], [0]))(slice(0, 2))

    np.testing.assert_allclose(scores[0], np.array([2, 2, 0, 0]) / 3, rtol=1e-6)
    assert scores[1, 1] > 2
