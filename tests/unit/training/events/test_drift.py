import math

import numpy as np
import pytest

from training.events.day_aggregates import OTHERS
from training.events.drift import (
    StabilityIndex,
    Users,
    categories_index,
    new_values,
    numbers_index,
    pooled,
    stability_index,
)

MANY = Users(1_000_000, 7_000_000)


def index(found: StabilityIndex | None) -> float:
    assert found is not None
    return found.value


def test_the_index_is_the_sum_over_cells() -> None:
    found = stability_index([(600_000, 400_000), (400_000, 600_000)], MANY)

    assert index(found) == pytest.approx(2 * 0.2 * math.log(1.5), rel=1e-4)


def test_equal_shares_have_no_distance_whatever_the_sizes() -> None:
    found = categories_index({"a": 100, "b": 300}, {"a": 1000, "b": 3000}, Users(50, 400))

    assert index(found) == pytest.approx(0, abs=1e-3)


def test_rare_values_are_judged_as_one() -> None:
    before = {"a": 9_900, **{f"r{n}": 2 for n in range(50)}}

    assert index(categories_index({"a": 990, "r1": 5, "z": 5}, before, MANY)) < 0.001


def test_numbers_are_told_apart_by_the_quantiles_before() -> None:
    before = {str(n): 100 for n in range(100)}
    found = numbers_index({str(n): 10 for n in range(100)}, before, MANY)
    moved = numbers_index({str(n): 10 for n in range(50, 150)}, before, MANY)

    assert index(found) == pytest.approx(0, abs=1e-3)
    assert index(moved) > 1


def test_a_value_that_most_rows_have_is_a_group_of_its_own() -> None:
    before = {"0": 700, "1": 100, "2": 100, "3": 100}

    found = numbers_index({"0": 700, "1": 300}, before, MANY)

    # the last group has the day's none of 0.2, the one before it 0.3 for 0.1
    assert index(found) > 1


def test_chance_is_seldom_exceeded_and_a_change_always() -> None:
    draw = np.random.default_rng(5)
    shares = np.full(20, 0.05)
    exceeded = 0
    for _ in range(2_000):
        day, before = (draw.multinomial(n, shares) for n in (1_000, 7_000))
        cells = list(zip(day.tolist(), before.tolist(), strict=True))
        found = stability_index(cells, Users(1_000, 7_000))
        assert found is not None
        exceeded += found.value > found.chance

    assert exceeded <= 6  # 2 expected of 2,000
    changed = stability_index([(400, 2800), (300, 2800), (300, 1400)], Users(1_000, 7_000))
    assert changed is not None
    assert changed.value > changed.chance


def test_rows_of_one_user_are_one_draw() -> None:
    draw = np.random.default_rng(6)
    exceeded = 0
    for _ in range(500):  # each user has fifty rows, all in one hour
        day, before = (50 * draw.multinomial(n, np.full(24, 1 / 24)) for n in (200, 1_400))
        cells = list(zip(day.tolist(), before.tolist(), strict=True))
        found = stability_index(cells, Users(200, 1_400))
        assert found is not None
        exceeded += found.value > found.chance

    assert exceeded <= 3


def test_a_handful_of_users_is_not_judged_by_cell() -> None:
    cells = [(10, 100)] * 24

    assert stability_index(cells, Users(40, 300)) is None
    assert stability_index(cells, Users(0, 300)) is None
    assert stability_index([(0, 3)], MANY) is None


def test_new_values_are_named_unless_there_were_too_many_to_know() -> None:
    assert new_values({"tv": 5, "watch": 2, OTHERS: 1}, {"tv": 9}) == {"watch": 2}
    assert new_values({"watch": 2}, {"tv": 9, OTHERS: 3}) is None
    assert new_values({"watch": 2}, {}) is None


def test_days_are_pooled_by_adding_up() -> None:
    assert pooled([{"a": 1}, {"a": 2, "b": 1}]) == {"a": 3, "b": 1}
