from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from training.contracts import UNKNOWN_INSTANT, Histories
from training.errors import ContractError
from training.schema import EventSchema
from training.tokens.targets import continues_history, is_target, starts_on, targets_of_day

DAY = date(2026, 2, 2)
MIDNIGHT = datetime(2026, 2, 2, tzinfo=UTC)
PLAY, OPEN, PLAY_AND_DISLIKE = [1, 0, 0], [0, 1, 0], [1, 0, 1]


def histories(*users: list[tuple[str, float | None, list[int]]]) -> Histories:
    """One history per list of (item, hours after midnight or None, action counts)."""
    tokens = [token for user in users for token in user]
    items = tuple(sorted({item for item, _, _ in tokens}))
    first_at = np.array(
        [
            UNKNOWN_INSTANT
            if hours is None
            else (MIDNIGHT + timedelta(hours=hours)).timestamp() * 1_000_000
            for _, hours, _ in tokens
        ],
        dtype=np.int64,
    )
    return Histories(
        user_ids=tuple(f"u{number}" for number in range(len(users))),
        offsets=np.cumsum([0, *map(len, users)]),
        items=items,
        item_code=np.array([items.index(item) for item, _, _ in tokens], dtype=np.int32),
        first_at=first_at,
        last_at=first_at,
        duration_ms=np.zeros(len(tokens), dtype=np.int64),
        num_events=np.ones(len(tokens), dtype=np.int32),
        action_counts=np.array([counts for _, _, counts in tokens], dtype=np.int32).reshape(-1, 3),
        request_categories={},
        request_numbers={},
    )


def test_a_target_holds_a_target_action_and_no_negative_one(schema: EventSchema) -> None:
    some = histories([("A", 0, PLAY), ("B", 1, OPEN), ("C", 2, PLAY_AND_DISLIKE)])

    assert is_target(some, schema).tolist() == [True, False, False]


def test_a_day_begins_at_its_midnight_and_ends_before_the_next() -> None:
    some = histories([("A", None, PLAY), *(("A", h, PLAY) for h in (-0.001, 0, 23.999, 24))])

    assert starts_on(some, DAY).tolist() == [False, False, True, True, False]


def test_targets_of_a_day_start_on_it(schema: EventSchema) -> None:
    some = histories([("A", -1, PLAY), ("B", 1, PLAY)], [("A", 2, OPEN), ("C", 3, PLAY)])

    assert targets_of_day(some, DAY, schema).tolist() == [False, True, False, True]


def test_a_token_continues_a_history_that_ends_with_its_item() -> None:
    some = histories(
        [("A", None, PLAY), ("A", 1, PLAY), ("B", 2, PLAY), ("A", 3, PLAY)],
        [("A", 4, PLAY), ("A", 9, PLAY)],
    )

    assert continues_history(some).tolist() == [False, True, False, False, False, True]


def test_at_a_cut_the_history_ends_with_the_last_token_before_it() -> None:
    some = histories(
        [("A", -2, PLAY), ("A", -1, PLAY), ("B", 1, PLAY), ("A", 2, PLAY)],
        [("A", 4, PLAY), ("A", 9, PLAY)],
        [("B", -9, PLAY)],
    )

    mask = continues_history(some, cut_at=MIDNIGHT)

    assert mask.tolist() == [False, False, False, True, False, False, False]


def test_no_token_continues_nothing() -> None:
    assert continues_history(histories()).tolist() == []
    assert continues_history(histories(), cut_at=MIDNIGHT).tolist() == []


def test_a_cut_is_an_aware_instant() -> None:
    with pytest.raises(ContractError, match="aware"):
        continues_history(histories(), cut_at=datetime(2026, 2, 2))  # noqa: DTZ001
