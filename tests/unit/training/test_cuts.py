from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from training.contracts import Histories
from training.cuts import (
    before_each,
    ended_before,
    kept,
    of_users,
    with_at_least,
    without_last,
)
from training.errors import NoDataError

Make = Callable[..., Histories]

USERS = {
    "ann": [("a", None), ("b", 1.0), ("c", 5.0)],
    "bob": [("b", 2.0), ("a", 9.0)],
    "cy": [("c", 3.0)],
}


def tokens(histories: Histories) -> dict[str, str]:
    """Return each user's items as one word."""
    words = {}
    for at, user in enumerate(histories.user_ids):
        own = slice(histories.offsets[at], histories.offsets[at + 1])
        words[user] = "".join(histories.items[code] for code in histories.item_code[own])
    return words


def test_every_column_follows_what_is_kept(make_histories: Make) -> None:
    log = make_histories(USERS)
    is_kept = np.array([True, False, True, False, False, True])

    found = kept(log, is_kept)

    assert tokens(found) == {"ann": "ac", "bob": "", "cy": "c"}
    for name in ("first_at", "last_at", "duration_ms", "num_events", "action_counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(log, name)[is_kept])
    devices: Any = found.request_categories["device"]
    np.testing.assert_array_equal(devices[1], log.request_categories["device"][1][is_kept])
    positions = log.request_numbers["position"][is_kept]
    np.testing.assert_array_equal(found.request_numbers["position"], positions)
    tags: Any = found.request_sets["tags"]
    np.testing.assert_array_equal(tags[1], log.request_sets["tags"][1][is_kept])
    opened = log.request_instants["opened"][is_kept]
    np.testing.assert_array_equal(found.request_instants["opened"], opened)


def test_the_last_tokens_are_each_users_own(make_histories: Make) -> None:
    log = make_histories(USERS)

    assert tokens(without_last(log, 1)) == {"ann": "ab", "bob": "b", "cy": ""}
    with pytest.raises(NoDataError, match="at least 2 tokens"):
        without_last(log, 2)


def test_short_histories_go_with_their_users(make_histories: Make) -> None:
    assert tokens(with_at_least(make_histories(USERS), 2)) == {"ann": "abc", "bob": "ba"}


def test_users_are_taken_in_any_order_and_as_often_as_asked(make_histories: Make) -> None:
    found = of_users(make_histories(USERS), np.array([2, 0, 2]))

    assert found.user_ids == ("cy", "ann", "cy")
    assert found.offsets.tolist() == [0, 1, 4, 5]
    assert [found.items[code] for code in found.item_code] == list("cabcc")


def test_a_token_that_lasts_to_the_instant_is_not_before_it(make_histories: Make) -> None:
    log = make_histories(USERS)
    at = log.last_at[[2, 4, 5]]

    assert tokens(ended_before(log, at)) == {"ann": "ab", "bob": "b", "cy": ""}
    assert tokens(ended_before(log, at + 1)) == {"ann": "abc", "bob": "ba", "cy": "c"}


def test_what_is_before_a_token_is_its_users_own(make_histories: Make) -> None:
    found = before_each(make_histories(USERS), np.array([2, 3, 4, 1]))

    assert tokens(found) == {"0": "ab", "1": "", "2": "b", "3": "a"}
