from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.packing import NOTHING, newest_windows, pack, query_windows, slid_windows

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


slides = given(
    counts=counts_of_users,
    max_len=st.integers(2, 16),
    epoch=st.integers(0, 40),
    seed=st.integers(0, 5),
    newest_share=st.sampled_from([0.0, 0.5, 1.0]),
)


@slides
def test_a_slid_window_lies_within_its_users_tokens_and_is_as_long_as_the_newest(
    counts: list[int], max_len: int, epoch: int, seed: int, newest_share: float
) -> None:
    offsets = offsets_of(counts)
    newest = newest_windows(offsets, max_len=max_len)
    slid = slid_windows(newest, offsets, epoch=epoch, seed=seed, newest_share=newest_share)

    users = np.flatnonzero(np.diff(offsets))
    assert slid.lengths.tolist() == newest.lengths.tolist()
    assert (slid.lengths <= max_len).all()
    assert (slid.current_start >= offsets[users]).all()
    assert (slid.current_start + slid.lengths <= offsets[users + 1]).all()


@slides
def test_what_a_slid_window_cuts_off_is_not_seen_but_for_the_token_before(
    counts: list[int], max_len: int, epoch: int, seed: int, newest_share: float
) -> None:
    offsets = offsets_of(counts)
    newest = newest_windows(offsets, max_len=max_len)
    slid = slid_windows(newest, offsets, epoch=epoch, seed=seed, newest_share=newest_share)
    packed = pack(slid)

    is_first = np.isin(packed.current_P, offsets[:-1])
    assert (packed.previous_P[is_first] == NOTHING).all()
    assert (packed.previous_P[~is_first] == packed.current_P[~is_first] - 1).all()


@given(
    counts=counts_of_users,
    max_len=st.integers(2, 16),
    cycle=st.integers(0, 5),
    seed=st.integers(0, 5),
)
def test_in_a_cycle_of_epochs_every_position_is_in_one_window_or_two(
    counts: list[int], max_len: int, cycle: int, seed: int
) -> None:
    for count in counts:
        offsets = offsets_of([count])
        newest = newest_windows(offsets, max_len=max_len)
        num_windows = -(-count // max_len)
        times = np.zeros(count, dtype=int)
        for epoch in range(cycle * num_windows, (cycle + 1) * num_windows):
            slid = slid_windows(newest, offsets, epoch=epoch, seed=seed)
            times[pack(slid).current_P] += 1
        assert set(times.tolist()) <= {1, 2}
        assert times.sum() == num_windows * min(count, max_len)


def test_over_many_epochs_positions_count_alike_but_for_the_ends() -> None:
    offsets = offsets_of([95])
    newest = newest_windows(offsets, max_len=20)
    times = np.zeros(95, dtype=int)
    for epoch in range(500):
        times[pack(slid_windows(newest, offsets, epoch=epoch, seed=1)).current_P] += 1

    assert times.min() == 100
    assert times.max() <= 140
    assert times.mean() < 110


def test_users_slide_apart_and_a_seed_slides_them_otherwise() -> None:
    offsets = offsets_of([90] * 50)
    newest = newest_windows(offsets, max_len=10)

    def starts(epoch: int, seed: int) -> list[int]:
        slid = slid_windows(newest, offsets, epoch=epoch, seed=seed)
        return (slid.current_start - offsets[:-1]).tolist()

    assert starts(3, 1) == starts(3, 1)
    assert starts(3, 1) != starts(3, 2)
    assert len(set(starts(0, 1))) > 5
    assert len({tuple(starts(epoch, 1)) for epoch in range(9)}) == 9


def test_a_coin_keeps_some_windows_the_newest() -> None:
    offsets = offsets_of([100] * 400)
    newest = newest_windows(offsets, max_len=10)

    def kept(newest_share: float, epoch: int) -> np.ndarray:
        slid = slid_windows(newest, offsets, epoch=epoch, seed=1, newest_share=newest_share)
        return slid.current_start == newest.current_start

    assert kept(1.0, 0).all()
    assert 0.5 < kept(0.5, 0).mean() < 0.62  # half of them, and every tenth of the others
    assert (kept(0.5, 0) != kept(0.5, 1)).any()
