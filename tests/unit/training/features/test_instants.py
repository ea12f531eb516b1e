from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.contracts import UNKNOWN_INSTANT
from training.features.instants import (
    NUM_HOUR_CODES,
    NUM_MONTH_CODES,
    NUM_WEEK_HOUR_CODES,
    NUM_WEEKDAY_CODES,
    hour_codes,
    magnitude_codes,
    month_codes,
    num_magnitude_codes,
    week_hour_codes,
    weekday_codes,
)
from training.tokens.targets import microseconds

instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda at: at.replace(tzinfo=UTC)
)


@given(at=instants)
def test_codes_are_what_the_calendar_says(at: datetime) -> None:
    us = np.array([microseconds(at)])

    assert hour_codes(us).tolist() == [1 + at.hour]
    assert weekday_codes(us).tolist() == [1 + at.weekday()]
    assert week_hour_codes(us).tolist() == [1 + 24 * at.weekday() + at.hour]
    assert month_codes(us).tolist() == [at.month]


def test_the_last_codes_are_the_last() -> None:
    end = np.array([microseconds(datetime(2023, 12, 31, 23, 59, tzinfo=UTC))])  # a Sunday

    assert hour_codes(end) + 1 == NUM_HOUR_CODES
    assert weekday_codes(end) + 1 == NUM_WEEKDAY_CODES
    assert week_hour_codes(end) + 1 == NUM_WEEK_HOUR_CODES
    assert month_codes(end) + 1 == NUM_MONTH_CODES


def test_an_unknown_instant_is_unknown_in_all() -> None:
    unknown = np.array([UNKNOWN_INSTANT])

    for codes in (hour_codes, weekday_codes, week_hour_codes, month_codes):
        assert codes(unknown).tolist() == [0]


def test_magnitudes_are_sign_and_logarithm() -> None:
    numbers = np.array([np.nan, -1e9, -3.0, -1.0, -0.5, 0.0, 0.9, 1.0, 2.9, 3.0, 7.0, 1e9])

    codes = magnitude_codes(numbers, largest=2)

    assert codes.tolist() == [0, 1, 1, 2, 3, 3, 3, 4, 4, 5, 5, 5]
    assert num_magnitude_codes(2) == 6


@given(numbers=st.lists(st.floats(allow_nan=False), min_size=2))
def test_a_larger_number_has_no_smaller_code(numbers: list[float]) -> None:
    codes = magnitude_codes(np.sort(np.array(numbers)), largest=15)

    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 1
    assert codes.max() < num_magnitude_codes(15)
