import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from training.events.day_aggregates import (
    MAX_VALUES,
    OTHERS,
    DayAggregates,
    aggregates_of,
    sample_of,
)
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)
SCHEMA = EventSchema(
    name="films",
    actions=(Action(name="play", role=ActionRole.TARGET),),
    facets=tuple(
        Facet(name=name, kind=kind, phase=Phase.REQUEST)
        for name, kind in (
            ("device", FacetKind.CATEGORICAL),
            ("moods", FacetKind.MULTI_CATEGORICAL),
            ("position", FacetKind.NUMERIC),
            ("watch_ms", FacetKind.DURATION),
        )
    ),
)


def events(rows: int = 4, **columns: object) -> pl.LazyFrame:
    """Return a day in which row n occurs at noon, n minutes on, and arrives 10 s later."""
    at = [NOON + timedelta(minutes=n) for n in range(rows)]
    values = {
        "event_id": [f"e{n}" for n in range(rows)],
        "user_id": [f"u{n % 2}" for n in range(rows)],
        "item_id": ["i"] * rows,
        "action": ["play"] * rows,
        "occurred_at": at,
        "received_at": [one + timedelta(seconds=10) for one in at],
        "device": ["tv"] * rows,
        "moods": [["calm"]] * rows,
        "position": [1.0] * rows,
        "watch_ms": [1000] * rows,
        **columns,
    }
    empty = pl.from_arrow(SCHEMA.arrow_schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return pl.DataFrame(values, schema=empty.schema).lazy()


def aggregates(day: pl.LazyFrame) -> DayAggregates:
    return aggregates_of(day, SCHEMA, sample_of(day))


def test_each_column_has_its_nulls_and_extremes() -> None:
    found = aggregates(
        events(
            device=["tv", None, "phone", "tv"],
            position=[float("nan"), float("-inf"), 2.0, -3.0],
            watch_ms=[None, 5, 7, None],
            moods=[["calm", "late"], None, ["calm"], []],
        )
    )

    assert (found.rows, found.users) == (4, 2)
    assert {name: n for name, n in found.nulls.items() if n} == {
        "device": 1,
        "moods": 1,
        "watch_ms": 2,
    }
    assert found.null_share("device") == 0.25
    assert dict(found.numbers) == {"position": (-3.0, 2.0), "watch_ms": (5.0, 7.0)}
    assert dict(found.not_finite) == {"position": 2}
    assert found.instants["occurred_at"] == (NOON, NOON + timedelta(minutes=3))
    assert found.counts["device"] == {"tv": 2, "phone": 1}
    assert found.counts["moods"] == {"calm": 2, "late": 1}
    assert found.counts["hour"] == {"12": 4}
    assert (found.min_delay_s, found.delay_p95_s) == (10.0, 10.0)


def test_numbers_are_counted_in_bins_of_a_quarter_octave() -> None:
    values = [-2.0, -2.3, 0.0, 0.1, 1.0, 1.18, 1.2, 1e9]
    found = aggregates(events(8, position=values))

    assert list(found.spreads["position"].items()) == [
        ("-2", 2),
        ("0", 1),
        ("0.08839", 1),
        ("1", 2),
        ("1.189", 1),
        ("9.029e+08", 1),
    ]


def test_only_the_commonest_values_are_named() -> None:
    rows = MAX_VALUES + 20
    found = aggregates(events(rows, device=["tv"] * 10 + [f"d{n}" for n in range(rows - 10)]))

    assert len(found.counts["device"]) == MAX_VALUES + 1
    assert next(iter(found.counts["device"].items())) == ("tv", 10)
    assert found.counts["device"][OTHERS] == 11


def test_a_sample_holds_all_copies_of_an_event_or_none() -> None:
    day = pl.concat([events(20_000), events(20_000)])

    sample = sample_of(day, rows=4_000)

    assert sample.height == pytest.approx(4_000, rel=0.1)
    assert sample["event_id"].is_duplicated().all()
    assert sample.sort("event_id").equals(sample_of(day.reverse(), rows=4_000).sort("event_id"))


@pytest.mark.parametrize("rows", [100, 19_000, 19_999])
def test_a_sample_has_about_the_rows_asked_for(rows: int) -> None:
    assert sample_of(events(20_000), rows=rows).height == pytest.approx(rows, rel=0.3)


def test_a_small_day_is_its_own_sample() -> None:
    assert sample_of(events(50), rows=50).height == 50


def test_a_column_that_is_missing_or_of_another_type_has_no_figures() -> None:
    found = aggregates(events().drop("device").with_columns(pl.col("position").cast(pl.String)))

    assert "device" not in found.nulls
    assert found.null_share("device") is None
    assert not {"position"} & {*found.numbers, *found.nulls, *found.spreads}


def test_an_empty_day_has_figures_too() -> None:
    found = aggregates(events(0))

    assert (found.rows, found.users, found.delay_p95_s) == (0, 0, None)
    assert found.numbers["watch_ms"] == (None, None)
    assert found.null_share("device") is None


def test_the_json_form_is_read_again() -> None:
    found = aggregates(events())

    assert DayAggregates.from_json(json.loads(json.dumps(found.to_json()))) == found
