from datetime import date

from training.held_out import is_held_out

DAY = date(2026, 3, 1)


def test_one_user_in_eight_is_held_out() -> None:
    share = is_held_out([f"user {n}" for n in range(8_000)], DAY, one_in=8).mean()

    assert 0.11 < share < 0.14


def test_every_day_holds_out_others() -> None:
    users = [f"user {n}" for n in range(8_000)]
    both = is_held_out(users, DAY, one_in=8) & is_held_out(users, date(2026, 3, 2), one_in=8)

    assert 0.01 < both.mean() < 0.02  # 1/64 where the draws are independent
