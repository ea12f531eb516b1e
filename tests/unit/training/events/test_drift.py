import math

import numpy as np
import pytest

from training.events.day_aggregates import OTHERS
from training.events.drift import (
    categories_index,
    new_values,
    numbers_index,
    pooled,
    stability_index,
)


def test_the_index_is_the_sum_over_cells() -> None:
    found = stability_index([(600_000, 400_000), (400_000, 600_000)])

    assert found is not None
    assert found.value == pytest.approx(2 * 0.2 * math.log(1.5), rel=1e-4)
    assert stability_index([(3, 3), (7, 7)]) is not None
    assert stability_index([(0, 3)]) is None


def test_equal_shares_have_no_distance_whatever_the_sizes() -> None:
    found = categories_index({"a": 100, "b": 300}, {"a": 1000, "b": 3000})

    assert found is not None
    assert found.value == pytest.approx(0, abs=1e-5)


def test_rare_values_are_judged_as_one() -> None:
    before = {"a": 9_900, **{f"r{n}": 2 for n in range(50)}}

    found = categories_index({"a": 990, "r1": 5, "z": 5}, before)

    assert found is not None
    assert found.num_cells == 2
    assert found.value < 0.001


def test_numbers_are_told_apart_by_the_quantiles_before() -> None:
    before = {str(n): 100 for n in range(100)}
    found = numbers_index({str(n): 10 for n in range(100)}, before)
    moved = numbers_index({str(n): 10 for n in range(50, 150)}, before)

    assert found is not None
    assert moved is not None
    assert found.num_cells == moved.num_cells == 10
    assert found.value == pytest.approx(0, abs=1e-3)
    assert moved.value > 1


def test_a_value_that_most_rows_have_is_a_group_of_its_own() -> None:
    found = numbers_index({"0": 70, "1": 30}, {"0": 700, "1": 100, "2": 100, "3": 100})

    assert found is not None
    assert found.num_cells == 4


def test_chance_is_seldom_exceeded_and_a_change_always() -> None:
    draw = np.random.default_rng(5)
    shares = np.full(20, 0.05)
    exceeded = 0
    for _ in range(2_000):
        day, before = (draw.multinomial(n, shares) for n in (1_000, 7_000))
        index = stability_index(list(zip(day.tolist(), before.tolist(), strict=True)))
        assert index is not None
        exceeded += index.value > index.chance(1_000, 7_000)

    assert exceeded <= 6  # 2 expected of 2,000
    changed = stability_index([(400, 2800), (300, 2800), (300, 1400)])
    assert changed is not None
    assert changed.value > changed.chance(1_000, 7_000)


def test_without_users_chance_may_be_anything() -> None:
    index = stability_index([(1, 2), (2, 2)])

    assert index is not None
    assert index.chance(0, 100) == math.inf


def test_new_values_are_named_unless_there_were_too_many_to_know() -> None:
    assert new_values({"tv": 5, "watch": 2, OTHERS: 1}, {"tv": 9}) == {"watch": 2}
    assert new_values({"watch": 2}, {"tv": 9, OTHERS: 3}) is None
    assert new_values({"watch": 2}, {}) is None


def test_days_are_pooled_by_adding_up() -> None:
    assert pooled([{"a": 1}, {"a": 2, "b": 1}]) == {"a": 3, "b": 1}
