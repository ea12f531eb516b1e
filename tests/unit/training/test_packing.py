from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.packing import NOTHING, newest_windows, pack, query_windows

counts_of_users = st.lists(st.integers(0, 40), min_size=1, max_size=30)


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.cumsum([0, *counts]).astype(np.int64)


@given(counts=counts_of_users, max_len=st.integers(2, 16))
def test_every_newest_token_lies_in_exactly_one_place(counts: list[int], max_len: int) -> None:
    offsets = offsets_of(counts)
    packed = pack(newest_windows(offsets, max_len=max_len))

    newest = [
        token for start, end in pairwise(offsets) for token in range(max(start, end - max_len), end)
    ]
    assert np.sort(packed.current_P).tolist() == newest


@given(counts=counts_of_users, max_len=st.integers(2, 16))
def test_windows_follow_each_other_short_ones_first(counts: list[int], max_len: int) -> None:
    offsets = offsets_of(counts)
    packed = pack(newest_windows(offsets, max_len=max_len))

    assert (np.diff(packed.lengths_W) >= 0).all()
    assert len(packed.current_P) == packed.lengths_W.sum()
    ends = np.cumsum(packed.lengths_W)
    for start, end in zip(ends - packed.lengths_W, ends, strict=True):
        assert packed.positions[start:end].tolist() == list(range(end - start))
        assert (np.diff(packed.current_P[start:end]) == 1).all()
        user = np.searchsorted(offsets, packed.current_P[start], side="right")
        assert packed.current_P[end - 1] == offsets[user] - 1
    assert packed.lasts.tolist() == (ends - 1).tolist()


@given(counts=counts_of_users, max_len=st.integers(2, 16))
def test_the_token_before_is_the_users_own(counts: list[int], max_len: int) -> None:
    offsets = offsets_of(counts)
    packed = pack(newest_windows(offsets, max_len=max_len))

    is_first = np.isin(packed.current_P, offsets[:-1])
    assert (packed.previous_P[is_first] == NOTHING).all()
    assert (packed.previous_P[~is_first] == packed.current_P[~is_first] - 1).all()


def test_a_query_follows_the_newest_token() -> None:
    offsets = offsets_of([3, 0, 9])
    packed = pack(query_windows(offsets, max_len=4, users=np.array([0, 1, 2])))

    # request rows 12, 13, 14 are the queries of the three users
    assert packed.window_W.tolist() == [1, 0, 2]
    assert packed.current_P.tolist() == [13, 0, 1, 2, 12, 9, 10, 11, 14]
    assert packed.previous_P.tolist() == [-1, -1, 0, 1, 2, 8, 9, 10, 11]


def test_a_history_can_end_earlier() -> None:
    offsets = offsets_of([5, 4])
    windows = newest_windows(offsets, max_len=3, users=np.array([0, 1]), ends=np.array([4, 5]))

    # the second user has no token before 5
    assert pack(windows).current_P.tolist() == [1, 2, 3]


def test_some_windows_are_packed_alone() -> None:
    windows = newest_windows(offsets_of([2, 3, 1]), max_len=4)

    packed = pack(windows, np.array([1, 2]))

    assert packed.window_W.tolist() == [2, 1]
    assert packed.current_P.tolist() == [5, 2, 3, 4]
