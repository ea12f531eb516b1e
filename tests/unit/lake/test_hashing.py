import numpy as np
import pytest

from lake.hashing import buckets, keyed_hash, salted_buckets

BUCKETS_OF_THE_FIRST_RELEASE = [14, 13, 11, 14]
USERS = [f"u{number}" for number in range(5000)]


def test_buckets_never_move() -> None:
    # written files depend on these very numbers
    assert buckets(["u0", "u1", "u2", "ü"], 16).tolist() == BUCKETS_OF_THE_FIRST_RELEASE


def test_doubling_splits_buckets_in_two() -> None:
    assert (buckets(USERS, 16) % 8 == buckets(USERS, 8)).all()


def test_buckets_are_even() -> None:
    counts = np.bincount(buckets(USERS, 8), minlength=8)
    assert counts.min() > 500


def test_salts_draw_independently() -> None:
    both = (salted_buckets(USERS, 8, salt="a") == 0) & (salted_buckets(USERS, 8, salt="b") == 0)
    assert 40 <= both.sum() <= 120  # 5000 / 64 is 78


def test_a_count_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="power of two, got 6"):
        buckets(["u"], 6)


def test_a_name_hides_the_id() -> None:
    assert keyed_hash("alice") != keyed_hash("bob")
    assert "alice" not in keyed_hash("alice")
