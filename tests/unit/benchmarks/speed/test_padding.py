"""What is timed is the same training: filled windows hold the same choices, and ask for no more."""

import numpy as np

from benchmarks.speed.padding import SCHEMA, filled
from training.contracts import UNKNOWN_INSTANT, Histories
from training.tokens.targets import is_target


def test_histories_are_filled_up_from_their_beginning() -> None:
    choices = np.array([0, 1, 2, 3, 0], dtype=np.int32)
    nowhen = np.full(5, UNKNOWN_INSTANT)
    log = Histories(
        user_ids=("ann", "bob"),
        offsets=np.array([0, 3, 5]),
        items=("a", "b", "c", "d"),
        item_code=choices,
        first_at=nowhen,
        last_at=nowhen,
        duration_ms=np.zeros(5, dtype=np.int64),
        num_events=np.ones(5, dtype=np.int32),
        action_counts=np.ones((5, 1), dtype=np.int32),
        request_categories={},
        request_numbers={},
    )

    as_they_lie, padded = filled(log, length=0), filled(log, length=4)

    np.testing.assert_array_equal(as_they_lie.item_code, choices)
    np.testing.assert_array_equal(np.diff(padded.offsets), [4, 4])
    asked = is_target(padded, SCHEMA)
    np.testing.assert_array_equal(asked, [False, True, True, True, False, False, True, True])
    np.testing.assert_array_equal(padded.item_code[asked], choices)
