import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from assets.ranking_metrics import compare_auc, compare_ndcg, draw_users, ndcg_by_user

DRAW = np.random.default_rng(0)
USERS = np.sort(DRAW.integers(0, 30, size=400))
LABELS = (DRAW.random(400) < 0.3).astype(np.int64)
PLAIN = DRAW.normal(size=400).round(1)  # rounded, so that there are ties
BETTER = (PLAIN + LABELS).round(1)
DRAWS = draw_users(30, num_draws=200, seed=0)


def test_auc_is_the_chance_that_a_choice_outranks_another_row() -> None:
    found = compare_auc(LABELS, USERS, BETTER, PLAIN, draws=DRAWS)

    assert found.with_embeddings == pytest.approx(roc_auc_score(LABELS, BETTER))
    assert found.without_embeddings == pytest.approx(roc_auc_score(LABELS, PLAIN))


def test_auc_counts_a_users_rows_as_often_as_the_user_was_drawn() -> None:
    draws = np.vstack([DRAWS[1], DRAWS[2]])

    found = compare_auc(LABELS, USERS, BETTER, PLAIN, draws=draws)

    want = roc_auc_score(LABELS, BETTER, sample_weight=DRAWS[1][USERS])
    assert found.with_embeddings == pytest.approx(want)


def test_ndcg_of_each_user_is_that_of_the_textbook() -> None:
    values = ndcg_by_user(LABELS, USERS, BETTER, 30)

    for user in range(30):
        own = user == USERS
        if 0 < LABELS[own].sum() < own.sum():
            assert values[user] == pytest.approx(ndcg_score([LABELS[own]], [BETTER[own]]))
        else:
            assert np.isnan(values[user])


def test_ndcg_by_hand() -> None:
    labels, users = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    scores = np.array([2.0, 1.0, 5.0, 5.0])

    first, second = ndcg_by_user(labels, users, scores, 2)

    assert first == pytest.approx(1 / np.log2(3))
    assert second == pytest.approx((1 + 1 / np.log2(3)) / 2)  # a tie is worth the mean place


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = np.random.default_rng(1).permutation(400)

    for compare in (compare_auc, compare_ndcg):
        first = compare(LABELS, USERS, BETTER, PLAIN, draws=DRAWS)
        second = compare(
            LABELS[shuffled], USERS[shuffled], BETTER[shuffled], PLAIN[shuffled], draws=DRAWS
        )
        assert first.difference == pytest.approx(second.difference)
        assert first.lower == pytest.approx(second.lower)


def test_a_real_difference_is_told_from_none() -> None:
    for compare in (compare_auc, compare_ndcg):
        real = compare(LABELS, USERS, BETTER, PLAIN, draws=DRAWS)
        none = compare(LABELS, USERS, PLAIN, PLAIN, draws=DRAWS)
        assert real.lower > 0
        assert (none.difference, none.lower, none.upper) == (0, 0, 0)


def test_noise_is_not_taken_for_a_difference() -> None:
    other = np.random.default_rng(2).normal(size=400)

    found = compare_auc(LABELS, USERS, other, PLAIN, draws=DRAWS)

    assert found.lower < 0 < found.upper


def test_draws_keep_the_number_of_users() -> None:
    assert (DRAWS.sum(axis=1) == 30).all()
    assert (DRAWS[0] == 1).all()
