"""Histories of which some tokens are left out."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from training.contracts import UNKNOWN_INSTANT, Histories, Int64
from training.errors import NoDataError

Bool = npt.NDArray[np.bool_]


def user_of_token(histories: Histories) -> Int64:
    """Return int64[T]: the position of each token's user."""
    return np.repeat(np.arange(histories.num_users), np.diff(histories.offsets))


def kept(histories: Histories, is_kept_T: Bool) -> Histories:
    """Return the tokens that are kept, of the same users; some may be left with none."""
    running = np.concatenate(([0], np.cumsum(is_kept_T)))
    offsets = running[histories.offsets]
    return _rows(histories, np.flatnonzero(is_kept_T), offsets, histories.user_ids)


def without_last(histories: Histories, count: int) -> Histories:
    """Return histories without the last ``count`` tokens of each user.

    Raises NoDataError when somebody has fewer.
    """
    lengths = np.diff(histories.offsets)
    if (lengths < count).any():
        raise NoDataError(f"want at least {count} tokens of each user, got {lengths.min()}")
    position = np.arange(histories.num_tokens) - np.repeat(histories.offsets[:-1], lengths)
    return kept(histories, position < np.repeat(lengths - count, lengths))


def ended_before(histories: Histories, at_U: Int64) -> Histories:
    """Return each user's tokens that had ended before an instant of the user's own, in µs UTC.

    Tokens of a prefix are before every instant.
    """
    limit_T = np.repeat(at_U, np.diff(histories.offsets))
    is_prefix = histories.last_at == UNKNOWN_INSTANT
    return kept(histories, is_prefix | (histories.last_at < limit_T))


def with_at_least(histories: Histories, count: int) -> Histories:
    """Return the histories of users with that many tokens."""
    return of_users(histories, np.flatnonzero(np.diff(histories.offsets) >= count))


def of_users(histories: Histories, users: Int64) -> Histories:
    """Return the histories of some users, by position, in the given order."""
    ids = tuple(histories.user_ids[user] for user in users)
    return _spans(histories, histories.offsets[users], histories.offsets[users + 1], ids)


def newest_of_users(histories: Histories, users: Int64, count: int) -> Histories:
    """Return at most the last ``count`` tokens of each of some users, in the given order."""
    ids = tuple(histories.user_ids[user] for user in users)
    starts, ends = histories.offsets[users], histories.offsets[users + 1]
    return _spans(histories, np.maximum(starts, ends - count), ends, ids)


def before_each(histories: Histories, tokens: Int64) -> Histories:
    """Return for each of some tokens what its user's history holds before it.

    The "users" are the tokens, by number: nobody's ids.
    """
    starts = histories.offsets[user_of_token(histories)[tokens]]
    return _spans(histories, starts, tokens, tuple(f"{n}" for n in range(len(tokens))))


def _spans(
    histories: Histories, starts: Int64, ends: Int64, user_ids: tuple[str, ...]
) -> Histories:
    offsets = np.concatenate(([0], np.cumsum(ends - starts)))
    rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
    return _rows(histories, rows, offsets, user_ids)


def _rows(
    histories: Histories, rows: Int64, offsets: Int64, user_ids: tuple[str, ...]
) -> Histories:
    return replace(
        histories,
        user_ids=user_ids,
        offsets=offsets,
        item_code=histories.item_code[rows],
        first_at=histories.first_at[rows],
        last_at=histories.last_at[rows],
        duration_ms=histories.duration_ms[rows],
        num_events=histories.num_events[rows],
        action_counts=histories.action_counts[rows],
        **histories.requests_at(rows),
    )
