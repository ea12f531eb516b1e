from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import ContractError
from training.events.source import CATALOGUE_SCHEMA
from training.rules import CONFLICT_RULE, SplitEvents, rule_names, split_events
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

DAY = date(2026, 1, 11)
NOON = datetime(2026, 1, 11, 12, tzinfo=UTC)
SCHEMA = EventSchema(
    name="tiny",
    actions=(
        Action(name="play", role=ActionRole.TARGET),
        Action(name="show", role=ActionRole.IGNORED),
    ),
    facets=(
        Facet(name="device", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="position", kind=FacetKind.NUMERIC, phase=Phase.REQUEST),
        Facet(name="moods", kind=FacetKind.MULTI_CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="watched", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="show",
)
CATALOGUE = pa.Table.from_pylist(
    [
        {"item_id": "old", "kind": "movie", "valid_from": NOON - timedelta(days=9)},
        {"item_id": "fresh", "kind": "movie", "valid_from": NOON},
    ],
    schema=CATALOGUE_SCHEMA,
)
SOUND: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "ann",
    "item_id": "old",
    "action": "play",
    "occurred_at": NOON,
    "received_at": NOON + timedelta(seconds=4),
    "device": "tv",
    "position": 1.0,
    "moods": ["calm"],
    "watched": 60_000,
}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{**SOUND, **row} for row in rows], schema=SCHEMA.arrow_schema)


def split(raw: pa.Table) -> SplitEvents:
    return split_events(raw, schema=SCHEMA, day=DAY, catalogue=CATALOGUE)


def as_bytes(events: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(events, sink)
    return sink.getvalue().to_pybytes()


moments = st.sampled_from([NOON, NOON - timedelta(hours=3), NOON - timedelta(days=1), None])
rows = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["e1", "e2", "e3", "", None]),
        "user_id": st.sampled_from(["ann", "bob", "", None]),
        "item_id": st.sampled_from(["old", "fresh", "nowhere", None]),
        "action": st.sampled_from(["play", "show", "plya", None]),
        "occurred_at": moments,
        "received_at": moments,
        "device": st.sampled_from(["tv", None]),
        "position": st.sampled_from([0.0, -0.0, 1.0, float("nan"), None]),
        "moods": st.sampled_from([["calm", "sad"], ["sad", "calm"], [], None]),
        "watched": st.sampled_from([0, 5, -1, None]),
    }
)
logs = st.lists(rows, min_size=1, max_size=30)
# mostly sound, so that conflicts and repeats among valid rows are met often
sound_logs = st.lists(
    st.fixed_dictionaries(
        {
            "event_id": st.sampled_from(["e1", "e2", None]),
            "user_id": st.sampled_from(["ann", "bob"]),
            "received_at": st.sampled_from([NOON + timedelta(seconds=s) for s in (1, 2)] + [None]),
            "position": st.sampled_from([0.0, -0.0, 1.0]),
            "moods": st.sampled_from([["calm", "sad"], ["sad", "calm"]]),
        }
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(log=logs | sound_logs)
def test_rows_in_are_valid_quarantined_or_duplicates(log: list[dict[str, Any]]) -> None:
    raw = table(*log)

    result = split(raw)

    parts = result.valid.num_rows + result.quarantined.num_rows + result.num_duplicates
    assert parts == raw.num_rows
    assert sum(result.counts_by_rule.values()) == result.quarantined.num_rows


@settings(max_examples=50, deadline=None)
@given(log=logs | sound_logs, data=st.data())
def test_order_repetition_and_splits_change_no_byte(
    log: list[dict[str, Any]], data: st.DataObject
) -> None:
    raw = table(*log)
    places = st.integers(0, raw.num_rows - 1)
    order = data.draw(st.permutations(range(raw.num_rows))) + data.draw(st.lists(places))
    cut = data.draw(st.integers(0, len(order)))
    files = [np.array(part, dtype=np.int64) for part in (order[:cut], order[cut:])]
    arrived = pa.concat_tables([raw.take(file) for file in files])

    before, after = split(raw), split(arrived)

    assert as_bytes(after.valid) == as_bytes(before.valid)
    assert as_bytes(after.quarantined) == as_bytes(before.quarantined)
    assert after.counts_by_rule == before.counts_by_rule


@settings(max_examples=50, deadline=None)
@given(log=logs | sound_logs)
def test_valid_events_keep_every_promise(log: list[dict[str, Any]]) -> None:
    valid = split(table(*log)).valid

    assert valid.schema.equals(SCHEMA.arrow_schema)
    for name in ("event_id", "user_id", "item_id", "action", "occurred_at", "received_at"):
        assert valid[name].null_count == 0
    keys = [(r["user_id"], r["occurred_at"], r["event_id"]) for r in valid.to_pylist()]
    assert keys == sorted(keys)
    ids = valid["event_id"].to_pylist()
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"user_id": None}, "user_id is filled"),
        ({"user_id": ""}, "user_id is filled"),
        ({"item_id": None}, "item_id is filled"),
        ({"action": None}, "action is filled"),
        ({"occurred_at": None}, "occurred_at is filled"),
        ({"received_at": None}, "received_at is filled"),
        ({"action": "plya"}, "action is known"),
        ({"occurred_at": NOON - timedelta(hours=12, microseconds=1)}, "occurred on the day"),
        (
            {"occurred_at": NOON + timedelta(hours=12), "received_at": NOON + timedelta(hours=13)},
            "occurred on the day",
        ),
        (
            {"received_at": NOON - timedelta(minutes=5, microseconds=1)},
            "occurred before it was received",
        ),
        ({"item_id": "nowhere"}, "item is in the catalogue"),
        (
            {"item_id": "fresh", "occurred_at": NOON - timedelta(microseconds=1)},
            "item was launched",
        ),
        ({"position": float("nan")}, "position is finite"),
        ({"position": float("inf")}, "position is finite"),
        ({"watched": -1}, "watched is not negative"),
    ],
)
def test_a_broken_rule_is_named(change: dict[str, Any], rule: str) -> None:
    result = split(table({}, {"event_id": "e2", **change}))

    assert result.valid["event_id"].to_pylist() == ["e1"]
    assert result.quarantined["rule"].to_pylist() == [rule]
    assert result.counts_by_rule[rule] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"device": None, "position": None, "moods": None, "watched": None},
        {"received_at": NOON - timedelta(minutes=5)},
        {"item_id": "fresh"},
        {"occurred_at": NOON - timedelta(hours=12)},
    ],
)
def test_the_edges_of_the_rules_are_valid(change: dict[str, Any]) -> None:
    assert split(table(change)).valid.num_rows == 1


