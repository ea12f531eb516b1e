"""Data that training reads. Holding one of these is the proof that it is valid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import ContractError

UNKNOWN_INSTANT = np.iinfo(np.int64).min
"""The instant of a token of which only the order is known."""

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """Users' tokens in time order, jagged.

    ::

        user_ids   [ "a",      "b",   ... ]                      U users, sorted, unique
        offsets    [ 0,        3,     5, ... ]                   int64[U+1]
        item_code  [ 4, 4, 7,  0, 2,  ... ]                      int32[T]: index into ``items``
                     `-- a --' `- b -'

    Every other column has length T as well. Instants are int64 µs since 1970 UTC,
    ``UNKNOWN_INSTANT`` in tokens of a history prefix, which come first.
    """

    user_ids: tuple[str, ...]
    offsets: Int64
    items: tuple[str, ...]
    """External item ids; ``item_code`` indexes them."""
    item_code: Int32
    first_at: Int64
    last_at: Int64
    duration_ms: Int64
    """Sum over all duration facets of the merged events."""
    num_events: Int32
    action_counts: Int32
    """int32[T, A], columns in the order of ``EventSchema.token_actions``."""
    request_categories: Mapping[str, tuple[tuple[str, ...], Int32]]
    """Categorical request facets of the first event: (values, int32[T] codes, -1 = missing)."""
    request_numbers: Mapping[str, Float64]
    """Numeric request facets of the first event, float64[T], NaN = missing."""
    request_sets: Mapping[str, tuple[tuple[tuple[str, ...], ...], Int32]] = field(
        default_factory=dict
    )
    """Multi-categorical ones: (distinct sets, members sorted; int32[T] codes, -1 = missing)."""
    request_instants: Mapping[str, Int64] = field(default_factory=dict)
    """Instants among them, int64[T] µs, ``UNKNOWN_INSTANT`` = missing."""

    def __post_init__(self) -> None:
        """Check shapes, ranges and order; raises ContractError naming the rule."""
        tokens = len(self.item_code)
        if len(self.offsets) != len(self.user_ids) + 1 or self.offsets[-1] != tokens:
            raise ContractError(
                f"Histories.offsets: want {len(self.user_ids) + 1} ending at {tokens}, "
                f"got {len(self.offsets)} ending at {self.offsets[-1]}"
            )
        columns: dict[str, npt.NDArray[Any]] = {
            "first_at": self.first_at,
            "last_at": self.last_at,
            "duration_ms": self.duration_ms,
            "num_events": self.num_events,
            "action_counts": self.action_counts,
            **{name: codes for name, (_, codes) in self.request_categories.items()},
            **self.request_numbers,
            **{name: codes for name, (_, codes) in self.request_sets.items()},
            **self.request_instants,
        }
        for name, column in columns.items():
            if len(column) != tokens:
                raise ContractError(f"Histories.{name}: want {tokens} rows, got {len(column)}")
        if tokens and not 0 <= self.item_code.min() <= self.item_code.max() < len(self.items):
            raise ContractError(f"Histories.item_code: outside [0, {len(self.items)})")
        if (self.duration_ms < 0).any():
            raise ContractError(f"Histories.duration_ms: want >= 0, got {self.duration_ms.min()}")
        for name, numbers in self.request_numbers.items():
            if np.isinf(numbers).any():
                raise ContractError(f"Histories.{name}: want numbers or NaN, got an infinite one")
        is_first = np.zeros(tokens, dtype=bool)
        is_first[self.offsets[:-1][self.offsets[:-1] < tokens]] = True
        # compared, not subtracted: UNKNOWN_INSTANT is the least int64
        if ((self.first_at[1:] < self.first_at[:-1]) & ~is_first[1:]).any():
            raise ContractError("Histories.first_at: tokens of one user are not in time order")

    def requests_at(self, rows: Int64 | slice) -> dict[str, Any]:
        """Return the request facets of some tokens, as arguments of ``replace``."""
        return {
            "request_categories": {
                n: (v, c[rows]) for n, (v, c) in self.request_categories.items()
            },
            "request_numbers": {n: column[rows] for n, column in self.request_numbers.items()},
            "request_sets": {n: (v, c[rows]) for n, (v, c) in self.request_sets.items()},
            "request_instants": {n: column[rows] for n, column in self.request_instants.items()},
        }

    @property
    def num_users(self) -> int:
        """Number of users (U)."""
        return len(self.user_ids)

    @property
    def num_tokens(self) -> int:
        """Number of tokens (T)."""
        return len(self.item_code)
