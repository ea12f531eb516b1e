from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.packing import NOTHING, newest_windows, pack, pad, query_windows

lengths = st.lists(st.integers(0, 40), min_size=1, max_size=30)


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.cumsum([0, *counts]).astype(np.int64)


@given(counts=lengths, row_len=st.integers(2, 16))
def test_every_newest_token_lies_in_exactly_one_place(counts: list[int], row_len: int) -> None:
    offsets = offsets_of(counts)
    rows = pack(newest_windows(offsets, max_len=row_len), row_len=row_len)

    placed = np.sort(rows.current_RL[rows.current_RL != NOTHING])
    newest = [
        token for start, end in pairwise(offsets) for token in range(max(start, end - row_len), end)
    ]
    assert placed.tolist() == newest


@given(counts=lengths, row_len=st.integers(2, 16))
def test_a_window_is_one_run_of_one_row(counts: list[int], row_len: int) -> None:
    rows = pack(newest_windows(offsets_of(counts), max_len=row_len), row_len=row_len)

    for window in np.unique(rows.window_RL[rows.window_RL != NOTHING]):
        row, column = np.nonzero(rows.window_RL == window)
        assert len(set(row)) == 1
        assert (np.diff(column) == 1).all()
        assert rows.position_RL[row, column].tolist() == list(range(len(column)))
        assert len(set(rows.segment_RL[row, column])) == 1


@given(counts=lengths, row_len=st.integers(2, 16))
def test_windows_of_one_row_have_different_segments(counts: list[int], row_len: int) -> None:
    rows = pack(newest_windows(offsets_of(counts), max_len=row_len), row_len=row_len)

    for window_L, segment_L in zip(rows.window_RL, rows.segment_RL, strict=True):
        inside = window_L != NOTHING
        assert len(set(window_L[inside])) == len(set(segment_L[inside]))
        assert ((segment_L == NOTHING) == ~inside).all()


@given(counts=lengths, row_len=st.integers(2, 16))
def test_the_token_before_is_the_users_own(counts: list[int], row_len: int) -> None:
    offsets = offsets_of(counts)
    rows = pack(newest_windows(offsets, max_len=row_len), row_len=row_len)

    inside = rows.current_RL != NOTHING
    current, previous = rows.current_RL[inside], rows.previous_RL[inside]
    is_first = np.isin(current, offsets[:-1])
    assert (previous[is_first] == NOTHING).all()
    assert (previous[~is_first] == current[~is_first] - 1).all()


def test_a_query_follows_the_newest_token() -> None:
    offsets = offsets_of([3, 0, 9])
    rows = pad(query_windows(offsets, max_len=4, users=np.array([0, 1, 2])), row_len=4)

    # request rows 12, 13, 14 are the queries of the three users
    assert rows.current_RL.tolist() == [[0, 1, 2, 12], [13, -1, -1, -1], [9, 10, 11, 14]]
    assert rows.previous_RL.tolist() == [[-1, 0, 1, 2], [-1, -1, -1, -1], [8, 9, 10, 11]]


def test_a_history_can_end_earlier() -> None:
    offsets = offsets_of([5, 4])
    rows = pad(
        newest_windows(offsets, max_len=3, users=np.array([0, 1]), ends=np.array([4, 5])),
        row_len=3,
    )

    # the second user has no token before 5
    assert rows.current_RL.tolist() == [[1, 2, 3]]


def test_packing_leaves_little_room() -> None:
    counts = np.random.default_rng(0).geometric(0.05, 2_000).tolist()
    rows = pack(newest_windows(offsets_of(counts), max_len=128), row_len=128)

    assert (rows.current_RL != NOTHING).mean() > 0.98
