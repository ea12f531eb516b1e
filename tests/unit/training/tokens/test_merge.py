from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from training.errors import ContractError
from training.schema import EventSchema
from training.tokens.config import TokenizerConfig
from training.tokens.merge import join, merge, token_schema

Build = Callable[..., pa.Table]
CONFIG = TokenizerConfig(merge_gap_s=600)


def at(minutes: float) -> datetime:
    return datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=minutes)


def short(tokens: pa.Table) -> list[tuple[Any, ...]]:
    """User, item, first and last minute of each token."""
    return [
        (
            row["user_id"],
            row["item_id"],
            (row["first_at"] - at(0)).total_seconds() / 60,
            (row["last_at"] - at(0)).total_seconds() / 60,
        )
        for row in tokens.to_pylist()
    ]


def test_a_token_holds_what_its_events_add_up_to(schema: EventSchema, table: Build) -> None:
    events = table(
        [
            {"action": "open", "occurred_at": at(0), "device": "tv", "tags": ["a", "b"],
             "position": 3.0, "asked_at": at(-1), "wait_ms": 5, "rating": 1.0},
            {"action": "play", "occurred_at": at(1), "device": "phone", "watch_ms": 700},
            {"action": "play", "occurred_at": at(11), "position": 9.0, "watch_ms": 40},
        ]
    )  # fmt: skip

    tokens = merge(events, schema, CONFIG)

    assert tokens.schema == token_schema(schema)
    assert tokens.to_pylist() == [
        {
            "user_id": "ana",
            "item_id": "A",
            "first_at": at(0),
            "last_at": at(11),
            "duration_ms": 745,
            "num_events": 3,
            "action_counts": [2, 1, 0],
            "request_device": "tv",
            "request_tags": ["a", "b"],
            "request_position": 3.0,
            "request_asked_at": at(-1),
        }
    ]


def test_the_gap_is_measured_between_neighbours_and_may_be_met_exactly(
    schema: EventSchema, table: Build
) -> None:
    minutes = [0, 10, 20, 30.5]

    tokens = merge(table({"occurred_at": at(m)} for m in minutes), schema, CONFIG)

    assert short(tokens) == [("ana", "A", 0, 20), ("ana", "A", 30.5, 30.5)]


def test_another_item_between_parts_a_token_and_an_ignored_action_does_not(
    schema: EventSchema, table: Build
) -> None:
    events = table(
        [
            {"occurred_at": at(0)},
            {"occurred_at": at(1), "item_id": "B", "action": "shown"},
            {"occurred_at": at(2)},
            {"occurred_at": at(3), "item_id": "B"},
            {"occurred_at": at(4)},
        ]
    )

    tokens = merge(events, schema, CONFIG)

    assert short(tokens) == [("ana", "A", 0, 2), ("ana", "B", 3, 3), ("ana", "A", 4, 4)]


def test_users_never_share_a_token(schema: EventSchema, table: Build) -> None:
    events = table({"occurred_at": at(m), "user_id": u} for u, m in [("ana", 0), ("bo", 1)])

    assert short(merge(events, schema, CONFIG)) == [("ana", "A", 0, 0), ("bo", "A", 1, 1)]


def test_events_of_one_instant_are_ordered_by_event_id(schema: EventSchema, table: Build) -> None:
    rows = [
        {"occurred_at": at(0), "event_id": event_id, "item_id": item}
        for event_id, item in [("1", "A"), ("3", "A"), ("2", "B")]
    ]

    tokens = merge(table(rows), schema, CONFIG)

    assert tokens["item_id"].to_pylist() == ["A", "B", "A"]


def test_a_token_joins_across_three_parts(schema: EventSchema, table: Build) -> None:
    one, two, three = (
        merge(table([{"occurred_at": at(m), "watch_ms": 1}]), schema, CONFIG) for m in (0, 9, 18)
    )

    left = join(join(one, two, CONFIG), three, CONFIG)
    right = join(one, join(two, three, CONFIG), CONFIG)

    assert left == right
    assert short(left) == [("ana", "A", 0, 18)]
    assert left["duration_ms"].to_pylist() == [3]


def test_a_join_keeps_apart_what_another_item_parts(schema: EventSchema, table: Build) -> None:
    earlier = table([{"occurred_at": at(0)}, {"occurred_at": at(1), "item_id": "B"}])
    later = table([{"occurred_at": at(2)}])

    joined = join(merge(earlier, schema, CONFIG), merge(later, schema, CONFIG), CONFIG)

    assert short(joined) == [("ana", "A", 0, 0), ("ana", "B", 1, 1), ("ana", "A", 2, 2)]


def test_no_event_gives_no_token(schema: EventSchema, table: Build) -> None:
    nothing = merge(table([]), schema, CONFIG)
    ignored = merge(table([{"occurred_at": at(0), "action": "shown"}]), schema, CONFIG)

    assert (
        nothing == ignored == join(nothing, ignored, CONFIG) == token_schema(schema).empty_table()
    )


def test_a_join_in_the_wrong_order_is_refused(schema: EventSchema, table: Build) -> None:
    earlier, later = (merge(table([{"occurred_at": at(m)}]), schema, CONFIG) for m in (0, 1))

    with pytest.raises(ContractError, match="does not follow") as refused:
        join(later, earlier, CONFIG)
    assert "ana" not in str(refused.value)


@pytest.mark.parametrize("rows", [[1, 0], [0, 0]], ids=["disorder", "repetition"])
def test_events_out_of_order_are_refused(
    rows: list[int], schema: EventSchema, table: Build
) -> None:
    events = table({"occurred_at": at(m)} for m in (0, 1)).take(rows)

    with pytest.raises(ContractError, match="order"):
        merge(events, schema, CONFIG)


@pytest.mark.parametrize("name", ["event_id", "user_id", "item_id", "action", "occurred_at"])
def test_nulls_in_fixed_columns_are_refused(name: str, schema: EventSchema, table: Build) -> None:
    events = table([{"occurred_at": at(0)}])
    place = events.schema.get_field_index(name)
    events = events.set_column(place, name, pa.nulls(1, events.schema.field(name).type))

    with pytest.raises(ContractError, match=f"{name}: 1 nulls"):
        merge(events, schema, CONFIG)


def test_an_action_outside_the_schema_is_refused(schema: EventSchema, table: Build) -> None:
    with pytest.raises(ContractError, match="'stare' is not in the schema"):
        merge(table([{"occurred_at": at(0), "action": "stare"}]), schema, CONFIG)


def test_an_action_that_the_config_drops_is_in_no_token_and_parts_none(
    schema: EventSchema, table: Build
) -> None:
    events = table(
        [
            {"occurred_at": at(0)},
            {"occurred_at": at(1), "item_id": "B", "action": "open", "watch_ms": 9},
            {"occurred_at": at(2)},
        ]
    )

    tokens = merge(events, schema, TokenizerConfig(dropped_actions=("open",)))

    assert short(tokens) == [("ana", "A", 0, 2)]
    assert tokens["action_counts"].to_pylist() == [[2, 0]]
    assert tokens["duration_ms"].to_pylist() == [0]