def test_a_row_is_quarantined_once_under_its_first_broken_rule() -> None:
    result = split(table({"user_id": None, "action": "plya", "watched": -1}))

    assert result.quarantined["rule"].to_pylist() == ["user_id is filled"]


def test_of_repeats_the_one_received_first_stays() -> None:
    later = {"received_at": NOON + timedelta(hours=1)}

    result = split(table(later, {}, later))

    assert result.valid["received_at"].to_pylist() == [SOUND["received_at"]]
    assert result.num_duplicates == 2


def test_a_repeat_without_arrival_yields_to_one_that_has_it() -> None:
    result = split(table({"received_at": None}, {}))

    assert result.valid.num_rows == 1
    assert result.num_duplicates == 1


def test_a_missing_event_id_is_the_hash_of_the_content_without_the_arrival() -> None:
    late = {"event_id": None, "received_at": NOON + timedelta(hours=1)}

    result = split(
        table({"event_id": None}, {"event_id": ""}, late, {"event_id": None, "position": 2.0})
    )

    assert result.num_duplicates == 2
    assert result.valid.num_rows == 2
    assert all(len(one) == 32 for one in result.valid["event_id"].to_pylist())


def test_of_two_contents_under_one_id_the_valid_one_received_first_stays() -> None:
    broken = {"watched": -1, "received_at": NOON}
    other = {"watched": 7, "received_at": NOON + timedelta(hours=1)}

    result = split(table(other, broken, {}, other))

    assert result.valid["watched"].to_pylist() == [SOUND["watched"]]
    assert result.quarantined["watched"].to_pylist() == [7, -1]
    assert result.quarantined["rule"].to_pylist() == [CONFLICT_RULE, "watched is not negative"]
    assert result.num_duplicates == 1


def test_every_rule_is_counted_also_when_nothing_broke_it() -> None:
    result = split(table({}))

    assert list(result.counts_by_rule) == rule_names(SCHEMA)
    assert set(result.counts_by_rule.values()) == {0}


def test_an_empty_day_has_nothing_to_tell_apart() -> None:
    result = split(table())

    assert (result.valid.num_rows, result.quarantined.num_rows, result.num_duplicates) == (0, 0, 0)
    assert result.valid.schema.equals(SCHEMA.arrow_schema)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (table({}).drop_columns(["item_id"]), "column 'item_id' is missing"),
        (
            table({}).set_column(7, "position", pa.array([1])),
            "column 'position': want double, got int64",
        ),
        (table({}).append_column("extra", pa.array([1])), "column 'extra' is not in the schema"),
        (table({}).append_column("user_id", pa.array(["ann"])), "column 'user_id' repeats"),
        (table({}).select(sorted(SCHEMA.arrow_schema.names)), "columns stand in another order"),
    ],
)
def test_wrong_columns_are_named_with_both_schemas(raw: pa.Table, fault: str) -> None:
    with pytest.raises(ContractError) as refused:
        split(raw)

    message = str(refused.value)
    assert fault in message
    assert "want [event_id string, user_id string" in message
    assert f"got [{raw.schema[0].name} string" in message


def test_no_user_id_stands_in_a_message() -> None:
    with pytest.raises(ContractError) as refused:
        split(table({"user_id": "secret"}).drop_columns(["item_id"]))

    assert "secret" not in str(refused.value)
