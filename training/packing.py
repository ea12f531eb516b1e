"""Windows of users laid one after another, without padding.

A window is the run of positions ``[start, end)`` of one user. Position p reads the outcome of the
token before it and the request of its own token::

    windows    a: 5 positions    b: 3    c: 7
    packed     b b b a a a a a c c c c c c c        short ones first
    lengths    3     5         7

Of a history that is too long for one window, an epoch may read another part than the newest::

    history    . . . . . . . . . .     10 positions, windows of 4: a cycle of 3 epochs
    epoch 0            [- - - -]
    epoch 1                [- - - -]   the last one is the newest
    epoch 2    [- - - -]
"""

from dataclasses import dataclass, replace

import numpy as np

from training.contracts import Int64

NOTHING = -1
"""As a previous token: there is none."""

_SLIDE, _COIN = 2, 3
"""Streams of draws; the loop's shuffle of an epoch is another one."""
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)
"""Multiples of it, modulo 1, spread as evenly as any sequence that does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """W runs of positions, each of one user.

    ``previous_start`` is the token before the first position, NOTHING at the start of a history.
    """

    current_start: Int64
    """Request row of the first position; the others follow, but see ``query``."""
    previous_start: Int64
    lengths: Int64
    query: Int64
    """Request row of the last position where that one is a query, else NOTHING."""

    def __len__(self) -> int:
        """W."""
        return len(self.lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """P positions of W windows, window after window, the shortest first."""

    previous_P: Int64
    """Outcome row of each position, NOTHING where there is no token before."""
    current_P: Int64
    """Request row of each position."""
    lengths_W: Int64
    """Ascending."""
    window_W: Int64
    """Which of the windows each one is."""

    @property
    def positions(self) -> Int64:
        """Position within the window."""
        return _positions(self.lengths_W)

    @property
    def lasts(self) -> Int64:
        """The last position of each window."""
        return np.cumsum(self.lengths_W) - 1


def newest_windows(
    offsets: Int64, *, max_len: int, users: Int64 | None = None, ends: Int64 | None = None
) -> Windows:
    """Return the newest ``max_len`` tokens of each user as one window.

    Args:
        offsets: int64[U+1], tokens of each user.
        max_len: positions of the longest window.
        users: whose windows; all by default. One without tokens has none.
        ends: int64[users], where each history ends instead of at the user's last token.
    """
    users = np.arange(len(offsets) - 1) if users is None else users
    ends = offsets[users + 1] if ends is None else ends
    has_tokens = ends > offsets[users]
    begins, ends = offsets[users][has_tokens], ends[has_tokens]
    start = np.maximum(begins, ends - max_len)
    return Windows(
        current_start=start,
        previous_start=np.where(start > begins, start - 1, NOTHING),
        lengths=ends - start,
        query=np.full(len(start), NOTHING),
    )


def slid_windows(
    newest: Windows, offsets: Int64, *, epoch: int, seed: int, newest_share: float = 0.0
) -> Windows:
    """Return an epoch's window of every history: as long as its newest one, elsewhere in it.

    A history of n positions has a cycle of ``ceil(n / length)`` epochs. In each cycle its windows
    cover it: every position lies in one of them, or in two where neighbours overlap, and the
    overlaps move from cycle to cycle. A function of its arguments; histories that fit stay whole.

    Args:
        newest: what ``newest_windows`` returned for ``offsets``.
        offsets: int64[U+1], tokens of each user.
        epoch: counted from 0.
        seed: of the order of windows in a cycle, and of the coin.
        newest_share: share of the histories, drawn anew in every epoch, that keep the newest.
    """
    begins = offsets[np.searchsorted(offsets, newest.current_start, side="right") - 1]
    num_before = newest.current_start - begins
    lengths = newest.lengths
    num_windows = 1 + -(-num_before // lengths)
    first, overlap = np.random.default_rng([seed, _SLIDE]).random((2, len(newest)))
    cycle = epoch // num_windows
    first, overlap = (first + cycle * _GOLDEN) % 1.0, (overlap + cycle * _GOLDEN) % 1.0
    place = (epoch + (first * num_windows).astype(np.int64)) % num_windows
    # a cycle's windows have so many positions too many: two neighbouring seams share them
    surplus = (num_windows - 1) * lengths - num_before
    seam = overlap * (num_windows - 2)
    start = place * lengths - (surplus * np.clip(place - seam, 0.0, 1.0)).astype(np.int64)
    if newest_share:
        stays = np.random.default_rng([seed, _COIN, epoch]).random(len(newest)) < newest_share
        start = np.where(stays, num_before, start)
    return replace(
        newest,
        current_start=begins + start,
        previous_start=np.where(start > 0, begins + start - 1, NOTHING),
    )


def query_windows(offsets: Int64, *, max_len: int, users: Int64) -> Windows:
    """Return a window per user that ends in a query: the position after the newest token."""
    num_tokens = offsets[-1]
    start = np.maximum(offsets[users], offsets[users + 1] - (max_len - 1))
    return Windows(
        current_start=start,
        previous_start=np.where(start > offsets[users], start - 1, NOTHING),
        lengths=offsets[users + 1] - start + 1,
        query=num_tokens + users,
    )


def pack(windows: Windows, chosen: Int64 | None = None) -> Packed:
    """Return the windows ``chosen``, all by default, without a gap between them."""
    chosen = np.arange(len(windows)) if chosen is None else chosen
    chosen = chosen[np.argsort(windows.lengths[chosen], kind="stable")]
    lengths = windows.lengths[chosen]
    position = _positions(lengths)
    current = np.repeat(windows.current_start[chosen], lengths) + position
    # the token before is one earlier in the same user, also before a query
    previous = np.where(
        position == 0, np.repeat(windows.previous_start[chosen], lengths), current - 1
    )
    query, last = windows.query[chosen], np.cumsum(lengths) - 1
    current[last[query != NOTHING]] = query[query != NOTHING]
    return Packed(previous_P=previous, current_P=current, lengths_W=lengths, window_W=chosen)


def _positions(lengths: Int64) -> Int64:
    ends = np.cumsum(lengths)
    positions: Int64 = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
    return positions
