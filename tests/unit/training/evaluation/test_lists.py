from collections.abc import Callable

import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT, Int64
from training.evaluation.asked import Sequences
from training.evaluation.lists import diversity, genre_shares, miscalibration, novelty
from training.features.catalogue import Catalogue


def histories(*rows: list[int]) -> Sequences:
    flat = np.array([item for row in rows for item in row], dtype=np.int64)
    return Sequences(
        offsets=np.cumsum([0, *(len(row) for row in rows)]),
        candidate_T=flat,
        first_at_T=np.full(len(flat), UNKNOWN_INSTANT),
        num_candidates=4,
    )


def lists(*rows: list[int]) -> Int64:
    return np.array(rows, dtype=np.int64)


def test_novelty_is_the_mean_self_information() -> None:
    # 5 choices and 3 candidates: shares 4/8, 2/8, 2/8
    found = novelty(lists([0, 1], [1, 2]), np.array([3, 1, 1]))

    assert found == pytest.approx([(1 + 2) / 2, 2])


def test_what_nobody_chose_is_finite_and_newest() -> None:
    found = novelty(lists([0], [1]), np.array([9, 0]))

    assert np.isfinite(found).all()
    assert found[1] > found[0]


def test_diversity_is_the_mean_distance_of_two() -> None:
    vectors = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])

    # pairs of 0, 1, 2: same, right angle, right angle; the last one resembles nothing
    assert diversity(lists([0, 1, 2], [0, 1, 3]), vectors) == pytest.approx([2 / 3, 2 / 3])
    assert diversity(lists([0, 1]), vectors) == pytest.approx([0])


def test_genres_share_an_item_in_the_order_of_the_candidates(
    make_catalogue: Callable[..., Catalogue],
) -> None:
    films = make_catalogue(
        [
            {"item_id": "a", "genres": ["drama", "comedy"]},
            {"item_id": "b", "genres": None},
            {"item_id": "c", "genres": ["war"]},
        ]
    )

    # comedy, drama, war; the catalogue does not hold x
    assert genre_shares(films, ("c", "x", "a", "b")).tolist() == [
        [0, 0, 1],
        [0, 0, 0],
        [0.5, 0.5, 0],
        [0, 0, 0],
    ]


SHARES = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]])


def test_a_list_with_the_genres_of_the_history_is_calibrated() -> None:
    found = miscalibration(lists([0, 1], [2, 2]), histories([2, 0, 1], [0, 1]), SHARES)

    assert found == pytest.approx([0, 0])


def test_a_genre_that_the_list_lacks_costs_as_the_source_says() -> None:
    found = miscalibration(lists([0, 0]), histories([0, 1, 1, 1]), SHARES)

    p, q = np.array([0.25, 0.75]), np.array([1.0, 0.0])
    assert found == pytest.approx([(p * np.log(p / (0.99 * q + 0.01 * p))).sum()])


def test_without_genres_there_is_no_answer() -> None:
    found = miscalibration(lists([0, 1], [3, 3], [0, 1]), histories([3], [0], []), SHARES)

    assert np.isnan(found).all()
