from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from training.events.defects import MAX_LATE_US, _stable_order, draw_received
from training.events.simulated import SimulatedWorld
from training.events.world import WorldParameters
from training.rules import SplitEvents, split_events

ALL_ARRIVED = datetime(2100, 1, 1, tzinfo=UTC)
BUSY = WorldParameters(
    num_users=1_000,
    num_titles=200,
    num_days=6,
    duplicate_rate=0.05,
    malformed_rate=0.02,
    unknown_item_rate=0.01,
    missing_id_rate=0.0,
    late_rate=0.1,
)
CLEAN = replace(
    BUSY, duplicate_rate=0.0, malformed_rate=0.0, unknown_item_rate=0.0, out_of_order_rate=0.0
)
DAY = BUSY.first_day + timedelta(days=4)


def raw(parameters: WorldParameters) -> pa.Table:
    return SimulatedWorld(parameters).read_day(DAY, received_before=ALL_ARRIVED)


def split(parameters: WorldParameters) -> SplitEvents:
    world = SimulatedWorld(parameters)
    catalogue = world.catalogue(as_of=datetime(2026, 1, 16, tzinfo=UTC))
    return split_events(raw(parameters), schema=world.schema, day=DAY, catalogue=catalogue)


def test_the_rules_find_the_genuine_events_whatever_the_defects() -> None:
    assert split(BUSY).valid.equals(split(CLEAN).valid)
    assert split(CLEAN).valid.num_rows == raw(CLEAN).num_rows


def test_every_injected_defect_is_counted() -> None:
    rows, result = pl.Series(values=raw(BUSY)["event_id"]), split(BUSY)
    num_genuine = raw(CLEAN).num_rows

    num_malformed = rows.str.starts_with("m").sum()
    num_unknown = rows.str.starts_with("x").sum()
    assert result.counts_by_rule["item is in the catalogue"] == num_unknown
    assert result.quarantined.num_rows == num_malformed + num_unknown
    assert result.num_duplicates == len(rows) - rows.n_unique()
    assert result.num_duplicates == pytest.approx(0.05 * num_genuine, rel=0.3)
    assert num_malformed == pytest.approx(0.02 * num_genuine, rel=0.3)
    assert num_unknown == pytest.approx(0.01 * num_genuine, rel=0.4)


def test_every_kind_of_nonsense_occurs() -> None:
    broken = {rule for rule, count in split(BUSY).counts_by_rule.items() if count}

    assert broken == {
        "user_id is filled",
        "item_id is filled",
        "occurred_at is filled",
        "action is known",
        "occurred before it was received",
        "item is in the catalogue",
        "position is finite",
        "watch_duration is not negative",
    }


def test_missing_ids_are_filled_and_change_nothing_else() -> None:
    some = split(replace(BUSY, missing_id_rate=0.3)).valid
    none = split(BUSY).valid
    lengths = pl.Series(values=some["event_id"]).str.len_bytes()

    assert (lengths == 32).mean() == pytest.approx(0.3, abs=0.03)
    key = ["user_id", "occurred_at", "item_id", "action"]
    assert (
        some.drop_columns(["event_id"])
        .sort_by([(k, "ascending") for k in key])
        .equals(none.drop_columns(["event_id"]).sort_by([(k, "ascending") for k in key]))
    )


def test_events_arrive_after_they_occur_and_at_most_three_days_late() -> None:
    occurred = np.arange(100_000, dtype=np.int64)

    delay = draw_received(BUSY, occurred, 0) - occurred

    assert delay.min() > 0
    assert delay.max() < MAX_LATE_US
    assert (delay > 1_800_000_000).mean() == pytest.approx(0.1, abs=0.01)


def test_rows_stand_in_order_of_arrival_but_for_the_displaced_ones() -> None:
    def share_in_order(parameters: WorldParameters) -> float:
        received = raw(parameters)["received_at"].cast(pa.int64()).to_numpy()
        return float((np.diff(received) >= 0).mean())

    assert share_in_order(CLEAN) == 1.0
    assert 0.5 < share_in_order(replace(CLEAN, out_of_order_rate=0.1)) < 0.95


@pytest.mark.parametrize("span", [1, 3, 1 << 39, 1 << 60])
def test_arrivals_at_one_instant_keep_their_order(span: int) -> None:
    values = np.random.default_rng(2).integers(0, span, 1_000) + 1_768_000_000_000_000

    np.testing.assert_array_equal(_stable_order(values), np.argsort(values, kind="stable"))
    assert len(_stable_order(values[:0])) == 0
