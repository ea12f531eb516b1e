from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.ranking import CUT, METRICS, Float32, expected_metrics, rank_targets


def metrics_at(rank: int) -> list[float]:
    in_cut = rank <= CUT
    return [float(in_cut), 1 / np.log2(rank + 1) if in_cut else 0.0, 1 / rank]


@pytest.mark.parametrize("rank", [1, 2, 10, 11, 20])
def test_without_ties_the_metrics_are_those_of_the_rank(rank: int) -> None:
    found = expected_metrics(np.array([rank - 1]), np.array([1]), 20)

    assert found[0] == pytest.approx(metrics_at(rank))


@given(scores=st.lists(st.integers(0, 2), min_size=4, max_size=4), target=st.integers(0, 3))
def test_ties_give_the_mean_over_every_order(scores: list[int], target: int) -> None:
    every_order = []
    for order in permutations(range(4)):
        ranked = sorted(order, key=lambda item: -scores[item])  # stable: ties keep the order
        every_order.append(metrics_at(1 + ranked.index(target)))
    row = np.array([scores], dtype=np.float32)

    found, _ = rank_targets(
        lambda users: row[users],
        np.array([0]),
        np.array([target]),
        num_users=1,
        num_candidates=4,
    )

    assert found[0] == pytest.approx(np.mean(every_order, axis=0))


def test_a_constant_score_gets_what_guessing_gets() -> None:
    found, _ = rank_targets(
        lambda users: np.zeros((users.stop - users.start, 50), dtype=np.float32),
        np.array([0, 0]),
        np.array([0, 49]),
        num_users=1,
        num_candidates=50,
    )

    assert found[:, METRICS.index("hr_at_10")].tolist() == [0.2, 0.2]


def test_chunks_of_users_change_nothing() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random((700, 30), dtype=np.float32)
    user_R = np.sort(draw.integers(0, 700, 900))
    target_R = draw.integers(0, 30, 900)

    def score(users: slice) -> Float32:
        return scores[users]

    found, coverage = rank_targets(score, user_R, target_R, num_users=700, num_candidates=30)

    above = (scores[user_R] > scores[user_R, target_R][:, None]).sum(axis=1)
    np.testing.assert_allclose(found, expected_metrics(above, np.ones_like(above), 30))
    assert coverage == 1.0


def test_coverage_counts_what_anyone_is_shown() -> None:
    scores = np.tile(np.arange(40, dtype=np.float32), (3, 1))

    _, coverage = rank_targets(
        lambda users: scores[users], np.array([0]), np.array([0]), num_users=3, num_candidates=40
    )

    assert coverage == 0.25
