import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT
from training.evaluation.asked import Sequences

pytest.importorskip("implicit")

from training.evaluation.baselines.als import AlsConfig, Factors, als


def sequences(*rows: list[int]) -> Sequences:
    flat = np.array([item for row in rows for item in row], dtype=np.int64)
    return Sequences(
        offsets=np.cumsum([0, *(len(row) for row in rows)]),
        candidate_T=flat,
        first_at_T=np.full(len(flat), UNKNOWN_INSTANT),
        num_candidates=6,
    )


TASTES = sequences(*[[0, 1, 2]] * 4, *[[3, 4, 5]] * 4)


def factors() -> Factors:
    return als(TASTES, AlsConfig(num_factors=2, regularization=0.1, alpha=10.0))


def test_a_history_that_was_not_learned_from_gets_the_items_of_its_like() -> None:
    scores = factors().score(sequences([0, 1], [4]))(slice(0, 2))

    assert scores[0, 2] > scores[0, 3:].max() + 0.3
    assert scores[1, [3, 5]].min() > scores[1, :3].max() + 0.1


def test_the_same_seed_gives_the_same_scores() -> None:
    one, other = (factors().score(TASTES)(slice(0, 8)) for _ in range(2))

    np.testing.assert_array_equal(one, other)
