import random

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from training.sets import sorted_sets

LISTS = st.lists(st.none() | st.lists(st.none() | st.sampled_from(["", "a", "b", "ä", "a b"])))


@given(LISTS)
def test_members_come_once_and_in_order(lists: list[list[str | None] | None]) -> None:
    column = pl.Series("tags", lists, dtype=pl.List(pl.String))
    want = [
        one if one is None else sorted(set(one), key=lambda member: (member is not None, member))
        for one in lists
    ]
    got = sorted_sets(column)
    assert got.to_list() == want
    assert (got.name, got.dtype) == (column.name, column.dtype)


def test_a_hundred_thousand_sets_take_no_time() -> None:
    draw = random.Random(0)
    lists = [draw.sample("abcdefghijklmnop", 5) for _ in range(100_000)]
    assert sorted_sets(pl.Series(lists)).to_list() == [sorted(one) for one in lists]
