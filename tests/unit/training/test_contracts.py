"""What holds of data that training reads."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.contracts import Histories
from training.errors import ContractError


@pytest.fixture
def histories() -> Histories:
    at = np.array([10, 20, 5])
    return Histories(
        user_ids=("ann", "bob"),
        offsets=np.array([0, 2, 3]),
        items=("a", "b"),
        item_code=np.array([0, 1, 1], dtype=np.int32),
        first_at=at,
        last_at=at,
        duration_ms=np.array([0, 7, 0]),
        num_events=np.ones(3, dtype=np.int32),
        action_counts=np.ones((3, 1), dtype=np.int32),
        request_categories={},
        request_numbers={"position": np.array([1.0, np.nan, 2.0])},
    )


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"offsets": np.array([0, 2])}, "offsets: want 3 ending at 3, got 2 ending at 2"),
        ({"item_code": np.array([0, 2, 1])}, r"item_code: outside \[0, 2\)"),
        ({"first_at": np.array([20, 10, 5])}, "first_at: tokens of one user are not in time order"),
        ({"num_events": np.ones(2)}, "num_events: want 3 rows, got 2"),
        ({"duration_ms": np.array([0, -7, 0])}, "duration_ms: want >= 0, got -7"),
        (
            {"request_numbers": {"position": np.array([1.0, np.inf, 2.0])}},
            "position: want numbers or NaN, got an infinite one",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(
    histories: Histories, wrong: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ContractError, match=rule):
        replace(histories, **wrong)
