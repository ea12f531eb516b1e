from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from training.contracts import Histories
from training.errors import NoDataError
from training.evaluation.asked import Asked
from training.evaluation.temporal import temporal
from training.features.catalogue import Catalogue
from training.schema import EventSchema

USERS = {
    "ann": [("a", None), ("b", -30.0), ("c", 1.0), ("c", 5.0), ("d", 6.0), ("a", 90.0)],
    "bob": [("b", 2.0), ("gone", 3.0)],
    "cy": [("c", -3.0)],
}


@pytest.fixture
def ask(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> Callable[..., Asked]:
    made = make_histories(USERS, actions={("ann", 4): (1, 0, 1)})
    codes = np.array([1, 1, -1, 1, 1, 1, 0, 1, 1], dtype=np.int32)  # of ann's c, and of bob's b
    log = replace(made, request_categories={"device": (("tv", "web"), codes)})
    at = make_catalogue([{"item_id": item} for item in "abcde"])
    noon = make_histories({"x": [("a", 0.0)]}).first_at[0] // 1_000_000

    def asked(*, hours: float = 0.0, until: float = 48.0) -> Asked:
        instant = datetime.fromtimestamp(int(noon), tz=UTC)
        return temporal(
            log,
            learned=log,
            schema=watching,
            catalogue=at,
            split_at=instant + timedelta(hours=hours),
            until=instant + timedelta(hours=until),
        )

    return asked


def histories(asked: Asked) -> list[str]:
    offsets = asked.histories.offsets
    items = [asked.histories.items[code] for code in asked.histories.item_code]
    return ["".join(items[a:b]) for a, b in pairwise(offsets)]


def test_every_target_between_is_asked_with_what_came_before_it(
    ask: Callable[..., Asked],
) -> None:
    asked = ask()

    # ann's second c continues, her d was disliked, her last a is too late; nobody offers "gone"
    assert [asked.candidates[target] for target in asked.target_Q] == ["c", "b"]
    assert histories(asked) == ["ab", ""]
    assert asked.user_Q.tolist() == [0, 1]
    assert asked.candidates == ("a", "b", "c", "d", "e")


def test_a_later_question_of_a_user_knows_the_earlier_ones(ask: Callable[..., Asked]) -> None:
    asked = ask(until=100.0)

    assert [asked.candidates[target] for target in asked.target_Q] == ["c", "a", "b"]
    assert histories(asked) == ["ab", "abccd", ""]
    assert asked.user_Q.tolist() == [0, 0, 1]


def test_facets_of_the_target_are_groups(ask: Callable[..., Asked]) -> None:
    assert ask().groups == {"device": ("unknown", "tv")}


def test_days_without_targets_are_refused(ask: Callable[..., Asked]) -> None:
    with pytest.raises(NoDataError, match="no target"):
        ask(hours=200.0, until=300.0)


def test_questions_are_in_the_order_of_users(ask: Callable[..., Asked]) -> None:
    assert (np.diff(ask(until=100.0).user_Q) >= 0).all()
