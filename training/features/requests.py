"""What the model reads of each token's request, in the columns that a ``FeatureSpec`` names.

::

    codes      categories.. hour weekday | week hour, month | numbers.. | instants: 3 each | sets: W
               always                      calendar           coded       where the spec names them
    numbers    known, value of each number unless coded | known, value of the trend

An instant of the request says when it is, and how long before the request itself.
"""

import numpy as np
import numpy.typing as npt

from training.contracts import UNKNOWN_INSTANT, Float64, Histories, Int32, Int64
from training.features.instants import (
    hour_codes,
    magnitude_codes,
    month_codes,
    week_hour_codes,
    weekday_codes,
)
from training.features.spec import (
    DAY_US,
    LARGEST_ELAPSED,
    LARGEST_NUMBER,
    MAX_SET_VALUES,
    NUMBER_UNIT,
    FeatureSpec,
    Scale,
    recode,
)

Float32 = npt.NDArray[np.float32]

_FURTHEST = 8.0
"""Standard deviations from the mean at which a number is cut off."""


def request_codes(histories: Histories, spec: FeatureSpec) -> Int32:
    """Return int32[T, ``len(spec.code_sizes)`` + ``MAX_SET_VALUES`` per set facet]."""
    at = histories.first_at
    columns = [
        recode(*histories.request_categories[name], known)
        for name, known in spec.request_categories.items()
    ]
    columns += [hour_codes(at), weekday_codes(at)]
    if spec.trend is not None:
        columns += [week_hour_codes(at), month_codes(at)]
    if spec.is_coding_numbers:
        columns += [
            magnitude_codes(
                histories.request_numbers[name] / (std * NUMBER_UNIT), largest=LARGEST_NUMBER
            )
            for name, (_, std) in spec.request_numbers.items()
        ]
    for name in spec.request_instants:
        columns += _instant_codes(histories.request_instants[name], at)
    sets = [
        _members(*histories.request_sets[name], known) for name, known in spec.request_sets.items()
    ]
    return np.concatenate([np.stack(columns, axis=1), *sets], axis=1)


def request_numbers(histories: Histories, spec: FeatureSpec) -> Float32:
    """Return float32[T, ``spec.num_number_columns``]: pairs of (is it known, value)."""
    columns: list[npt.NDArray[np.generic]] = []
    if not spec.is_coding_numbers:
        for name, scale in spec.request_numbers.items():
            columns += _scaled(histories.request_numbers[name], scale)
    if spec.trend is not None:
        is_timed = histories.first_at != UNKNOWN_INSTANT
        columns += _scaled(np.where(is_timed, histories.first_at / DAY_US, np.nan), spec.trend)
    if not columns:
        return np.zeros((histories.num_tokens, 0), dtype=np.float32)
    return np.stack(columns, axis=1).astype(np.float32)


def _scaled(numbers: Float64, scale: Scale) -> list[npt.NDArray[np.generic]]:
    mean, std = scale
    scaled = np.clip((numbers - mean) / std, -_FURTHEST, _FURTHEST)
    return [~np.isnan(numbers), np.nan_to_num(scaled)]


def _instant_codes(instants: Int64, at: Int64) -> list[Int32]:
    is_known = (instants != UNKNOWN_INSTANT) & (at != UNKNOWN_INSTANT)
    elapsed_us = np.where(is_known, at, 0) - np.where(is_known, instants, 0)
    elapsed_s = np.where(is_known, elapsed_us / 1e6, np.nan)
    return [
        week_hour_codes(instants),
        month_codes(instants),
        magnitude_codes(elapsed_s, largest=LARGEST_ELAPSED),
    ]


def _members(sets: tuple[tuple[str, ...], ...], codes: Int32, known: tuple[str, ...]) -> Int32:
    """Return int32[T, MAX_SET_VALUES]: codes of each set's most frequent members, then zeros."""
    code_of = {value: code for code, value in enumerate(known, start=1)}
    # the last row is what -1 points at
    table = np.zeros((len(sets) + 1, MAX_SET_VALUES), dtype=np.int32)
    for row, members in enumerate(sets):
        found = sorted(code_of[one] for one in members if one in code_of)[:MAX_SET_VALUES]
        table[row, : len(found)] = found
    return table[codes]
