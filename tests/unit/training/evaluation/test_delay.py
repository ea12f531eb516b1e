from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT, Histories
from training.errors import ContractError
from training.evaluation.asked import Asked
from training.evaluation.delay import DELAYS_HOURS, delayed
from training.evaluation.temporal import temporal
from training.features.catalogue import Catalogue
from training.schema import EventSchema


@pytest.fixture
def asked(
    make_histories: Callable[..., Histories],
    make_catalogue: Callable[..., Catalogue],
    watching: EventSchema,
) -> Asked:
    users = {"ann": [("a", None), ("b", -50.0), ("c", -20.0), ("d", -0.5), ("a", 0.0), ("b", 3.0)]}
    log = make_histories(users)
    start = datetime.fromtimestamp(int(log.first_at[4] // 1_000_000), tz=UTC)
    return temporal(
        log,
        learned=log,
        schema=watching,
        catalogue=make_catalogue([{"item_id": item} for item in "abcd"]),
        split_at=start,
        until=start + timedelta(hours=9),
    )


def histories(asked: Asked) -> list[str]:
    offsets = asked.histories.offsets
    items = [asked.histories.items[code] for code in asked.histories.item_code]
    return ["".join(items[a:b]) for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    ("hours", "known"),
    [
        (0, ["abcd", "abcda"]),
        (1, ["abc", "abcda"]),
        (24, ["ab", "ab"]),
        (48, ["ab", "ab"]),
        (60, ["a", "a"]),  # a prefix is older than the log
    ],
)
def test_a_delay_takes_what_had_not_ended_by_then(
    asked: Asked, hours: int, known: list[str]
) -> None:
    found = delayed(asked, hours=hours)

    assert histories(found) == known
    np.testing.assert_array_equal(found.target_Q, asked.target_Q)
    np.testing.assert_array_equal(found.user_Q, asked.user_Q)
    np.testing.assert_array_equal(asked.at_Q - found.at_Q, hours * 3_600_000_000)


def test_a_longer_delay_never_knows_more(asked: Asked) -> None:
    lengths = [np.diff(delayed(asked, hours=hours).histories.offsets) for hours in DELAYS_HOURS]

    assert all((later <= sooner).all() for sooner, later in pairwise(lengths))


def test_without_instants_there_is_no_delay(asked: Asked) -> None:
    untimed = replace(asked, at_Q=np.full(2, UNKNOWN_INSTANT))

    with pytest.raises(ContractError, match="instants"):
        delayed(untimed, hours=1)
