import numpy as np
import pytest

from training.evaluation.intervals import estimates


def test_the_value_is_the_mean_over_targets() -> None:
    (found,) = estimates(np.array([[3.0], [0.0]]), np.array([3, 1]))

    assert found.value == 0.75


def test_the_interval_is_that_of_independent_users() -> None:
    draw = np.random.default_rng(0)
    hits = (draw.random(4_000) < 0.3).astype(np.float64)
    (found,) = estimates(hits[:, None], np.ones(4_000, dtype=np.int64))

    half = 1.96 * np.sqrt(0.3 * 0.7 / 4_000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert found.low < found.value < found.high


def test_targets_of_one_user_are_not_independent() -> None:
    draw = np.random.default_rng(0)
    hits = (draw.random(400) < 0.3).astype(np.float64)
    (alone,) = estimates(hits[:, None], np.ones(400, dtype=np.int64))
    (repeated,) = estimates(10 * hits[:, None], np.full(400, 10))

    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low)


def test_a_difference_is_paired() -> None:
    draw = np.random.default_rng(0)
    one = draw.random(500)
    other = one - 0.01  # always a little worse: the difference is certain though both vary
    _, _, difference = estimates(
        np.stack([one, other, one - other], axis=1), np.ones(500, dtype=np.int64)
    )

    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)


def test_the_same_question_has_the_same_interval() -> None:
    sums, counts = np.random.default_rng(0).random((50, 2)), np.full(50, 2)

    assert estimates(sums, counts) == estimates(sums, counts)
