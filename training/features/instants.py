"""Codes of instants and of magnitudes; 0 is unknown in all of them.

Where in the day, the week and the year an instant lies, in UTC; how large a number is.
"""

import numpy as np

from training.contracts import UNKNOWN_INSTANT, Float64, Int32, Int64

HOUR_US = 3_600_000_000
NUM_HOUR_CODES = 1 + 24
NUM_WEEKDAY_CODES = 1 + 7
NUM_WEEK_HOUR_CODES = 1 + 7 * 24
NUM_MONTH_CODES = 1 + 12


def hour_codes(at: Int64) -> Int32:
    """Return the hour of the day."""
    return _known(at, 1 + at // HOUR_US % 24)


def weekday_codes(at: Int64) -> Int32:
    """Return the day of the week, 1 = Monday."""
    return _known(at, 1 + _weekday(at))


def week_hour_codes(at: Int64) -> Int32:
    """Return the hour of the week, 1 = Monday after midnight."""
    return _known(at, 1 + 24 * _weekday(at) + at // HOUR_US % 24)


def month_codes(at: Int64) -> Int32:
    """Return the month of the year, 1 = January."""
    months = np.where(at == UNKNOWN_INSTANT, 0, at).astype("datetime64[us]").astype("datetime64[M]")
    return _known(at, 1 + months.astype(np.int64) % 12)


def num_magnitude_codes(largest: int) -> int:
    """Return how many codes ``magnitude_codes`` has."""
    return 2 + 2 * largest


def magnitude_codes(numbers: Float64, *, largest: int) -> Int32:
    """Return each number's sign and whole logarithm to base 2 of one more than its size.

    ``largest`` is the logarithm that all beyond it share; NaN is unknown.
    """
    is_known = ~np.isnan(numbers)
    known = np.where(is_known, numbers, 0.0)
    size = np.minimum(np.floor(np.log2(np.abs(known) + 1.0)), largest)
    codes = 1 + largest + np.sign(known) * size
    return np.where(is_known, codes, 0).astype(np.int32)


def _weekday(at: Int64) -> Int64:
    # 1970-01-01 was a Thursday: day 0 of the week is a Monday
    return (at // (24 * HOUR_US) + 3) % 7


def _known(at: Int64, codes: Int64) -> Int32:
    return np.where(at == UNKNOWN_INSTANT, 0, codes).astype(np.int32)
