"""Windows of users packed into rows of fixed length, so that almost no position is padding.

A window is the run of positions ``[start, end)`` of one user. Position p reads the outcome of the
token before it and the request of its own token::

    row 0   a a a a a b b b       segment   0 0 0 0 0 1 1 1
    row 1   c c c c c c c .                 0 0 0 0 0 0 0 -1
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.contracts import Int64

NOTHING = -1
"""In a row: padding. As a previous token: there is none."""


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
class PackedRows:
    """R rows of L positions; int64[R, L] each."""

    previous_RL: Int64
    """Outcome row of each position, NOTHING where there is no token before or no position."""
    current_RL: Int64
    """Request row of each position, NOTHING in padding."""
    segment_RL: Int64
    """Number of the window within its row, NOTHING in padding."""
    position_RL: Int64
    """Position within the window."""
    window_RL: Int64
    """Index of the window, NOTHING in padding."""

    def __len__(self) -> int:
        """R."""
        return len(self.current_RL)


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


def pack(windows: Windows, *, row_len: int) -> PackedRows:
    """Return the windows in as few rows as best-fit-decreasing finds."""
    row_of, column_of, num_rows = _best_fit_decreasing(windows.lengths, row_len)
    return _fill(windows, row_of=row_of, column_of=column_of, shape=(num_rows, row_len))


def pad(windows: Windows, *, row_len: int) -> PackedRows:
    """Return one window per row: the reference that ``pack`` is compared with."""
    row_of = np.arange(len(windows))
    return _fill(
        windows, row_of=row_of, column_of=np.zeros_like(row_of), shape=(len(windows), row_len)
    )


def _best_fit_decreasing(
    lengths: Int64, row_len: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return for each window its row and first column, and the number of rows.

    Rows are kept by the room that is left in them; a bit mask of the rooms that occur finds the
    smallest room that is large enough in one step.
    """
    row_of = np.empty(len(lengths), dtype=np.int64)
    column_of = np.empty(len(lengths), dtype=np.int64)
    rows_with_room: list[list[int]] = [[] for _ in range(row_len + 1)]
    rooms = 0
    num_rows = 0
    for window in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[window])
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, row = row_len, num_rows
            num_rows += 1
        row_of[window] = row
        column_of[window] = row_len - room
        if room > length:
            rows_with_room[room - length].append(row)
            rooms |= 1 << (room - length)
    return row_of, column_of, num_rows


def _fill(
    windows: Windows,
    *,
    row_of: npt.NDArray[np.int64],
    column_of: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> PackedRows:
    lengths = windows.lengths
    window = np.repeat(np.arange(len(windows)), lengths)
    ends = np.cumsum(lengths)
    position = np.arange(len(window)) - np.repeat(ends - lengths, lengths)
    place = (row_of[window], column_of[window] + position)

    current = windows.current_start[window] + position
    has_query = windows.query != NOTHING
    current[ends[has_query] - 1] = windows.query[has_query]
    # the token before is one earlier in the same user, also before a query
    first = windows.previous_start[window]
    previous = np.where(position == 0, first, windows.current_start[window] + position - 1)
    # the k-th window of a row has the k-th smallest column
    order = np.lexsort((column_of, row_of))
    sorted_rows = row_of[order]
    segment = np.empty(len(windows), dtype=np.int64)
    segment[order] = np.arange(len(windows)) - np.searchsorted(sorted_rows, sorted_rows)

    def placed(values: npt.NDArray[np.int64]) -> Int64:
        full = np.full(shape, NOTHING, dtype=np.int64)
        full[place] = values
        return full

    return PackedRows(
        previous_RL=placed(previous),
        current_RL=placed(current),
        segment_RL=placed(segment[window]),
        position_RL=np.maximum(placed(position), 0),
        window_RL=placed(window),
    )
