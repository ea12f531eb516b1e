from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.ranking import (
    CUT,
    METRICS,
    Float32,
    Seen,
    coverage,
    expected_metrics,
    metric_names,
    rank,
    rank_targets,
)


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

    found, covered = rank_targets(score, user_R, target_R, num_users=700, num_candidates=30)

    above = (scores[user_R] > scores[user_R, target_R][:, None]).sum(axis=1)
    np.testing.assert_allclose(found, expected_metrics(above, np.ones_like(above), 30))
    assert covered == 1.0


def test_coverage_counts_what_anyone_is_shown() -> None:
    scores = np.tile(np.arange(40, dtype=np.float32), (3, 1))

    _, covered = rank_targets(
        lambda users: scores[users], np.array([0]), np.array([0]), num_users=3, num_candidates=40
    )

    assert covered == 0.25


def test_one_cut_has_the_metrics_that_are_written_every_day() -> None:
    assert metric_names((CUT,)) == METRICS


def test_several_cuts_are_the_metrics_of_each() -> None:
    above, tied = np.array([0, 1, 2, 7]), np.array([1, 3, 1, 1])

    found = expected_metrics(above, tied, 8, cuts=(2, 4))

    assert metric_names((2, 4)) == ("hr_at_2", "ndcg_at_2", "hr_at_4", "ndcg_at_4", "mrr")
    log3, log4, log5 = np.log2([3, 4, 5])
    assert found == pytest.approx(
        np.array(
            [
                [1, 1, 1, 1, 1],
                [1 / 3, 1 / log3 / 3, 1, (1 / log3 + 1 / log4 + 1 / log5) / 3, 13 / 36],
                [0, 0, 1, 1 / log4, 1 / 3],
                [0, 0, 0, 0, 1 / 8],
            ]
        )
    )


ties = st.lists(st.integers(0, 2), min_size=5, max_size=5)


@given(scores=ties, target=st.integers(0, 4), seen=st.sets(st.integers(0, 4)))
def test_removing_the_seen_is_ranking_the_others(
    scores: list[int], target: int, seen: set[int]
) -> None:
    row = np.array([scores], dtype=np.float32)
    ranks = rank(
        lambda users: row[users],
        np.array([0]),
        np.array([target]),
        num_users=1,
        num_candidates=5,
        seen=Seen(offsets=np.array([0, len(seen)]), candidate_T=np.array(sorted(seen), dtype=int)),
    )

    found = expected_metrics(ranks.above_R, ranks.tied_R, 5, cuts=(1, 2))

    left = [item for item in range(5) if item not in seen]
    every_order = []
    for order in permutations(left):
        ranked = sorted(order, key=lambda item: -scores[item])
        place = 1 + ranked.index(target) if target in left else 99  # what is removed is not shown
        gain = 1 / np.log2(place + 1)
        every_order.append([place <= 1, gain * (place <= 1), place <= 2, gain * (place <= 2)])
    want = np.mean(np.array(every_order, dtype=float), axis=0) if every_order else np.zeros(4)
    assert found[0, :4] == pytest.approx(want)
    assert row.tolist() == [scores]


@given(seed=st.integers(0, 99))
def test_permuting_the_candidates_changes_no_metric(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 4, (9, 30)).astype(np.float32)
    target_R = draw.integers(0, 30, 9)
    order = draw.permutation(30)
    size = {"num_users": 9, "num_candidates": 30}

    one = rank(lambda users: scores[users], np.arange(9), target_R, **size)
    other = rank(
        lambda users: scores[users][:, order], np.arange(9), np.argsort(order)[target_R], **size
    )

    np.testing.assert_array_equal(one.above_R, other.above_R)
    np.testing.assert_array_equal(one.tied_R, other.tied_R)


def test_the_first_ten_are_the_best_and_ties_at_the_cut_do_not_follow_the_order_of_items() -> None:
    scores = np.zeros((2, 2_000), dtype=np.float32)
    scores[0, 500:506] = 1.0

    shown = rank(
        lambda users: scores[users],
        np.array([0]),
        np.array([0]),
        num_users=2,
        num_candidates=2_000,
    ).shown_UC

    assert set(range(500, 506)) < set(shown[0].tolist())
    assert len(set(shown[0].tolist())) == CUT
    assert shown[1].min() > 0
    assert np.ptp(shown[1]) > 500
    assert coverage(shown, 2_000) == len(set(shown.ravel().tolist())) / 2_000


def test_fewer_candidates_than_a_list_are_all_shown() -> None:
    scores = np.zeros((2, 3), dtype=np.float32)

    ranks = rank(
        lambda users: scores[users], np.array([0]), np.array([0]), num_users=2, num_candidates=3
    )

    assert ranks.shown_UC.tolist() == [[0, 1, 2], [0, 1, 2]]
