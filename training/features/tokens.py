"""What the model reads of every token, split by when it is known.

A position that predicts token t reads the *outcome* row of token t-1 and the *request* row of
token t, and nothing else of either: that split is what keeps the future out.

::

    outcome rows   0 1 2 ... T-1 | T          row T: there is no token before
    request rows   0 1 2 ... T-1 | T ... T+U-1    row T+u: user u at ``as_of``, request unknown
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.contracts import UNKNOWN_INSTANT, Float64, Histories, Int32, Int64
from training.features.items import ItemFeatures
from training.features.requests import request_codes, request_numbers
from training.features.spec import FeatureSpec
from training.tokens.targets import microseconds

NUM_GAP_CODES = 1 + 24
"""Unknown, then powers of two of seconds: the last one holds everything above 97 days."""
NUM_DURATION_CODES = 1 + 16
"""Likewise: the last one holds everything above 9 hours."""

NUM_OUTCOME_NUMBERS = 4
"""Beside the actions: is the time known, log duration, completed share, log events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFeatures:
    """Legend: T tokens, U users, A outcome columns, C request codes, N request numbers."""

    item_T: Tensor
    """int64[T+1], rows of ``ItemFeatures``; the last one stands for "no token"."""
    outcome_TA: Tensor
    """float32[T+1, actions + NUM_OUTCOME_NUMBERS]."""
    request_TC: Tensor
    """int32[T+U, C], 0 = unknown: what ``requests.request_codes`` gives."""
    request_TN: Tensor
    """float32[T+U, N]: what ``requests.request_numbers`` gives, 0 = unknown."""
    gap_T: Tensor
    """int32[T+U]: code of the time since the previous token, 0 = unknown."""
    duration_T: Tensor
    """int32[T]: code of the token's own duration, 0 = unknown; what heads are asked for."""
    known_at_T: Tensor
    """float64[T+1]: end of the token, seconds since 1970 UTC, NaN = unknown."""
    asked_at_T: Tensor
    """float64[T+U]: the request, likewise; of a query, ``as_of``."""
    offsets: Int64
    """int64[U+1]: tokens of each user."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.item_T) - 1


def build_token_features(
    histories: Histories, spec: FeatureSpec, items: ItemFeatures, *, as_of: datetime | Int64
) -> TokenFeatures:
    """Return the features of every token, and of one query per user.

    ``as_of``: when they ask, all at once or, int64[U] in µs UTC, each at an instant of its own.
    """
    at_U = as_of if isinstance(as_of, np.ndarray) else microseconds(as_of)
    item_rows = items.rows(histories.items).numpy()[histories.item_code]
    request_TC, request_TN = request_codes(histories, spec), request_numbers(histories, spec)
    num_users = histories.num_users
    return TokenFeatures(
        item_T=torch.from_numpy(np.append(item_rows, 0)),
        outcome_TA=torch.from_numpy(_outcomes(histories, items.runtime_s[item_rows])),
        request_TC=_with_unknown_rows(torch.from_numpy(request_TC), num_users),
        request_TN=_with_unknown_rows(torch.from_numpy(request_TN), num_users),
        gap_T=torch.from_numpy(_gap_codes(histories, at_U)),
        duration_T=torch.from_numpy(_duration_codes(histories)),
        known_at_T=_seconds(np.append(histories.last_at, UNKNOWN_INSTANT)),
        asked_at_T=_seconds(np.append(histories.first_at, np.broadcast_to(at_U, num_users))),
        offsets=histories.offsets,
    )


def _seconds(instants: Int64) -> Tensor:
    return torch.from_numpy(np.where(instants == UNKNOWN_INSTANT, np.nan, instants / 1e6))


def _with_unknown_rows(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, torch.zeros(count, rows.shape[1], dtype=rows.dtype)])


def _outcomes(histories: Histories, runtime_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    num_tokens, num_actions = histories.action_counts.shape
    outcomes = np.zeros((num_tokens + 1, num_actions + NUM_OUTCOME_NUMBERS), dtype=np.float32)
    duration_s = histories.duration_ms / 1000.0
    rows = outcomes[:num_tokens]
    rows[:, :num_actions] = histories.action_counts > 0
    rows[:, num_actions] = histories.first_at != UNKNOWN_INSTANT
    rows[:, num_actions + 1] = np.log1p(duration_s) / 8.0  # an hour is about 1
    rows[:, num_actions + 2] = np.nan_to_num(np.clip(duration_s / runtime_s, 0.0, 2.0))
    rows[:, num_actions + 3] = np.log(np.maximum(histories.num_events, 1))
    return outcomes


def _gap_codes(histories: Histories, at_U: Int64 | int) -> Int32:
    """Return codes of every token's and every query's time since the token before it."""
    offsets = histories.offsets
    previous_at = np.append(UNKNOWN_INSTANT, histories.last_at)[:-1]
    previous_at[offsets[:-1][offsets[:-1] < histories.num_tokens]] = UNKNOWN_INSTANT
    newest_at = np.append(histories.last_at, UNKNOWN_INSTANT)[offsets[1:] - 1]
    newest_at = np.where(np.diff(offsets) > 0, newest_at, UNKNOWN_INSTANT)
    before = np.concatenate([previous_at, newest_at])
    now = np.concatenate([histories.first_at, np.broadcast_to(at_U, histories.num_users)])
    is_known = (before != UNKNOWN_INSTANT) & (now != UNKNOWN_INSTANT)
    gap_s = np.where(is_known, np.maximum(now - np.where(is_known, before, 0), 0), 0) / 1e6
    return np.where(is_known, _log_codes(gap_s, NUM_GAP_CODES), 0).astype(np.int32)


def _duration_codes(histories: Histories) -> Int32:
    # zero is what the durations of a token sum to that has none
    is_known = histories.duration_ms > 0
    codes = _log_codes(histories.duration_ms / 1000.0, NUM_DURATION_CODES)
    return np.where(is_known, codes, 0).astype(np.int32)


def _log_codes(seconds: Float64, num_codes: int) -> Int32:
    """Return 1 and up: powers of two, the last one without end."""
    codes: Int32 = 1 + np.minimum(np.log2(seconds + 1.0).astype(np.int32), num_codes - 2)
    return codes
