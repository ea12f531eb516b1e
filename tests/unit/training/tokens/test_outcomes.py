from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training.contracts import Histories
from training.events.source import CATALOGUE_SCHEMA
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.outcomes import completion, strongest_action

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def catalogue(*rows: tuple[str, int | None, float, float | None]) -> pa.Table:
    """Item, runtime in seconds, valid from and to in hours after noon."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "kind": "film",
                "runtime_s": runtime_s,
                "valid_from": NOON + timedelta(hours=begin),
                "valid_to": None if end is None else NOON + timedelta(hours=end),
            }
            for item, runtime_s, begin, end in rows
        ],
        schema=CATALOGUE_SCHEMA,
    )


def watched(histories: Histories, *seconds: int) -> Histories:
    return replace(histories, duration_ms=np.array(seconds, dtype=np.int64) * 1000)


@pytest.mark.parametrize(
    ("strength", "want"),
    [((), ["play", "dislike", "open"]), (("open", "dislike", "play"), ["open", "dislike", "open"])],
)
def test_the_strongest_action_is_the_first_of_the_order_that_a_token_holds(
    strength: tuple[str, ...],
    want: list[str],
    make_histories: Callable[..., Histories],
    watching: EventSchema,
) -> None:
    counts = {("ana", 0): (1, 5, 0), ("ana", 1): (2, 0, 1), ("bo", 0): (0, 1, 0)}
    histories = make_histories({"ana": [("A", 0), ("B", 1)], "bo": [("A", 0)]}, actions=counts)

    strongest = strongest_action(histories, watching, TokenizerConfig(strength=strength))

    assert [watching.token_actions[column] for column in strongest] == want
    assert strongest.dtype == np.int32


def test_completion_is_the_duration_over_the_runtime_of_when_the_token_began(
    make_histories: Callable[..., Histories],
) -> None:
    rows = catalogue(("A", 100, -9, 2), ("A", 50, 2, None), ("B", 400, -9, None))
    histories = watched(
        make_histories({"ana": [("A", 1.0), ("A", 2.0), ("B", 3.0)], "bo": [("B", 0.0)]}),
        *(50, 50, 800, 100),
    )

    assert completion(histories, rows).tolist() == [0.5, 1.0, 2.0, 0.25]


def test_completion_is_unknown_without_a_runtime_or_an_instant(
    make_histories: Callable[..., Histories],
) -> None:
    rows = catalogue(
        ("A", None, -9, None), ("B", 100, 1, None), ("C", 100, -9, -1), ("D", 0, -9, None),
        ("F", 100, -9, None),
    )  # fmt: skip
    tokens: list[Any] = [(item, 0.0) for item in "ABCDE"]

    share = completion(make_histories({"ana": [("F", None), *tokens, ("F", 0.0)]}), rows)

    assert np.isnan(share[:-1]).all()
    assert share[-1] > 0


def test_no_token_has_no_outcome(
    make_histories: Callable[..., Histories], watching: EventSchema
) -> None:
    nothing = make_histories({})

    assert completion(nothing, catalogue(("A", 1, 0, None))).tolist() == []
    assert strongest_action(nothing, watching, TokenizerConfig()).tolist() == []
